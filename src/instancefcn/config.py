"""Recipes: TOML tables, each built on a base, to frozen dataclasses and back; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Table = dict[str, Any]
T = TypeVar("T")
to_table = dataclasses.asdict  # which ``from_table`` reads back


def load_table(name_or_path: str | Path, *folders: Traversable) -> Table:
    """Read a recipe's table, on top of the recipe that its key ``base`` names, and so on.

    Args:
        name_or_path: a recipe in one of the folders, without ``.toml``, or the path of a TOML file. In ``base``, a path
            starts from the folder of the file that names it.

    Raises:
        ValueError: no such recipe, no TOML, or bases that lead in a circle; names the file.
    """
    shipped = {
        file.name.removesuffix(".toml"): file
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }
    return _load(str(name_or_path), shipped, Path(), ())


def _load(name: Any, shipped: dict[str, Traversable], here: Path, above: tuple[str, ...]) -> Table:
    """A recipe's table on top of its base's. ``above``: the files that led here; ``here``: the folder of the last."""
    by = f"{above[-1]}: base" if above else "recipe"
    path = here / str(name)
    file = shipped.get(name) if isinstance(name, str) else None
    file = file or (path if path.is_file() else None)
    if file is None:
        raise ValueError(f"{by} {name!r} is neither a file nor one of {', '.join(sorted(shipped))}")
    if str(file) in above:
        raise ValueError(f"{by} leads back to {name!r}: bases must end somewhere")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or a table that is too deep
        raise ValueError(f"{name}: not TOML: {error}") from error
    base = table.pop("base", None)
    if base is None:
        return table
    return merge_tables(_load(base, shipped, path.parent if file is path else here, (*above, str(file))), table)


def check_values(config: Any, table: str, **ranges: tuple[int | float, int | float]) -> None:
    """Check the values of a dataclass: choices are among those of their type, arrays are tuples, numbers in a range.

    Args:
        table: the recipe's table that it is read from, for messages; empty for the top.
        ranges: from each key to the least and the largest value, which are allowed, of its number or of an array's.

    Raises:
        ValueError: a value is none of these, or NaN; names the key and what it may be.
    """
    for key, hint in get_type_hints(type(config)).items():
        name, value = f"{table}.{key}" if table else key, getattr(config, key)
        if get_origin(hint) is Literal:
            check_choice(name, value, get_args(hint))
        if get_origin(hint) is tuple and not isinstance(value, tuple):
            raise ValueError(f"{name} must be a tuple, not {value!r:.40}")
        if key in ranges:
            least, largest = ranges[key]
            for number in value if isinstance(value, tuple) else (value,):
                if not least <= number <= largest:
                    raise ValueError(f"{name} is {number!s:.40}; it must be from {least:g} to {largest:g}")


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Check that a value is one of those that there are.

    Raises:
        ValueError: it is none; says which there are.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def merge_tables(below: Table, above: Table) -> Table:
    """Merge two tables key by key; where both have a key, ``above`` wins."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge_tables(merged[key], value) if both else value
    return merged


def from_table(cls: type[T], table: Any, where: str, complete: bool = False) -> T:
    """Build a dataclass from a table; nested tables become nested dataclasses, arrays become tuples.

    Args:
        where: what the table is part of, for messages, such as ``recipes/lite.toml``.
        complete: every key must be there, so that no default is read.

    Raises:
        ValueError: an unknown or a missing key, or a value of the wrong type; names the key and what it may be.
    """
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table, not {table!r}")
    hints = get_type_hints(cls)
    unknown, missing = sorted(set(table) - set(hints)), sorted(set(hints) - set(table))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known here: {', '.join(sorted(hints))}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    if complete and missing:
        raise ValueError(f"{where}: key {missing[0]!r} is missing")
    try:
        return cls(**values)
    except TypeError as error:  # a key without a default is missing
        raise ValueError(f"{where}: {error}") from error
    except ValueError as error:  # a dataclass names its table and key, but not the file
        file, _, table_name = where.rpartition(": ")
        named = f"{error}".startswith(f"{table_name}.")
        raise ValueError(f"{file if named else where}: {error}".removeprefix(": ")) from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_table(hint, value, where)  # pyright: ignore[reportArgumentType]
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be an array, not {value!r}")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if get_origin(hint) is Literal:
        check_choice(where, value, get_args(hint))
        return value
    if hint is float and type(value) is int:
        if abs(value) > 2**53:  # beyond what every float can say
            raise ValueError(f"{where} is {value!s:.40}, which is too large")
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} must be {hint.__name__}, not {value!r}")
    return value
