"""The settings of the cron distribution: ``JOB_CRON_*``, ``JOB_TRIGGER_URL`` and ``JOB_TRIGGER_MODE``."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobs_exec_cron.keys import key_of

_DIGEST = re.compile(r"[0-9a-f]{64}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def _parts(value: object) -> object:
    """The non-empty parts of a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _checked_secret(secret: SecretStr) -> SecretStr:
    key_of(secret)
    return secret


def _checked_digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest.lower()):
        raise ValueError("must be SHA-256 digests in hexadecimal (64 characters each): printf %s TOKEN | sha256sum")
    return digest.lower()


def _checked_url(url: str | None) -> str | None:
    """A name and a password, or a token in a query, would stand in every error and log."""
    if not url:
        return None
    if not _VISIBLE.fullmatch(url):
        raise ValueError("must be visible ASCII: percent-encode what is not in the path, write the host in punycode")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be http:// or https://, a host and a path, without user and password")
    if not _has_good_port(parts):
        raise ValueError("must have a port from 1 to 65535, or none")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    return url


def _has_good_port(parts: SplitResult) -> bool:
    """Python's own words about a bad one quote it, and it may be the password of a user without a host."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _checked_queue(name: str) -> str:
    if name == "cron":
        raise ValueError("must be a backend that has rows, such as table; the cron backend stands on another's")
    return name


Secrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_checked_secret)], ...], NoDecode, BeforeValidator(_parts)
]
Digests = Annotated[tuple[Annotated[str, AfterValidator(_checked_digest)], ...], NoDecode, BeforeValidator(_parts)]
TypeNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts)]


class CronSettings(BaseSettings):
    """Where calls are sent, who may call, and how much the endpoint takes on."""

    model_config = SettingsConfigDict(env_prefix="JOB_CRON_", extra="ignore", frozen=True, hide_input_in_errors=True)

    trigger_url: Annotated[str | None, AfterValidator(_checked_url)] = Field(
        None, validation_alias=AliasChoices("JOB_TRIGGER_URL"), description="URL that enqueue sends jobs to, signed."
    )
    trigger_mode: Literal["inline", "enqueue"] = Field(
        "inline",
        validation_alias=AliasChoices("JOB_TRIGGER_MODE"),
        description="Whether the endpoint runs a job before it answers, or only enqueues it.",
    )
    queue: Annotated[str, AfterValidator(_checked_queue)] = Field(
        "table", description="Entry-point name of the backend on whose rows triggered jobs run."
    )
    secrets: Secrets = Field((), description="Signing secrets (whsec_...); the first signs, all of them verify.")
    bearer_digests: Digests = Field((), description="SHA-256 digests of the tokens that may call the endpoint.")
    types: TypeNames = Field((), description="Job types that may be triggered over HTTP; * for every one.")
    concurrency: int = Field(20, ge=1, le=10_000, description="Most jobs that the endpoint runs at once.")
    max_body_bytes: int = Field(512 * 1024, ge=1024, le=64 * 1024 * 1024, description="Longest body of a call.")
    body_seconds: float = Field(10.0, gt=0, le=300, description="Longest time that the body of a call may take.")
    tick_seconds: float = Field(25.0, ge=0.1, le=3600, description="Longest time that one POST /tick works.")
    send_seconds: float = Field(
        30.0, gt=0, le=3600, description="How long enqueue tries to send one job, repetitions included."
    )
