"""Settings: one pydantic-settings class for the core, one for each plugin, all read the same way.

A value is looked for, by its environment-style name, in this order: the command line, the environment,
``.env`` in the working directory, the table ``[tool.jobs-exec]`` of ``pyproject.toml`` there, the default. In
that table ``JOB_QUEUE_BACKEND`` is written ``queue-backend``, and ``JOB_WEBHOOKS_ALLOW_PRIVATE`` is
``webhooks-allow-private``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from dotenv import dotenv_values
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobs_exec.contracts.plugin import Policy
from jobs_exec.errors import ConfigurationError, near_matches, plain
from jobs_exec.masking import MASK, masked
from jobs_exec.registry import LONGEST, check_queue

PREFIX = "JOB_"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")

T = TypeVar("T", bound=BaseSettings)


def parse_duration(value: object) -> object:
    """Seconds from ``30d``, ``12h``, ``45m``, ``90s`` or a number."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("must be a duration such as 30d, 12h, 45m, 90s, or a number of seconds")
    return float(match[1]) * _UNITS[match[2] or "s"]


def duration_text(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: ``30d``, ``90s``."""
    unit, size = next(
        ((unit, size) for unit, size in reversed(_UNITS.items()) if seconds and not seconds % size), ("s", 1.0)
    )
    return f"{seconds / size:g}{unit}"


def split_names(value: object) -> object:
    """The non-empty parts of a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_queues(text: str) -> dict[str, int]:
    """Queue -> concurrency from ``default:100,reports:2``."""
    slots: dict[str, int] = {}
    for part in text.split(","):
        name, colon, count = part.strip().partition(":")
        check_queue(name)
        if name in slots:
            raise ValueError(f"names the queue {name!r} twice")
        if not colon or not count.isdecimal() or not 1 <= int(count) <= 10_000:
            raise ValueError(f"{part.strip()!r} must be QUEUE:CONCURRENCY with 1 to 10000, such as default:100")
        slots[name] = int(count)
    return slots


def _queues(value: str) -> str:
    parse_queues(value)
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_names)]


class CoreSettings(BaseSettings):
    """The settings of the core."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    queue_backend: str = Field("table", description="Entry-point name of the queue backend.")
    idempotency_store: str | None = Field(None, description="Entry-point name of the store; default the backend's own.")
    queues: Annotated[str, BeforeValidator(_queues)] = Field(
        "default:100", description="Queues an executor serves, each with its concurrency."
    )
    poll_interval_ms: int = Field(500, ge=1, le=3_600_000, description="Longest wait between two polls.")
    max_attempts: int = Field(5, ge=1, le=1000, description="A job that failed this often is dead.")
    timeout_seconds: Duration = Field(600.0, gt=0, le=LONGEST, description="Longest time of one attempt.")
    lease_seconds: Duration = Field(15.0, ge=1, le=3600, description="An executor silent for this long has lapsed.")
    shutdown_grace: Duration = Field(
        25.0, ge=0, le=LONGEST, description="Time for running jobs after the first signal."
    )
    max_payload_bytes: int = Field(256 * 1024, ge=2, description="Longest JSON form of a payload.")
    max_result_bytes: int = Field(64 * 1024, ge=2, description="Longest JSON form of a stored result.")
    runs_retention: Duration = Field(30 * 86_400.0, gt=0, le=LONGEST, description="How long runs are kept.")
    max_age: Duration = Field(
        7 * 86_400.0, gt=0, le=LONGEST, description="A job that fails this long after it was due is dead."
    )
    max_crashes: int = Field(3, ge=1, description="A job that took its process down this often is dead.")
    org_max_share: float = Field(0.8, gt=0, le=1, description="Largest share of an executor's slots for one org.")
    schedule_grace: Duration = Field(
        60.0, ge=1, le=86_400, description="A tick that nobody fired for this long was missed: see the catch-up policy."
    )
    modules: Names = Field((), description="Modules of the application that register job types.")
    plugins_allow: Names = Field((), description="Only these plugins are loaded (entry point or distribution).")
    plugins_deny: Names = Field((), description="These plugins are not loaded (entry point or distribution).")
    threads: int = Field(32, ge=1, le=1000, description="Threads for sync handlers.")
    claim_size: int = Field(100, ge=1, le=1000, description="Most jobs of one claim.")
    settle_size: int = Field(100, ge=1, le=1000, description="Most jobs of one settle.")
    settle_delay_ms: int = Field(5, ge=0, le=1000, description="Longest wait of a finished job for its settle.")

    @property
    def queue_slots(self) -> dict[str, int]:
        """Queue -> concurrency."""
        return parse_queues(self.queues)

    def policy(self) -> Policy:
        """The part of the settings that backends and plugins need."""
        return Policy(
            poll_interval=self.poll_interval_ms / 1000,
            lease=self.lease_seconds,
            max_attempts=self.max_attempts,
            timeout=self.timeout_seconds,
            max_age=self.max_age,
            max_crashes=self.max_crashes,
            runs_retention=self.runs_retention,
            max_payload_bytes=self.max_payload_bytes,
            max_result_bytes=self.max_result_bytes,
        )


@runtime_checkable
class Showable(Protocol):
    """A secret that people may see a part of, such as a URL without its password."""

    def shown(self) -> str:
        """That part."""


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting for people: its value (secrets masked) and where it came from."""

    name: str
    value: Any
    source: str
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Values by upper-case environment-style name, and what to call their place."""

    place: str
    values: Mapping[str, Any] = field(repr=False)


class SettingsLoader:
    """Reads any settings class from the same layers; `overrides` are the command line's, by environment name."""

    def __init__(self, overrides: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        here = folder or Path.cwd()
        self._layers = (
            Layer("command line", dict(overrides or {})),
            Layer("environment", {name.upper(): value for name, value in os.environ.items()}),
            Layer(".env", _dotenv(here / ".env")),
            Layer("pyproject.toml", _pyproject(here / "pyproject.toml")),
        )

    def load(self, cls: type[T]) -> T:
        """An instance of `cls`; raises `ConfigurationError` naming the setting and its place, never its value."""
        found = {name: self._find(cls, name, info) for name, info in cls.model_fields.items()}
        values = {_input_name(name, cls.model_fields[name]): hit[2] for name, hit in found.items() if hit}
        try:
            return cls(_env_ignore_empty=True, **values)
        except ValidationError as error:
            raise _configuration_error(cls, found, error) from None

    def source(self, cls: type[BaseSettings], name: str) -> str:
        """Where the field `name` of `cls` takes its value from; another name than the preferred one is told too."""
        info = cls.model_fields[name]
        hit = self._find(cls, name, info)
        if hit is None:
            return "default"
        place, found, _ = hit
        return place if found == env_names(cls, name, info)[0] else f"{place} ({found})"

    def report(self, classes: Iterable[type[BaseSettings]]) -> list[SettingValue]:
        """Every setting of `classes`; secrets are masked."""
        return [row for cls in classes for row in self._rows(cls)]

    def unknown(self, classes: Iterable[type[BaseSettings]]) -> list[str]:
        """One warning for each ``JOB_*`` name that no class knows, with the near match."""
        known = {
            name
            for cls in classes
            for field_name, info in cls.model_fields.items()
            for name in env_names(cls, field_name, info)
        }
        given = {(name, layer.place) for layer in self._layers for name in layer.values if name.startswith(PREFIX)}
        return [_unknown_text(name, place, known) for name, place in sorted(given) if name not in known]

    def _rows(self, cls: type[BaseSettings]) -> list[SettingValue]:
        loaded = self.load(cls)
        return [
            SettingValue(
                env_names(cls, name, info)[0],
                _shown(getattr(loaded, name), info),
                self.source(cls, name),
                _shown(info.get_default(call_default_factory=True, validated_data={}), info),
                info.description or "",
            )
            for name, info in cls.model_fields.items()
        ]

    def _find(self, cls: type[BaseSettings], name: str, info: FieldInfo) -> tuple[str, str, Any] | None:
        """(place, name, value) of the first layer that has the setting; an empty text counts as not given."""
        for layer in self._layers:
            for candidate in env_names(cls, name, info):
                if layer.values.get(candidate, "") != "":
                    return layer.place, candidate, _decoded(layer.values[candidate])
        return None


def env_names(cls: type[BaseSettings], name: str, info: FieldInfo) -> list[str]:
    """The environment names of one field, the preferred one first."""
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice).upper() for choice in alias.choices]
    return [alias.upper()] if isinstance(alias, str) else [f"{cls.model_config.get('env_prefix', '')}{name}".upper()]


def _input_name(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else name


def _decoded(value: Any) -> Any:
    """Objects and lists are written as JSON, as pydantic-settings has it."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _dotenv(path: Path) -> dict[str, Any]:
    return {name.upper(): value for name, value in dotenv_values(path).items()} if path.is_file() else {}


def _pyproject(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text()).get("tool", {}).get("jobs-exec", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path.name), f"is not valid TOML ({error})") from None
    return {f"{PREFIX}{name.replace('-', '_')}".upper(): _as_text(value) for name, value in table.items()}


def _as_text(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _shown(value: Any, info: FieldInfo | None = None) -> Any:
    """A value for people: secrets and the passwords of URLs masked, tuples as comma lists, durations with a unit."""
    if isinstance(value, SecretStr):
        return value.shown() if isinstance(value, Showable) else MASK
    if (
        isinstance(value, float)
        and info
        and any(getattr(each, "func", None) is parse_duration for each in info.metadata)
    ):
        return duration_text(value)
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _unknown_text(name: str, place: str, known: Iterable[str]) -> str:
    near = near_matches(name, known)
    return f"{name} ({place}) is not a setting of any installed plugin." + (f" Did you mean {near[0]}?" if near else "")


def _configuration_error(
    cls: type[BaseSettings], found: Mapping[str, tuple[str, str, Any] | None], error: ValidationError
) -> ConfigurationError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    names = {_input_name(name, info): name for name, info in cls.model_fields.items()}
    name = names.get(str(first["loc"][0]), "") if first["loc"] else ""
    if not name:
        return ConfigurationError(cls.__name__, plain(first["msg"]))
    hit = found[name]
    place = f" (from {hit[0]})" if hit else "; set it in the environment"
    return ConfigurationError(
        hit[1] if hit else env_names(cls, name, cls.model_fields[name])[0], plain(first["msg"]) + place
    )
