"""The modules of an application, imported by name so that they register their job types."""

from __future__ import annotations

import importlib

from jobs_exec.places import place_of, words_of


def import_problem(name: str) -> str | None:
    """Imports `name` of ``JOB_MODULES``; one sentence when that fails, whatever the module does."""
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        return f"module {name} of JOB_MODULES cannot be imported: {words_of(error)}{place_of(error)}{_hint(name)}"
    return None


def _hint(name: str) -> str:
    """What a name looks like that was meant as a file."""
    dotted = name.removesuffix(".py").strip("./").replace("/", ".")
    return f"; write it as Python imports it, without .py: {dotted}" if dotted and dotted != name else ""
