"""Settings: where a value comes from, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs_exec.errors import ConfigurationError
from jobs_exec.masking import MASK
from jobs_exec.settings import CoreSettings, SettingsLoader, duration_text, parse_duration


class Guarded(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="JOB_GUARDED_", extra="ignore")

    secret: SecretStr = Field(SecretStr("unset"), description="A secret.")
    number: int = 3


class Aliased(BaseSettings):
    url: str = Field("", validation_alias=AliasChoices("JOB_URL", "OLD_URL"))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_layer_wins_over_the_ones_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [SettingsLoader().load(CoreSettings).max_attempts]
    (tmp_path / "pyproject.toml").write_text("[tool.jobs-exec]\nmax-attempts = 6\n")
    seen.append(SettingsLoader().load(CoreSettings).max_attempts)
    (tmp_path / ".env").write_text("JOB_MAX_ATTEMPTS=7\n")
    seen.append(SettingsLoader().load(CoreSettings).max_attempts)
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "8")
    seen.append(SettingsLoader().load(CoreSettings).max_attempts)
    loader = SettingsLoader({"JOB_MAX_ATTEMPTS": "9"})
    seen.append(loader.load(CoreSettings).max_attempts)
    assert seen == [5, 6, 7, 8, 9]
    assert loader.source(CoreSettings, "max_attempts") == "command line"


@pytest.mark.parametrize(("text", "expected"), [("30d", 2_592_000), ("12h", 43_200), ("45m", 2_700), ("90", 90)])
def test_durations_take_a_unit(text: str, expected: float) -> None:
    assert SettingsLoader({"JOB_RUNS_RETENTION": text}).load(CoreSettings).runs_retention == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_MAX_ATTEMPTS", "many"),
        ("JOB_RUNS_RETENTION", "30 fortnights"),
        ("JOB_RUNS_RETENTION", "999999999d"),
        ("JOB_MAX_AGE", "99999d"),
        ("JOB_QUEUES", "default"),
        ("JOB_QUEUES", "default:10,default:20"),
        ("JOB_ORG_MAX_SHARE", "1.5"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_setting_and_place(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"from command line") as refused:
        SettingsLoader({name: value}).load(CoreSettings)
    assert refused.value.setting == name


def test_queues_carry_their_concurrency() -> None:
    settings = SettingsLoader({"JOB_QUEUES": "default:100, reports:2"}).load(CoreSettings)
    assert settings.queue_slots == {"default": 100, "reports": 2}


def test_lists_are_comma_separated_or_toml_lists(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.jobs-exec]\nmodules = ["a.b", "c"]\n')
    assert SettingsLoader().load(CoreSettings).modules == ("a.b", "c")
    assert SettingsLoader({"JOB_MODULES": "x, y"}).load(CoreSettings).modules == ("x", "y")


def test_secrets_are_masked_wherever_values_are_shown() -> None:
    loader = SettingsLoader({"JOB_GUARDED_SECRET": "hunter2"})
    rows = {row.name: row for row in loader.report([Guarded])}
    assert rows["JOB_GUARDED_SECRET"].value == MASK
    assert "hunter2" not in repr(rows) + repr(loader) + repr(loader.load(Guarded))


def test_a_wrong_value_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as refused:
        SettingsLoader({"JOB_GUARDED_NUMBER": "hunter2"}).load(Guarded)
    assert "hunter2" not in str(refused.value)
    assert refused.value.setting == "JOB_GUARDED_NUMBER"


def test_an_empty_value_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "")
    assert SettingsLoader().load(CoreSettings).max_attempts == 5


def test_another_name_than_the_preferred_one_is_told_as_the_source() -> None:
    loader = SettingsLoader({"OLD_URL": "x"})
    assert loader.source(Aliased, "url") == "command line (OLD_URL)"
    assert SettingsLoader({"JOB_URL": "x", "OLD_URL": "y"}).source(Aliased, "url") == "command line"


@pytest.mark.parametrize("text", ["30d", "36h", "45m", "90s", "1.5s", "0s"])
def test_a_duration_is_shown_as_it_is_written(text: str) -> None:
    assert duration_text(float(str(parse_duration(text)))) == text


def test_a_validator_s_own_sentence_stands_alone() -> None:
    with pytest.raises(ConfigurationError, match=r"^JOB_MAX_AGE: must be a duration such as 30d"):
        SettingsLoader({"JOB_MAX_AGE": "soon"}).load(CoreSettings)


def test_names_of_installed_plugins_are_known_and_others_get_a_near_match() -> None:
    loader = SettingsLoader({"JOB_GUARDED_NUMBER": "1", "JOB_QUEUE_BACKENDS": "x"})
    (warning,) = loader.unknown([CoreSettings, Guarded])
    assert "JOB_QUEUE_BACKENDS (command line)" in warning
    assert "Did you mean JOB_QUEUE_BACKEND?" in warning


def test_the_policy_for_plugins_is_in_seconds() -> None:
    policy = SettingsLoader({"JOB_POLL_INTERVAL_MS": "250", "JOB_LEASE_SECONDS": "20"}).load(CoreSettings).policy()
    assert (policy.poll_interval, policy.lease) == (0.25, 20.0)
