"""Folders, file names and JSON that data is given by, checked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeGuard


def existing_dir(path: Path, what: str) -> Path:
    """The folder, if it is one.

    Raises:
        ValueError: it is not.
    """
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; it should hold {what}")
    return path


def path_inside(folder: Path, file_name: str) -> Path:
    """Path of a file in a folder, by a name that a data file gives. Links may lead elsewhere, names may not.

    Raises:
        ValueError: the name leads out of the folder.
    """
    root, path = (Path(os.path.abspath(path)) for path in (folder, folder / file_name))
    if not path.is_relative_to(root):
        raise ValueError(f"file name {file_name!r} leads out of {folder}")
    return folder / path.relative_to(root)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: it is missing, or holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a JSON value can be an id or a size."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
