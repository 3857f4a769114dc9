"""Takes passwords out of texts that people will read: those of URLs and of ``password=`` pairs."""

from __future__ import annotations

import re

MASK = "********"

_PASSWORDS = (
    # Up to the last @: some passwords hold one that nobody escaped. What our own sentences show as a pattern stays.
    re.compile(r"(\w://(?!USER:PASSWORD@)[^\s:/@]*:)[^\s/]+(?=@)"),
    re.compile(r"(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s,;&]+)", re.IGNORECASE),
)


def masked(text: str) -> str:
    """`text` with the passwords of connection strings masked."""
    for pattern in _PASSWORDS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text
