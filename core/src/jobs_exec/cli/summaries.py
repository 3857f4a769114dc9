"""The help line of a plugin's command, read from the source of its module without importing it.

`jobs-exec --help` lists every command; importing them all would take the better part of a second, and one that is
broken would break the listing.
"""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path


def summary_of(target: str) -> str | None:
    """The first sentence of what documents ``module:name``, the command itself or else its module; None without any."""
    module, _, name = target.partition(":")
    try:
        path = _source(module)
        tree = ast.parse(path.read_bytes()) if path else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    if tree is None:
        return None
    functions = [each for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
    own = next((ast.get_docstring(each) for each in functions if each.name == name), None)
    return _first_sentence(own or ast.get_docstring(tree) or "")


def _source(module: str) -> Path | None:
    """The file of a module; its packages are not imported either, so only their own folders are looked into."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        package = f"{package}.{part}"
        spec = PathFinder.find_spec(package, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _first_sentence(text: str) -> str | None:
    paragraph = " ".join(text.split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return (sentence + stop.strip()) or None
