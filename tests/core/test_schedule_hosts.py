"""The schedules of a host: from plugins and applications, and what keeps an executor from starting with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributions import Site

from jobs_exec.discovery import PluginState
from jobs_exec.errors import PluginError
from jobs_exec.host import Host, Purpose, build_host
from jobs_exec.inspecting import check_plugins

SETTINGS = {"JOB_QUEUE_BACKEND": "probe", "JOB_PLUGINS_DENY": "webhooks"}
PLUGIN = """
    from pydantic import BaseModel
    from jobs_exec import job_type, register_schedule, schedule
    from jobs_exec.contracts import hookimpl, hookspec

    class Report(BaseModel):
        pages: int
        at: str = ""

    async def handler(ctx, data: Report): ...

    @hookimpl
    def job_types(host):
        return [job_type("{name}.report", handler)]
"""
SCHEDULES = """
    @hookimpl
    def schedules(host):
        return [{definitions}]
"""
DIRECTORY = """
    @hookimpl
    def org_directory(host, backend):
        class Directory:
            async def check(self, org_ids): ...
            async def active(self):
                yield "acme"
        return Directory()
"""


def install(site: Site, *definitions: str, name: str = "mail", more: str = "") -> None:
    body = PLUGIN.format(name=name) + (SCHEDULES.format(definitions=", ".join(definitions)) if definitions else "")
    site.install(f"{name}-dist", entry_points={f"plugins:{name}": f"{name}_dist"}, module=body + more)


def build(**options: object) -> Host:
    return build_host(SETTINGS, **options)  # type: ignore[arg-type]


def refused(**settings: str) -> tuple[str, ...]:
    with pytest.raises(PluginError) as error:
        build_host({**SETTINGS, **settings})
    return error.value.problems


def test_the_schedules_of_plugins_are_owned_by_their_distributions(site: Site) -> None:
    install(site, "schedule('nightly', 'mail.report', cron='@daily', orgs='acme', data={'pages': 1})")
    eager = "\n    register_schedule('nightly', 'mail.report', every=60, orgs='emca', data={'pages': 1})\n"
    install(site, name="eager", more=eager)
    found = [(made.owner, made.name, made.orgs) for made in build().schedules]
    assert found == [("eager-dist", "nightly", ("emca",)), ("mail-dist", "nightly", ("acme",))]


def test_the_schedules_of_an_application_come_from_its_modules(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site" / "app_jobs.py").write_text(
        "import jobs_exec\njobs_exec.register_schedule('hourly', 'work', every=3600, orgs='acme')\n"
    )
    (made,) = build_host({**SETTINGS, "JOB_MODULES": "app_jobs"}).schedules
    assert (made.owner, made.name) == ("application", "hourly")


def test_two_schedules_of_one_name_are_both_named(site: Site) -> None:
    install(
        site,
        "schedule('nightly', 'mail.report', every=60, orgs='a', data={'pages': 1})",
        "schedule('nightly', 'mail.other', every=60, orgs='a')",
    )
    (problem,) = refused()
    assert "'nightly' is defined by mail-dist (plugin mail, job type mail.report)" in problem
    assert "and by mail-dist (plugin mail, job type mail.other)" in problem


def test_all_orgs_without_a_directory_keep_an_executor_from_starting(site: Site) -> None:
    install(site, "schedule('nightly', 'mail.report', every=60, orgs='*', data={'pages': 1})")
    (problem,) = refused()
    assert "nightly of mail-dist is for all orgs" in problem
    assert "JOB_ORG_TABLE" in problem


def test_all_orgs_of_a_directory_are_fine(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', every=60, orgs='*', data={'pages': 1})", more=DIRECTORY)
    assert [made.name for made in build().schedules] == ["n"]


def test_a_disabled_schedule_needs_no_directory(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', every=60, orgs='*', data={'pages': 1}, enabled=False)")
    assert [made.name for made in build().schedules] == ["n"]


def test_data_that_does_not_fit_the_payload_model_is_told_without_its_values(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', every=60, orgs='a', data={'pages': 'hunter2'})")
    (problem,) = refused()
    assert "schedule n of mail-dist does not fit its job type mail.report: data.pages:" in problem
    assert "hunter2" not in problem


def test_the_tick_is_part_of_what_must_fit(site: Site) -> None:
    install(
        site,
        "schedule('fits', 'mail.report', every=60, orgs='a', data={'pages': 1}, tick_as='at')",
        "schedule('not', 'mail.report', every=60, orgs='a', tick_as='pages')",
    )
    (problem,) = refused()
    assert "schedule not of mail-dist does not fit" in problem


def test_a_payload_that_is_too_long_is_told_whoever_has_the_type(site: Site) -> None:
    install(site, "schedule('n', 'somebody.elses', every=60, orgs='a', data={'text': 'x' * 300}, tick_as='at')")
    (problem,) = refused(JOB_MAX_PAYLOAD_BYTES="300")
    assert "more than JOB_MAX_PAYLOAD_BYTES=300" in problem


def test_a_type_of_another_process_is_no_problem_here(site: Site) -> None:
    install(site, "schedule('n', 'somebody.elses', every=60, orgs='a')")
    assert [made.type for made in build().schedules] == ["somebody.elses"]


def test_a_tenants_schedule_is_not_one_of_code(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', every=60, org_id='acme', data={'pages': 1})")
    (problem,) = refused()
    assert "pass orgs= instead of org_id=" in problem


def test_a_bad_definition_in_a_hook_is_the_fault_of_its_plugin(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', cron='61 * * * *', orgs='a')")
    (problem,) = refused()
    assert "mail-dist" in problem
    assert "cron: character 1: '61' is no minute" in problem


def test_what_is_no_schedule_is_the_fault_of_its_plugin(site: Site) -> None:
    install(site, "'0 * * * *'")
    (problem,) = refused()
    assert "schedules made by jobs_exec.schedule" in problem
    assert "mail-dist" in problem


def test_an_application_with_a_bad_schedule_is_told_by_its_module(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site" / "bad_jobs.py").write_text(
        "import jobs_exec\njobs_exec.register_schedule('hourly', 'work', every=0, orgs='acme')\n"
    )
    (problem,) = refused(JOB_MODULES="bad_jobs")
    assert "module bad_jobs" in problem
    assert "every: must be whole seconds" in problem


def test_a_client_and_a_tolerant_executor_leave_out_what_cannot_be_used(site: Site) -> None:
    install(
        site,
        "schedule('bad', 'mail.report', every=60, orgs='*', data={'pages': 1})",
        "schedule('good', 'mail.report', every=60, orgs='acme', data={'pages': 1})",
    )
    for host in (build(for_=Purpose.CLIENT), build(tolerate_broken=True)):
        assert [made.name for made in host.schedules] == ["good"]
        assert any("bad of mail-dist" in text for text in host.warnings)


def test_the_schedules_of_a_broken_plugin_do_not_fire(site: Site) -> None:
    broken = "\n    @hookimpl\n    def observers(host):\n        raise ValueError('no collector')\n"
    install(site, "schedule('n', 'mail.report', every=60, orgs='acme', data={'pages': 1})", more=broken)
    host = build(tolerate_broken=True)
    assert host.schedules == ()
    assert {record.name: record.state for record in host.plugins}["mail"] is PluginState.BROKEN


def test_checking_plugins_tells_of_their_schedules(site: Site) -> None:
    install(site, "schedule('n', 'mail.report', every=60, orgs='a', data={'pages': 'many'})")
    assert any("schedule n of mail-dist does not fit" in problem for problem in check_plugins(SETTINGS).problems)
