"""The URL of a delivery, taken apart once, strictly, by the one parser that both checks and connects.

What two parsers read differently is how addresses are smuggled past a check. So anything unusual (credentials,
backslashes, percent signs in the host, control characters) is refused rather than interpreted; odd spellings of
addresses (``0x7f.1``) are host names like any other, and judged by the address they lead to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PARTS = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes; `host` is without brackets, `path` with its query and never shown."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What error texts may show: paths and queries of webhook URLs are often secrets."""
        return f"{self.scheme}://{self.authority}"


def parse_url(url: str) -> Target:
    """Takes `url` apart; raises `ValueError` with a text that shows nothing of it."""
    if not _VISIBLE.fullmatch(url):
        raise ValueError("must be ASCII without spaces; write other characters percent-encoded and hosts in punycode")
    parts = _PARTS.match(url)
    if parts is None:
        raise ValueError("must start with https:// or http://")
    if "@" in parts["authority"]:
        raise ValueError("must not hold a user name or password")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise ValueError("must name a host, and after it at most a port")
    scheme = parts["scheme"].lower()
    port = int(authority["port"] or _PORTS[scheme])
    if not 1 <= port <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    return Target(scheme, authority["host"].strip("[]").lower(), port, (parts["path"] or "/") + (parts["query"] or ""))
