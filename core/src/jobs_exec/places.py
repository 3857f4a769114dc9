"""Where an error came from, for a sentence that names the line to mend."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pluggy

_OURS = tuple(f"{Path(each).parent}/" for each in (__file__, pluggy.__file__))


def words_of(error: BaseException) -> str:
    """Class and text of `error` in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def place_of(error: BaseException) -> str:
    """`` (FILE:LINE)`` of the innermost line that is neither the framework's nor Python's own; empty when there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    passed = [
        f" ({frame.f_code.co_filename}:{line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(("<frozen ", *_OURS))
    ]
    # `importlib` and importlib_metadata stand at the outside; the module that failed comes after them.
    passed = [each for each in passed if "/importlib" not in each]
    return passed[-1] if passed else ""


def place_of_function(function: Any) -> str:
    """`` (FILE:LINE)`` where a function begins; empty when it has no source of its own."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
