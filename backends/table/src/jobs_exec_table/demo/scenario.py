"""Who queues what, and what must come of it.

========  ==============================================================================================
noisy     queues everything it has before anybody else comes
broken    has an endpoint that always answers 500: its jobs are tried `ATTEMPTS` times, then they are dead
busy      has an endpoint that answers 503 with Retry-After to the first delivery of each job
quiet-NN  all the others, `EACH` jobs like the two before
========  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TYPE = "webhook.deliver"
NOISY, BROKEN, BUSY = "noisy", "broken", "busy"
EACH = 10
"""Jobs of every org but the noisy one."""
REPEATS = 25
"""Of each kind: repeats of jobs that wait, and of jobs that have run."""
ATTEMPTS = 5
MANY_TIMES = 10
"""The noisy org must queue at least this many times what all others queue together."""
ORGLESS: tuple[Any, ...] = (None, "", "   ")
"""What stands where the org should be in the envelopes that are refused."""


class ScenarioError(ValueError):
    """Numbers of jobs and orgs that do not make a demonstration."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What each of the three counts must say."""

    created: int
    duplicates: int
    refused: int
    succeeded: int
    dead: int
    attempts_of_dead: int
    failures: int
    snoozes: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """`jobs` in all, of `orgs`. Raises `ScenarioError`."""

    jobs: int = 5390
    orgs: int = 40

    def __post_init__(self) -> None:
        if self.orgs < 4:
            raise ScenarioError("at least 4 orgs are needed: noisy, broken, busy and a quiet one")
        if self.noisy < MANY_TIMES * self.others:
            least = (MANY_TIMES + 1) * self.others
            raise ScenarioError(
                f"with {self.orgs} orgs at least {least} jobs are needed: {EACH} for each org but the noisy one, "
                f"which must queue at least {MANY_TIMES} times the rest and would get {max(self.noisy, 0)}"
            )

    @property
    def others(self) -> int:
        """Jobs of all orgs but the noisy one."""
        return EACH * (self.orgs - 1)

    @property
    def noisy(self) -> int:
        """Jobs of the noisy one."""
        return self.jobs - self.others

    @property
    def quiet_orgs(self) -> tuple[str, ...]:
        """The orgs with nothing special about them."""
        width = len(str(self.orgs - 3))
        return tuple(f"quiet-{number:0{width}}" for number in range(1, self.orgs - 2))

    @property
    def small_orgs(self) -> tuple[str, ...]:
        """All but the noisy one, in the order they come."""
        return (BROKEN, BUSY, *self.quiet_orgs)

    @property
    def expected(self) -> Expected:
        """What must come of it."""
        return Expected(
            created=self.jobs,
            duplicates=2 * REPEATS,
            refused=len(ORGLESS),
            succeeded=self.jobs - EACH,
            dead=EACH,
            attempts_of_dead=ATTEMPTS,
            failures=EACH * ATTEMPTS,
            snoozes=EACH,
        )

    def count(self, org_id: str) -> int:
        """Jobs of one org."""
        return self.noisy if org_id == NOISY else EACH

    def repeats_of_queued(self) -> list[tuple[str, int]]:
        """Jobs, as (org, number), that are enqueued again while they wait."""
        return [(NOISY, number) for number in range(REPEATS)]

    def repeats_of_done(self) -> list[tuple[str, int]]:
        """Jobs, as (org, number), that are enqueued again after they have run: first of quiet orgs, then of noisy."""
        quiet = [(org_id, number) for number in range(EACH) for org_id in self.quiet_orgs]
        spare = [(NOISY, number) for number in range(REPEATS, 2 * REPEATS)]
        return [*quiet, *spare][:REPEATS]


def group_of(org_id: str) -> str:
    """The row of the table that an org is counted in."""
    return org_id if org_id in (NOISY, BROKEN, BUSY) else "quiet"


def payload(base_url: str, org_id: str, number: int) -> dict[str, Any]:
    """The data of one job; the same arguments make an exact repeat."""
    return {
        "url": f"{base_url}/{org_id}",
        "body": {"type": "invoice.paid", "data": {"org": org_id, "number": number}},
    }


def chunks(total: int, size: int) -> Iterator[range]:
    """``range(total)`` in pieces of `size`."""
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
