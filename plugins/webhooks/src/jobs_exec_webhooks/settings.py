"""The settings of the plugin, all with the prefix ``JOB_WEBHOOKS_``; durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs_exec_webhooks.signing import check_secret


def _as_list(value: Any) -> Any:
    """One secret is a list of one."""
    return (value,) if isinstance(value, (str, SecretStr)) else value


Secret = Annotated[SecretStr, AfterValidator(check_secret)]
SecretList = Annotated[tuple[Secret, ...], BeforeValidator(_as_list)]


class WebhooksSettings(BaseSettings):
    """How webhooks are delivered."""

    model_config = SettingsConfigDict(
        env_prefix="JOB_WEBHOOKS_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    secret: Secret | None = Field(None, description="Signing secret (whsec_...) of every org without one of its own.")
    secrets: Mapping[str, SecretList] = Field(
        {}, description="JSON object: org to its signing secret, or to a list of them, newest first."
    )
    allow_unsigned: bool = Field(False, description="Deliver without a signature for an org that has no secret.")
    allow_private: bool = Field(False, description="Deliver to private, loopback and link-local addresses too.")
    timeout_seconds: float = Field(20.0, gt=0, le=3600, description="Longest time of one delivery.")
    connect_seconds: float = Field(5.0, gt=0, le=3600, description="Longest time to resolve, connect and agree on TLS.")
    silence_seconds: float = Field(10.0, gt=0, le=3600, description="Longest silence while sending or waiting.")
    backoff_seconds: float = Field(2.0, ge=0, le=3600, description="Base of the exponential backoff between attempts.")
    max_attempts: int | None = Field(
        None, ge=1, le=1000, description="Attempts of a delivery; default JOB_MAX_ATTEMPTS."
    )
    max_idle: int = Field(200, ge=0, le=100_000, description="Most idle connections kept for the next delivery.")
    ca_file: Path | None = Field(None, description="Certificate authorities in PEM instead of the public ones.")
