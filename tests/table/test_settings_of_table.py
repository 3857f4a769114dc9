"""The settings of the table backend: where the database is, and what the errors never show."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs_exec.errors import ConfigurationError
from jobs_exec.settings import SettingsLoader
from jobs_exec_table.settings import TableSettings, split_table_name


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL", "JOB_LISTEN_URL", "JOB_ORG_TABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def load(**values: str) -> TableSettings:
    return SettingsLoader(values).load(TableSettings)


def test_without_a_url_the_error_names_the_three_ways() -> None:
    with pytest.raises(ConfigurationError, match=r"JOB_DATABASE_URL: .*'embedded'.*postgresql://.*SUPABASE_DB_URL"):
        _ = load().url


def test_the_preferred_name_wins_over_the_general_ones() -> None:
    assert load(DATABASE_URL="postgresql://h/general").url == "postgresql://h/general"
    assert load(SUPABASE_DB_URL="postgresql://h/supabase").url == "postgresql://h/supabase"
    both = load(DATABASE_URL="postgresql://h/general", JOB_DATABASE_URL="postgresql://h/own")
    assert both.url == "postgresql://h/own"


def test_a_url_with_the_name_of_a_driver_is_understood() -> None:
    assert load(DATABASE_URL="postgresql+asyncpg://h/app").url == "postgresql://h/app"


@pytest.mark.parametrize(
    "driver", ["postgres", "postgresql", "postgres+asyncpg", "postgresql+psycopg", "postgresql+psycopg-x"]
)
def test_a_url_of_any_driver_s_spelling_is_taken(driver: str) -> None:
    assert conninfo_to_dict(load(JOB_DATABASE_URL=f"{driver}://u:p@h:1/app").url)["host"] == "h"


def test_libpq_s_own_form_is_taken() -> None:
    assert conninfo_to_dict(load(JOB_DATABASE_URL="host=/run/pg user=u dbname='my app'").url)["dbname"] == "my app"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h:5433/app?sslmode=require", "postgresql://u:********@h:5433/app"),
        ("postgresql://u@h/app", "postgresql://u@h/app"),
        ("host=h user=u password='ge heim' dbname=app", "postgresql://u:********@h/app"),
        ("postgresql://u:geheim@/app?host=/run/pg", "postgresql://u:********@/app?host=/run/pg"),
        ("postgresql://u:p/geheim@h/app", "********"),  # libpq reads the host u, and a database geheim@h/app
        ("postgresql://u:geheim", "********"),
        ("embedded", "embedded"),
    ],
)
def test_people_are_shown_where_a_url_points_to_without_its_password(url: str, shown: str) -> None:
    (row, *_) = SettingsLoader({"DATABASE_URL": url}).report([TableSettings])
    assert (row.name, row.value, row.source) == ("JOB_DATABASE_URL", shown, "command line (DATABASE_URL)")


def test_another_database_s_url_is_told_by_its_name() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^JOB_DATABASE_URL: begins with mysql://, but jobs are kept in PostgreSQL"
    ):
        load(JOB_DATABASE_URL="mysql://u:geheim@h/x")


def test_the_url_is_never_shown() -> None:
    settings = load(JOB_DATABASE_URL="postgresql://u:geheim@h/app", JOB_LISTEN_URL="postgresql://u:geheim@h/app")
    assert "geheim" not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize("url", ["postgresql://u:geheim@h:port/x?bad", "geheim"])
def test_a_url_that_cannot_be_read_is_an_error_that_does_not_quote_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"JOB_DATABASE_URL: .*percent-encoded") as caught:
        load(JOB_DATABASE_URL=url)
    assert "geheim" not in str(caught.value)


def test_a_parameter_of_another_tool_is_named() -> None:
    with pytest.raises(ConfigurationError, match="has the parameter 'pgbouncer', unknown to libpq; remove it"):
        load(DATABASE_URL="postgresql://u:p@h/x?pgbouncer=true")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public.orgs", ("public", "orgs")),
        ("Public.Orgs", ("public", "orgs")),
        ('"My Schema"."a""b"', ("My Schema", 'a"b')),
        ('app."Orgs"', ("app", "Orgs")),
    ],
)
def test_a_table_name_is_read_as_sql_reads_it(text: str, expected: tuple[str, str]) -> None:
    assert split_table_name(text) == expected


@pytest.mark.parametrize("text", ["orgs", "a.b.c", "a.b; drop table x", 'a."b', ".b", "a.", "a b.c"])
def test_what_is_no_table_with_a_schema_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"JOB_ORG_TABLE: .*such as public\.orgs"):
        load(JOB_ORG_TABLE=text)


def test_the_pools_have_small_defaults() -> None:
    settings = load()
    assert (settings.pool_size, settings.attempt_pool_size) == (3, 10)
    assert load(JOB_TABLE_POOL_SIZE="7").pool_size == 7
