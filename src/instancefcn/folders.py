"""The files of a folder and of those below it."""

from __future__ import annotations

import os
import re
import warnings
from collections import deque
from collections.abc import Iterable
from pathlib import Path


def existing_dir(path: Path, what: str) -> Path:
    """Return ``path``, which has to be a folder that holds ``what``."""
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; it should hold {what}")
    return path


def refuse_zip(path: Path) -> None:
    """Refuse a ZIP file, as the labelling tools give their exports, by a ValueError that says what to do."""
    if path.suffix.lower() == ".zip" and not path.is_dir():
        raise ValueError(f"{path}: unpack the ZIP file, and give its folder")


def visible_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files with one of these suffixes, in lower case, of ``files_below``, sorted by their paths."""
    ends = set(suffixes)
    return sorted(path for path in files_below(folder) if path.suffix.lower() in ends and path.is_file())


def files_below(folder: Path, left_out: Iterable[Path] = ()) -> list[Path]:
    """Files in a folder and in those below, naturally sorted (``natural_key``), files before folders.

    Hidden files and folders are left out, as macOS's ``._a.json``. Linked folders are followed, and each is taken once:
    by its own name, where it lies in ``folder``, else by that of its first link. So links may form circles. A folder
    that can't be looked into, such as a disk's ``lost+found``, is left out, with a warning.

    Args:
        left_out: folders that are not looked into.
    """
    seen = {identity(path) for path in left_out if path.is_dir()}
    inside: dict[Path, tuple[list[str], list[str]]] = {}  # names of a folder's files, and of its folders
    starts = deque([folder])
    while starts:  # links come last, so that a folder that lies inside has its own name
        for parent, folders, files in os.walk(starts.popleft(), onerror=_warn):
            here, own = Path(parent), identity(parent)
            if own in seen and here != folder:
                folders.clear()
                continue
            seen.add(own)
            folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
            inside[here] = [name for name in files if not name.startswith(".")], list(folders)
            starts.extend(here / name for name in folders if (here / name).is_symlink())
    found: list[Path] = []
    left = [folder]
    while left:
        here = left.pop()
        if here in inside:
            files, folders = inside[here]
            found += [here / name for name in sorted(files, key=natural_key)]
            left += [here / name for name in reversed(folders)]
    return found


def _warn(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        warnings.warn(f"{error.filename}: {error.strerror}: what is in this folder is left out", stacklevel=2)


def identity(path: str | Path) -> tuple[int, int]:
    """What tells a file or a folder from others, whatever links lead to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def natural_key(path: str | Path) -> tuple[list[str | int], str]:
    """Sort key that compares digits within names as numbers."""
    texts_and_numbers = re.split(r"([0-9]+)", str(path))
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(texts_and_numbers)], str(path)
