"""The payload of ``webhook.deliver``: where to, what, and a few headers. Secrets have no place in it.

It is checked when the job is enqueued, so a URL or header that can never work is refused there.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from jobs_exec_webhooks.targets import parse_url

MAX_URL = 2048
MAX_HEADERS = 20
MAX_HEADER_VALUE = 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SET_BY_US = frozenset({"accept-encoding", "content-length", "content-type", "host", "user-agent"})
_OF_THE_CONNECTION = frozenset(
    {"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
_SECRET = frozenset({"authorization", "cookie"})
_PREFIXES = ("webhook-", "proxy-", "sec-")


def check_url(url: str) -> str:
    """Returns `url` if a delivery may go there; whether its address may be reached is decided on connecting."""
    parse_url(url)
    return url


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    """Returns `headers` if all may be sent along."""
    names = [name.lower() for name in headers]
    if len(set(names)) < len(names):
        raise ValueError("must not name a header twice")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("must have names of letters, digits and - only, at most 64 characters")
        _check_allowed(name.lower())
        if len(value) > MAX_HEADER_VALUE or not _VALUE.fullmatch(value):
            raise ValueError(f"{name}: must be 1 to {MAX_HEADER_VALUE} printable ASCII characters")
    return headers


def _check_allowed(name: str) -> None:
    if name in _SECRET:
        raise ValueError(
            f"{name} is a secret, which does not belong into a payload; receivers verify webhook-signature"
        )
    if name in _SET_BY_US or name in _OF_THE_CONNECTION or name.startswith(_PREFIXES):
        raise ValueError(f"{name} is set by the delivery itself")


class Delivery(BaseModel):
    """One webhook: `body` is POSTed to `url` as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # Paths of webhook URLs are often secrets in disguise, so not even they are shown.
    url: Annotated[str, Field(max_length=MAX_URL, repr=False), AfterValidator(check_url)]
    body: JsonValue = Field(repr=False)
    headers: Annotated[dict[str, str], Field(max_length=MAX_HEADERS, repr=False), AfterValidator(check_headers)] = {}
