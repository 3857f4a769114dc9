"""`schedules export`: which schedules, in whose words, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from command import Shell

from jobs_exec import schedule


def add(shell: Shell, name: str, *options: str) -> None:
    timing = () if "--every" in options else ("--cron", "30 2 * * *")
    whom = () if "--tenant" in options else ("--org", "acme")
    shell.json("schedules", "add", name, "--type", "work", *timing, *whom, *options)


def test_all_schedules_are_exported_but_paused_ones(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        add(shell, name)
    shell("schedules", "pause", "b")
    exported = shell.json("schedules", "export", "--format", "pg_cron")
    assert [each["name"] for each in exported] == ["a", "c"]
    printed = shell("schedules", "export", "b", "a", "--format", "crontab").stdout
    assert printed.startswith("# CRON_TZ is read by cronie")
    assert printed.index("# b: work") < printed.index("# a: work")


def test_every_schedule_is_a_document_of_its_own_for_kubernetes(shell: Shell) -> None:
    add(shell, "a")
    add(shell, "b")
    printed = shell("schedules", "export", "--format", "kubernetes", "--image", "app:1").stdout
    manifests = list(yaml.safe_load_all(printed))
    assert [each["metadata"]["annotations"]["jobs-exec/schedule"] for each in manifests] == ["a", "b"]


def test_what_cannot_be_exported_is_named_and_nothing_is_printed(shell: Shell) -> None:
    add(shell, "good")
    add(shell, "often", "--every", "90")
    add(shell, "local", "--zone", "Europe/Berlin")
    result = shell("schedules", "export", "--format", "pg_cron")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "often: cron: pg_cron has no intervals" in result.stderr
    assert "local: zone: is Europe/Berlin" in result.stderr
    assert "2 of 3 schedule(s) cannot be exported to pg_cron" in result.stderr
    assert shell("schedules", "export", "good", "--format", "pg_cron").exit_code == 0


def test_one_of_code_that_is_in_no_book_is_exported_for_calls(shell: Shell) -> None:
    shell.schedules = (replace(schedule("coded", "work", cron="@daily", orgs="acme"), owner="application"),)
    printed = shell.json("schedules", "export", "coded", "--format", "crontab", "--via", "http")[0]["text"]
    assert "'--key=schedule:coded of application' --tick=" in printed
    said = shell("schedules", "export", "--format", "crontab", "--via", "trigger").stderr
    assert said == "note: coded of application stands in no book here; its calls know of no firing of another clock\n"
    result = shell("schedules", "export", "coded", "--format", "crontab")
    assert (result.exit_code, "in no book yet" in result.stderr) == (6, True)


def test_the_command_and_the_budget_are_those_of_the_other_machine(shell: Shell) -> None:
    add(shell, "a")
    arguments = ("schedules", "export", "--format", "crontab", "--command", "'/srv/my app/bin/jobs-exec'")
    assert "'/srv/my app/bin/jobs-exec' run --drain --budget 2m" in shell(*arguments, "--budget", "2m").stdout
    assert "--drain" not in shell(*arguments, "--no-drain").stdout
    assert "; cd '/srv/my app' && " in shell(*arguments, "--directory", "/srv/my app").stdout
    assert shell(*arguments, "--budget", "2 parsecs; id").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "pg_cron", "--via", "run"],
        ["--format", "crontab", "--orgs-query", "select 1"],
        ["--format", "crontab", "--image", "app"],
        ["--format", "kubernetes"],
        [],
    ],
)
def test_options_of_another_format_are_refused(shell: Shell, arguments: list[str]) -> None:
    assert shell("schedules", "export", *arguments).exit_code == 2


def test_a_name_that_there_is_not_and_one_of_several_are_refused(shell: Shell) -> None:
    add(shell, "nightly")
    add(shell, "nightly", "--tenant", "acme")
    missing = shell("schedules", "export", "nihgtly", "--format", "crontab")
    assert (missing.exit_code, "Did you mean 'nightly'?" in missing.stderr) == (7, True)
    several = shell("schedules", "export", "nightly", "--format", "crontab")
    assert (several.exit_code, "several schedules are called nightly" in several.stderr) == (2, True)
    assert shell("schedules", "export", "nightly", "--tenant", "acme", "--format", "crontab").exit_code == 0
