"""SQL for pg_cron: its own expression is the clock, `jobs.fire` makes the jobs.

pg_cron knows UTC only. The tick is the minute in which its transaction began.
"""

from __future__ import annotations

from jobs_exec.cli.schedules.calls import Target
from jobs_exec.cli.schedules.dialects import PG_CRON, expression_for
from jobs_exec.cli.schedules.naming import dns_name
from jobs_exec.contracts.schedule import Audience, tick_text
from jobs_exec.errors import InvalidSchedule

LONGEST_NAME = 63
"""Bytes of a job's name up to pg_cron 1.4."""

HEADER = (
    "-- Fires only; jobs are run by executors, by `jobs-exec run --drain`, or by a call of POST /tick.",
    "-- Run this in the database that pg_cron works in; another one is reached with cron.schedule_in_database.",
)
TICK = "date_trunc('minute', now())"


def sql_of(target: Target, orgs_query: str | None) -> str:
    """The statement of one schedule. Raises `InvalidSchedule` naming what pg_cron cannot do."""
    made = target.schedule
    if made.zone != "UTC":
        raise InvalidSchedule("zone", f"is {made.zone}, pg_cron's clock is UTC; define the schedule in UTC")
    if target.id is None:
        raise InvalidSchedule("schedule", "is in no book yet; start an executor that carries it")
    when = expression_for(made, PG_CRON)
    words = (_literal(_job_name(target)), _literal(when), _dollar_quoted(_fire(target, orgs_query)))
    return f"select cron.schedule({', '.join(words)});"


def _job_name(target: Target) -> str:
    """Says which schedule it is; as long as it fits, in its own words."""
    name = f"jobs-exec:{target.schedule.ref}"
    return name if len(name.encode()) <= LONGEST_NAME else f"jobs-exec:{dns_name(target.schedule.ref)}"


def _fire(target: Target, orgs_query: str | None) -> str:
    made = target.schedule
    words = [_literal(made.name), TICK]
    if isinstance(made.orgs, Audience):
        words.append(f"orgs => array({_query(orgs_query)})")
    if made.org_id is not None:
        words.append(f"org_id => {_literal(made.org_id)}")
    words.append(f"owner => {_literal(made.owner)}")
    bounds = [
        f"{TICK} {operator} {_literal(tick_text(bound))}::timestamptz"
        for operator, bound in ((">=", made.start), ("<", made.end))
        if bound is not None
    ]
    return f"select jobs.fire({', '.join(words)})" + (f" where {' and '.join(bounds)}" if bounds else "")


def _query(text: str | None) -> str:
    """The operator's own SQL; a semicolon would end the statement around it."""
    if text is None:
        raise InvalidSchedule(
            "orgs",
            "are all, which the database has to list: pass "
            "--orgs-query \"select id::text from public.orgs where status = 'active'\"",
        )
    if ";" in text:
        raise InvalidSchedule("orgs", "--orgs-query must be one query, without a semicolon")
    return text.strip()


def _literal(text: str) -> str:
    """An SQL string of `text`; with standard_conforming_strings, the default, nothing but the quote is special."""
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise InvalidSchedule("schedule", "holds a control character, which is not written into SQL")
    return "'" + text.replace("'", "''") + "'"


def _dollar_quoted(text: str) -> str:
    """`text` between two dollar tags that it does not hold."""
    tag = "$jobs$"
    number = 0
    while tag in text:
        number += 1
        tag = f"$jobs{number}$"
    return f"{tag}{text}{tag}"
