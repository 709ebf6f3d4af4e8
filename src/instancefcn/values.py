"""Values from outside: whole numbers as tools write them, limits, and any value or error in a line of a message."""

from __future__ import annotations

import math
import re
import reprlib
from numbers import Integral
from typing import Any, TypeGuard

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 3, 6, 4, 100


def nan_as_none(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None, also inside dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: nan_as_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a JSON value can be an id or a size."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def whole_or_none(value: Any) -> int | None:
    """An id or a size; some tools write 160.0, "160" or "160.0" in JSON. None of anything else."""
    if type(value) is int and -(2**63) < value < 2**63:  # as nearly all are
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.0*)?\s*", value):
        return int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Integral) and not isinstance(value, bool):  # NumPy's, where a table was made in Python
        value = int(value)
    return value if is_integer(value) else None


def shown(value: Any) -> str:
    """A value of a file for a message: short, however long or deep it is."""
    return _SHORT.repr(value)


def reason_of(error: BaseException, name: object) -> str:
    """An error in one line, without the name of what it is about, which its message may begin with.

    Example:
        >>> reason_of(ValueError("a.png: is cut\noff"), "a.png")
        'is cut off'
    """
    return " ".join(str(error).removeprefix(f"{name}: ").split()) or type(error).__name__


def check_limits(name: str, most: int, min_score: float) -> None:
    """Check how many results are asked for, and from which score on.

    Args:
        name: of the first, for the message.

    Raises:
        ValueError: ``most`` is negative, or ``min_score`` is NaN.
    """
    if most < 0 or math.isnan(min_score):
        raise ValueError(f"{name} must be 0 or more and min_score a number, not {most} and {min_score}")
