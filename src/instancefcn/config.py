"""TOML and JSON tables to frozen dataclasses and back; an unknown key is an error."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Table = dict[str, Any]


T = TypeVar("T")


def from_table(cls: type[T], table: Table, where: str) -> T:
    """Build a dataclass from a table; nested tables become nested dataclasses, arrays become tuples.

    Args:
        where: what the table is part of, for messages, such as ``recipes/lite.toml``.

    Raises:
        ValueError: an unknown key, or a value of the wrong type; names the key and what it may be.
    """
    hints = get_type_hints(cls)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known here: {', '.join(sorted(hints))}")
    try:
        return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()})
    except TypeError as error:  # a key without a default is missing
        raise ValueError(f"{where}: {error}") from error


def to_table(config: Any) -> Table:
    """The table a dataclass came from; ``from_table`` reads it back."""
    return dataclasses.asdict(config)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be a table, not {value!r}")
        return from_table(hint, value, where)  # pyright: ignore[reportArgumentType]
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be an array, not {value!r}")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    choices = get_args(hint)  # of a Literal
    if choices:
        if value not in choices:
            raise ValueError(f"{where} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} must be {hint.__name__}, not {value!r}")
    return value
