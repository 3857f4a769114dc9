"""One bad hook of one plugin: a sentence that names plugin, hook and line, for executors a refusal, for clients a warning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from distributions import Site

from jobs_exec.discovery import PluginState
from jobs_exec.errors import ConfigurationError, PluginError
from jobs_exec.host import Host, Purpose, build_host
from jobs_exec.inspecting import Inspection, check_plugins, describe_plugins

START = """
    from jobs_exec import job_type
    from jobs_exec.contracts import hookimpl, hookspec

    async def handler(ctx, data): ...
"""
GOOD = """
    @hookimpl
    def job_types(host):
        return [job_type("mail.send", handler)]
"""
SETTINGS = {"JOB_QUEUE_BACKEND": "probe", "JOB_PLUGINS_DENY": "webhooks"}


def install(site: Site, body: str, name: str = "mail") -> None:
    site.install(f"{name}-dist", entry_points={f"plugins:{name}": f"{name}_dist"}, module=START + body)


def build(**options: object) -> Host:
    return build_host(SETTINGS, **options)  # type: ignore[arg-type]


def refused() -> tuple[str, ...]:
    with pytest.raises(PluginError) as error:
        build()
    return error.value.problems


def checked(**settings: str) -> Inspection:
    return check_plugins({**SETTINGS, **settings})


RAISING = """
    @hookimpl
    def observers(host):
        raise ValueError("no collector")
"""
ODD = """
    @hookimpl
    def job_types(host):
        return [lambda ctx: 1]
"""
ASYNC = """
    @hookimpl
    async def job_types(host):
        return []
"""
SINGLE = """
    @hookimpl
    def job_types(host):
        return job_type("mail.send", handler)
"""
LEAVING = """
    @hookimpl
    def middleware(host):
        raise SystemExit(3)
"""
LAZY = """
    @hookimpl
    def job_types(host):
        yield job_type("mail.send", handler, max_attemps=3)
"""
LIFE = """
    @hookimpl
    def lifespan(host):
        return object()
"""
DIRECTORY = """
    @hookimpl
    def org_directory(host, backend):
        return {"acme"}
"""
NUMBERS = """
    @hookimpl
    def observers(host):
        return [3]
"""
FAULTS = pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (RAISING, "its hook observers failed: ValueError: no collector (.*mail_dist.py:9)"),
        (ODD, "its hook job_types returned a list with the function job_types.<locals>.<lambda> in it, not only job t"),
        (ASYNC, "its hook job_types is async; hooks are called once, at start, and must be plain functions (.*py:7)"),
        (SINGLE, "its hook job_types returned an object of class JobType, it must return a list of job types made by"),
        (LEAVING, "its hook middleware failed: SystemExit: 3 (.*mail_dist.py:9)"),
        (LAZY, "its hook job_types failed: max_attemps of mail.send: is not an option of a job type. Did you mean"),
        (LIFE, "its hook lifespan returned an object of class object, it must return an async context manager (.*:7)"),
        (DIRECTORY, "its hook org_directory returned an object of class set, it must return an org directory with"),
        (NUMBERS, "its hook observers returned a list with an object of class int in it, not only functions (event)"),
    ],
)


@FAULTS
def test_a_bad_hook_is_one_sentence_for_everybody(site: Site, body: str, sentence: str) -> None:
    install(site, body)
    (problem,) = refused()
    wanted = ".*".join(re.escape(each) for each in sentence.split(".*"))
    assert re.match(rf"mail \(mail-dist 1.2, jobs_exec.plugins\) is broken: {wanted}", problem), problem
    assert "\n" not in problem
    assert problem in build(for_=Purpose.CLIENT).warnings
    assert problem in build(tolerate_broken=True).warnings
    seen = checked()
    assert seen.problems == (problem,)
    assert {each.name: each.state for each in seen.records}["mail"] is PluginState.BROKEN


def test_the_jobs_of_a_tolerated_broken_plugin_wait_and_clients_still_know_them(site: Site) -> None:
    install(site, GOOD + RAISING)
    assert "mail.send" not in build(tolerate_broken=True).job_types
    assert "mail.send" in build(for_=Purpose.CLIENT).job_types


def test_the_other_plugins_are_asked_all_the_same(site: Site) -> None:
    install(site, RAISING)
    install(site, GOOD, name="other")
    assert "mail.send" in build(tolerate_broken=True).job_types


def test_every_wrong_signature_of_a_plugin_is_one_line_of_its_own(site: Site) -> None:
    install(
        site,
        """
    @hookimpl
    def job_types(hst):
        return []

    @hookimpl
    def observers(host, extra):
        return []
""",
    )
    first, second = refused()
    assert re.search(r"its hook job_types asks for 'hst', did you mean host\? \(.*mail_dist.py:7\)$", first)
    assert re.search(r"its hook observers asks for 'extra', it may ask for host \(.*mail_dist.py:11\)$", second)


def test_misspelt_hooks_are_named_with_their_plugin_and_line(site: Site) -> None:
    body = """
    @hookimpl
    def job_tpyes(host): return []

    @hookimpl
    def zzz(host): return []
"""
    install(site, body)
    first, second = refused()
    assert "mail (mail-dist 1.2" in first
    assert re.search(r"nobody defines: job_tpyes; did you mean job_types\? \(.*mail_dist.py:7\)$", first)
    assert "nobody defines: zzz; mark it optionalhook=True" in second
    assert checked().problems == (first, second)


def test_a_wrong_signature_for_another_plugins_hook_is_the_fault_of_who_implements_it(site: Site) -> None:
    definer = """
    class Specs:
        @hookspec
        def greeting(self, host): ...

    @hookimpl
    def hook_specs():
        return Specs
"""
    user = """
    @hookimpl(optionalhook=True)
    def greeting(name):
        return "hello"
"""
    install(site, definer, name="definer")
    install(site, user, name="user")
    (problem,) = refused()
    assert problem.startswith("user (user-dist")
    assert "its hook greeting asks for 'name', it may ask for host" in problem


def test_hook_specs_without_hooks_are_a_fault(site: Site) -> None:
    install(site, "\n    @hookimpl\n    def hook_specs():\n        return int\n")
    (problem,) = refused()
    assert "its hook_specs cannot be used" in problem


def test_a_settings_class_outside_its_prefix_is_refused_before_it_is_read(site: Site) -> None:
    body = """
    from pydantic_settings import BaseSettings

    class Greedy(BaseSettings):
        a: str

    @hookimpl
    def settings_class():
        return Greedy

    @hookimpl
    def job_types(host):
        host.settings(Greedy)
        return []
"""
    install(site, body)
    reads, declared = sorted(refused())
    assert "its hook job_types failed: Greedy: reads A; give it env_prefix='JOB_NAME_'" in declared + reads
    assert "its settings class Greedy reads A; give it env_prefix='JOB_MAIL_'" in declared + reads


# --- backends and stores ----------------------------------------------------------------------------------


def backend(site: Site, body: str) -> None:
    site.install("bad-backend", entry_points={"backends:bad": "bad_backend"}, module=START + body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "    @hookimpl\n    def queue_backend(host):\n        return 1 / 0\n",
            "its hook queue_backend failed: ZeroDiv",
        ),
        ("    @hookimpl\n    def queue_backend(host):\n        return 7\n", "it must return a queue backend with name"),
        ("    @hookimpl\n    def queue_backend(host):\n        return None\n", "or it answered None"),
    ],
)
def test_a_selected_backend_that_fails_is_a_plugin_problem(site: Site, body: str, sentence: str) -> None:
    backend(site, "\n" + body)
    for purpose in Purpose:
        with pytest.raises(PluginError, match=sentence):
            build_host({**SETTINGS, "JOB_QUEUE_BACKEND": "bad"}, for_=purpose)
    assert any(sentence in each for each in checked(JOB_QUEUE_BACKEND="bad").problems)


def test_a_check_imports_the_backends_that_are_not_selected(site: Site) -> None:
    backend(site, "\n    import not_there_at_all\n")
    install(site, GOOD)
    assert "mail.send" in build().job_types, "an executor does not care"
    seen = checked()
    states = {(each.group, each.name): each.state for each in seen.records}
    assert states["jobs_exec.backends", "bad"] is PluginState.BROKEN
    assert states["jobs_exec.backends", "probe"] is PluginState.LOADED
    assert states["jobs_exec.backends", "memory"] is PluginState.AVAILABLE
    (problem,) = seen.problems
    assert re.search(r"No module named 'not_there_at_all' \(.*bad_backend.py:\d+\)", problem)


def test_a_check_without_the_settings_of_the_backend_still_finds_what_is_wrong(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"):
        monkeypatch.delenv(name, raising=False)
    install(site, RAISING)
    seen = checked(JOB_QUEUE_BACKEND="table")
    assert any("JOB_DATABASE_URL: is not set" in each for each in seen.warnings)
    (problem,) = seen.problems
    assert "no collector" in problem


def test_a_check_names_an_unknown_backend_and_modules_that_fail(site: Site) -> None:
    problems = checked(JOB_QUEUE_BACKEND="prob", JOB_MODULES="nowhere").problems
    assert any("no queue backend 'prob' is installed" in each for each in problems)
    assert any("module nowhere of JOB_MODULES" in each for each in problems)


def test_a_check_without_a_problem_says_so(site: Site) -> None:
    install(site, GOOD)
    assert (checked().problems, checked().warnings) == ((), ())


# --- modules of the application ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("app_bad", "\n\n1 / 0\n", r"ZeroDivisionError: division by zero \(.*app_bad.py:3\)$"),
        ("app_odd", "def x(:\n", r"SyntaxError: .* \(.*app_odd.py:1\)$"),
        ("app_out", "raise SystemExit\n", r"SystemExit: \(.*app_out.py:1\)$"),
        ("app_py.py", "", r"write it as Python imports it, without .py: app_py$"),
        ("./app_py.py", "", r"without .py: app_py$"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_its_line(
    site: Site, name: str, code: str, sentence: str
) -> None:
    (site.folder / f"{Path(name).stem}.py").write_text(code)
    with pytest.raises(PluginError) as error:
        build_host({**SETTINGS, "JOB_MODULES": name})
    (problem,) = error.value.problems
    assert re.search(sentence, problem), problem
    assert "JOB_PLUGINS_DENY" not in str(error.value)
    assert "Mend what JOB_MODULES" in str(error.value)


# --- names that nobody knows ------------------------------------------------------------------------------


def test_a_misspelt_name_in_the_deny_list_is_warned_about(site: Site) -> None:
    install(site, GOOD)
    host = build_host({**SETTINGS, "JOB_PLUGINS_DENY": "webhooks,mial,zzz"})
    assert host.warnings == (
        "JOB_PLUGINS_DENY names 'mial', which is no installed plugin. Did you mean mail?",
        "JOB_PLUGINS_DENY names 'zzz', which is no installed plugin. See `jobs-exec plugins list`.",
    )


def test_a_misspelt_setting_stands_in_the_error_about_the_one_that_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("JOB_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("JOB_DATABSE_URL", "embedded")
    monkeypatch.setenv("JOB_MAX_ATEMPTS", "3")
    with pytest.raises(ConfigurationError, match=r"is not set.*JOB_DATABSE_URL .*Did you mean JOB_DATABASE_URL\?"):
        build_host({**SETTINGS, "JOB_QUEUE_BACKEND": "table"}, for_=Purpose.CLIENT)
    (other,) = caplog.records
    assert "Did you mean JOB_MAX_ATTEMPTS?" in other.getMessage()


def test_a_refusal_for_plugins_says_the_other_warnings_first(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, RAISING)
    monkeypatch.setenv("JOB_MAX_ATEMPTS", "3")
    refused()
    assert [record.getMessage() for record in caplog.records if "JOB_MAX_ATTEMPTS" in record.getMessage()]


# --- one plugin -------------------------------------------------------------------------------------------


def test_a_plugin_is_described_with_all_it_brings(site: Site) -> None:
    body = """
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class MailSettings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="JOB_MAIL_")
        host: str = ""

    class Specs:
        @hookspec
        def mail_templates(self, host): ...

    @hookimpl
    def hook_specs():
        return Specs

    @hookimpl
    def settings_class():
        return MailSettings
"""
    install(site, GOOD + body)
    (mail,) = describe_plugins("mail", SETTINGS)
    assert mail.record.state is PluginState.LOADED
    assert mail.requires == "jobs-exec>=0.1.0"
    assert mail.file == str(site.folder / "mail_dist.py")
    assert mail.job_types == ("mail.send",)
    assert mail.implements == ("hook_specs", "job_types", "settings_class")
    assert mail.defines == ("mail_templates",)
    assert (mail.settings_class, mail.settings) == ("mail_dist.MailSettings", ("JOB_MAIL_HOST",))


def test_a_broken_plugin_is_described_with_its_reason(site: Site) -> None:
    install(site, "\n    import not_there_at_all\n")
    (mail,) = describe_plugins("mail-dist", SETTINGS)
    assert mail.record.state is PluginState.BROKEN
    assert "not_there_at_all" in mail.record.reason
    assert (mail.requires, mail.job_types) == ("jobs-exec>=0.1.0", ())
