"""`schedules validate`: an expression or a file, without any backend."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from click.testing import CliRunner, Result

from jobs_exec.cli import main


def validate(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ("schedules", "validate", *arguments), input=stdin, catch_exceptions=False)


def test_a_right_expression_is_shown_with_its_next_three_ticks() -> None:
    result = validate("30 2 * * *", "--zone", "Europe/Berlin", "--json")
    (shown,) = json.loads(result.stdout)
    assert (result.exit_code, shown["valid"], len(shown["ticks"])) == (0, True, 3)
    for tick in shown["ticks"]:
        assert datetime.fromisoformat(tick["tick"]) == datetime.fromisoformat(tick["local"])
        assert tick["local"][11:16] in ("02:30", "03:00")


@pytest.mark.parametrize(
    ("expression", "before"),
    [("30 25 * * *", "30 "), ("*/5 * * FOO *", "*/5 * * "), ("@dayly", ""), ("1,2,99 * * * *", "1,2,"), ("1 2", "1 2")],
)
def test_a_wrong_expression_is_marked_at_the_wrong_character(expression: str, before: str) -> None:
    result = validate(expression)
    assert result.exit_code == 1
    shown, mark, problem = result.stderr.splitlines()
    assert shown == expression
    assert mark == " " * len(before) + "^"
    assert f"character {len(before) + 1}" in problem


def test_the_mark_stands_right_below_characters_that_are_escaped() -> None:
    shown, mark, _ = validate("1 \x1b * * *").stderr.splitlines()
    assert shown[len(mark) - 1 :].startswith("\\x1b")


def test_a_wrong_zone_has_no_position() -> None:
    result = validate("@daily", "--zone", "Nowhere")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    (shown,) = json.loads(validate("@daily", "--zone", "Nowhere", "--json").stdout)
    assert (shown["valid"], shown["field"], shown["position"]) == (False, "zone", None)


def test_a_file_is_checked_line_by_line() -> None:
    good = {"name": "a", "type": "work", "cron": "@hourly", "orgs": ["acme"]}
    result = validate("--from", "-", stdin=f"{json.dumps(good)}\n{json.dumps(good | {'cron': '61 * * * *'})}\n")
    assert result.exit_code == 1
    assert "line 1" in result.stdout
    assert "line 2: cron: character 1: '61' is no minute" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["@daily", "--from", "-"], ["--from", "-", "--zone", "UTC"]])
def test_an_expression_and_a_file_do_not_go_together(arguments: list[str]) -> None:
    assert validate(*arguments, stdin="").exit_code == 2
