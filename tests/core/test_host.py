"""From installed distributions and settings to a host: six states, and a start that fails closed."""

from __future__ import annotations

import sys

import pytest
from distributions import PROBE_BACKEND, Site

from jobs_exec import discovery
from jobs_exec.discovery import PluginState
from jobs_exec.errors import ConfigurationError, PluginError, UnknownBackend
from jobs_exec.host import Host, Purpose, build_host
from jobs_exec.inspecting import inspect_plugins

HANDLERS = """
    from jobs_exec import job_type
    from jobs_exec.contracts import hookimpl

    async def handler(ctx, data): ...

    @hookimpl
    def job_types(host):
        return [job_type("{type}", handler)]
"""


def build(*, purpose: Purpose = Purpose.EXECUTOR, tolerate_broken: bool = False, **settings: str) -> Host:
    overrides = {"JOB_QUEUE_BACKEND": "probe", "JOB_PLUGINS_DENY": "webhooks", **settings}
    return build_host(overrides, for_=purpose, tolerate_broken=tolerate_broken)


def states() -> dict[str, PluginState]:
    return {record.distribution: record.state for record in discovery.discover()}


def test_the_types_of_an_installed_plugin_are_found_and_owned_by_its_distribution(site: Site) -> None:
    site.install("mailer", entry_points={"plugins:mail": "mailer"}, module=HANDLERS.format(type="mail.send"))
    host = build()
    assert host.job_types["mail.send"].owner == "mailer"
    assert {r.name: r.state for r in host.plugins}["mail"] is PluginState.LOADED
    assert host.backend.name == "probe"
    assert host.ledger_is_store


def test_what_a_plugin_registers_at_import_belongs_to_it(site: Site) -> None:
    module = """
        from jobs_exec import job

        @job("eager.type")
        async def handler(ctx, data): ...
    """
    site.install("eager", entry_points={"plugins:eager": "eager"}, module=module)
    assert build().job_types["eager.type"].owner == "eager"


def test_an_unselected_backend_is_available_and_never_imported(site: Site) -> None:
    site.install("other", entry_points={"backends:other": "other"}, module="raise RuntimeError('imported')")
    host = build()
    assert {r.name: r.state for r in host.plugins}["other"] is PluginState.AVAILABLE
    assert "other" not in sys.modules


def test_a_plugin_whose_requirement_excludes_this_version_is_not_imported(site: Site) -> None:
    site.install("ahead", entry_points={"plugins:ahead": "ahead"}, module="raise RuntimeError", requires="jobs-exec>=7")
    assert states()["ahead"] is PluginState.INCOMPATIBLE
    with pytest.raises(PluginError, match="requires jobs-exec>=7"):
        build()
    assert "ahead" not in sys.modules


def test_two_distributions_with_one_name_are_both_named(site: Site) -> None:
    for name in ("first", "second"):
        site.install(name, entry_points={"plugins:twin": name}, module=HANDLERS.format(type=f"{name}.type"))
    with pytest.raises(PluginError, match="first and second both bring it"):
        build()


def test_two_plugins_with_one_job_type_are_both_named(site: Site) -> None:
    for name in ("first", "second"):
        site.install(name, entry_points={f"plugins:{name}": name}, module=HANDLERS.format(type="same.type"))
    with pytest.raises(PluginError, match=r"'same.type' is registered by first .* and by second"):
        build()


def test_a_plugin_that_fails_to_import_is_broken_with_its_reason(site: Site) -> None:
    site.install("cracked", entry_points={"plugins:cracked": "cracked"}, module="import not_there_at_all")
    (record,) = [r for r in inspect_plugins({"JOB_QUEUE_BACKEND": "probe"}) if r.name == "cracked"]
    assert record.state is PluginState.BROKEN
    assert "not_there_at_all" in record.reason
    assert "Traceback" in record.details


def test_a_start_that_fails_lists_every_problem_at_once(site: Site) -> None:
    site.install("cracked", entry_points={"plugins:cracked": "cracked"}, module="1 / 0")
    site.install("ahead", entry_points={"plugins:ahead": "ahead"}, module="", requires="jobs-exec>=7")
    with pytest.raises(PluginError) as refused:
        build(JOB_MODULES="no_such_module")
    assert len(refused.value.problems) == 3
    assert "JOB_PLUGINS_DENY" in str(refused.value)


@pytest.mark.parametrize("how", ["tolerate", "client"])
def test_who_asks_for_it_starts_with_warnings_instead(site: Site, how: str) -> None:
    site.install("cracked", entry_points={"plugins:cracked": "cracked"}, module="1 / 0")
    purpose = Purpose.CLIENT if how == "client" else Purpose.EXECUTOR
    host = build(purpose=purpose, tolerate_broken=how == "tolerate")
    assert any("ZeroDivisionError" in warning for warning in host.warnings)


def test_a_misspelt_hook_is_a_problem(site: Site) -> None:
    module = """
        from jobs_exec.contracts import hookimpl

        @hookimpl
        def job_tpyes(host): return []
    """
    site.install("typo", entry_points={"plugins:typo": "typo"}, module=module)
    with pytest.raises(PluginError, match="job_tpyes"):
        build()


def test_a_hook_of_another_plugin_is_known_whatever_their_order(site: Site) -> None:
    definer = """
        from jobs_exec.contracts import hookimpl, hookspec

        class Specs:
            @hookspec
            def greeting(self, host): ...

        @hookimpl
        def hook_specs():
            return Specs
    """
    user = """
        from jobs_exec.contracts import hookimpl

        @hookimpl(optionalhook=True)
        def greeting(host):
            return "hello"
    """
    site.install("a-user", entry_points={"plugins:a_user": "a_user"}, module=user)
    site.install("z-definer", entry_points={"plugins:z_definer": "z_definer"}, module=definer)
    host = build()
    assert host.hook.greeting(host=None) == ["hello"]


@pytest.mark.parametrize("by", ["kept", "kept-out"])
def test_plugins_are_kept_out_by_entry_point_or_distribution_name(site: Site, by: str) -> None:
    site.install("kept-out", entry_points={"plugins:kept": "kept_out"}, module="1 / 0")
    host = build(JOB_PLUGINS_DENY=f"webhooks,{by}")
    (record,) = [r for r in host.plugins if r.name == "kept"]
    assert record.state is PluginState.DISABLED
    assert "JOB_PLUGINS_DENY" in record.reason


def test_an_allow_list_admits_nothing_else(site: Site) -> None:
    site.install("mailer", entry_points={"plugins:mail": "mailer"}, module=HANDLERS.format(type="mail.send"))
    assert "mail.send" in build(JOB_PLUGINS_ALLOW="probe,mail").job_types
    assert "mail.send" not in build(JOB_PLUGINS_ALLOW="probe").job_types


def test_an_unknown_backend_says_who_asked_what_is_there_and_how_to_get_it(site: Site) -> None:
    with pytest.raises(UnknownBackend) as refused:
        build(JOB_QUEUE_BACKEND="prob")
    text = str(refused.value)
    assert "JOB_QUEUE_BACKEND from command line" in text
    assert "probe (probe-backend 1.2)" in text
    assert "Did you mean 'probe'?" in text


def test_a_backend_without_a_ledger_needs_a_store_by_name(site: Site) -> None:
    module = PROBE_BACKEND.replace("ledger = object()", "ledger = None").replace('"probe"', '"bare"')
    site.install("bare", entry_points={"backends:bare": "bare"}, module=module)
    with pytest.raises(ConfigurationError, match="JOB_IDEMPOTENCY_STORE"):
        build(JOB_QUEUE_BACKEND="bare")


def test_modules_of_the_application_are_imported(site: Site) -> None:
    (site.folder / "app_jobs.py").write_text(
        "from jobs_exec import job\n\n@job('app.type')\nasync def handler(ctx, data): ...\n"
    )
    assert build(JOB_MODULES="app_jobs").job_types["app.type"].owner == "application"


def test_an_unknown_setting_is_warned_about_with_its_near_match(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_MAX_ATEMPTS", "3")
    assert any("Did you mean JOB_MAX_ATTEMPTS?" in warning for warning in build().warnings)
