"""Whether an object has everything a contract names, before its first missing method fails some test far away."""

from __future__ import annotations

import inspect


def missing_of(contract: type, implementation: object) -> list[str]:
    """The public members of the protocol `contract` that `implementation` lacks, in the order of the contract.

    One that is inherited from the protocol itself has no body and counts as missing.
    """
    members = {name: member for name, member in vars(contract).items() if not name.startswith("_")}
    return [
        name
        for name, member in members.items()
        # Statically: a property may refuse to answer, as `operator` does without the capability.
        if inspect.getattr_static(implementation, name, member) is member
    ]
