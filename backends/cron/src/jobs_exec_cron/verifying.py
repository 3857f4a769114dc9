"""Who may call the endpoint: the hook `endpoint_verifiers`, and what a verifier is.

A plugin that knows its callers in another way (mutual TLS, a token of a cloud scheduler) implements the hook::

    @hookimpl(optionalhook=True)
    def endpoint_verifiers(host):
        return [MyVerifier(host.settings(MySettings))]

The hook is called once at start; each verifier is asked for every call until one accepts. Nothing of the body has
been read as anything but bytes by then, so what a verifier does with it is all that is between a stranger and a job.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jobs_exec.contracts import PluginHost, hookspec
from jobs_exec.errors import ConfigurationError, JobsError, PluginError

__all__ = ["Presented", "Verified", "Verifier", "VerifierHookSpecs", "accepted", "collected", "required"]

log = logging.getLogger(__name__)

MAX_CALL_ID = 256


@dataclass(frozen=True, slots=True)
class Presented:
    """A call as it came: `path` inside the endpoint, header names in lower case, `body` as bytes, unread."""

    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header; None when it is missing, and also when it is there twice: then nobody can say which
        of the two was meant."""
        values = [value for each, value in self.headers if each == name]
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Verified:
    """The caller is known. `call_id` is what tells this call from every other and stays when it is sent again.

    Only an id that the proof covers may stand here: it becomes the key of jobs that have none.
    """

    call_id: str | None = None


@runtime_checkable
class Verifier(Protocol):
    """Tells callers from strangers."""

    @property
    def name(self) -> str:
        """For logs."""

    def verify(self, call: Presented) -> Verified | Awaitable[Verified | None] | None:
        """Who calls, or None for a stranger; async or sync, and then quick. What it raises counts as None."""


class VerifierHookSpecs(Protocol):
    """The hook this distribution adds."""

    @hookspec
    def endpoint_verifiers(self, host: PluginHost) -> Sequence[Verifier]:
        """The verifiers of this plugin; empty when it is not configured."""


def collected(host: PluginHost) -> tuple[Verifier, ...]:
    """What every plugin answers. Raises `PluginError` for a bad answer, and what a plugin says about its settings."""
    try:
        answers = host.hook.endpoint_verifiers(host=host)
        found = tuple(verifier for answer in answers for verifier in answer)
    except JobsError:
        raise
    except Exception as error:
        raise PluginError([f"the hook endpoint_verifiers failed: {type(error).__name__}"]) from error
    for each in found:
        if not isinstance(each, Verifier) or not callable(each.verify):
            raise PluginError([f"the hook endpoint_verifiers returned {type(each).__name__}, which is no verifier"])
    return found


def required(verifiers: Sequence[Verifier]) -> tuple[Verifier, ...]:
    """`verifiers`; raises `ConfigurationError` when there is none."""
    if not verifiers:
        raise ConfigurationError(
            "JOB_CRON_SECRETS",
            "no way to verify callers is configured, and an endpoint that runs jobs for anybody does not start; set it "
            "to a secret that callers sign with (whsec_...), or set JOB_CRON_BEARER_DIGESTS, or install a plugin with "
            "verifiers",
        )
    return tuple(verifiers)


async def accepted(verifiers: Sequence[Verifier], call: Presented, timeout: float) -> Verified | None:
    """The answer of the first that knows the caller; `timeout` seconds for all of them together."""
    try:
        async with asyncio.timeout(timeout):
            for verifier in verifiers:
                verified = await _asked(verifier, call)
                if verified is not None:
                    return verified
    except TimeoutError:
        log.error("verifying a call took longer than %g seconds; it was refused", timeout)
    return None


async def _asked(verifier: Verifier, call: Presented) -> Verified | None:
    """Fails closed: a verifier that breaks has accepted nobody. Its words may quote the call and are not logged."""
    try:
        answer = verifier.verify(call)
        verified = await answer if inspect.isawaitable(answer) else answer
    except Exception as error:
        log.error("the verifier %s failed with %s; the call was refused", verifier.name, type(error).__name__)
        return None
    if verified is not None and not isinstance(verified, Verified):
        log.error("the verifier %s answered no Verified; the call was refused", verifier.name)
        return None
    return verified
