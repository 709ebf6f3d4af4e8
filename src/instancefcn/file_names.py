"""Names of files: those that data files give, and those of files that are made from others."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

LONGEST_NAME = 255  # bytes of a file's name, on nearly every file system
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def path_inside(folder: Path, file_name: str) -> Path:
    r"""Path of a file in a folder, by the name that a data file gives.

    A name written on Windows (``sub\a.png``) is read with slashes, and an accented letter as one sign or as two (macOS
    has two), unless a file has the name as it stands. Links may lead out of the folder, since its owner made them;
    names may not.

    Raises:
        ValueError: the name is absolute, leads out of the folder, is the folder itself, or no file can have it.
    """
    if is_plain_name(file_name):
        return folder / file_name
    slashed = file_name.replace("\\", "/")
    root, path = (Path(os.path.abspath(path)) for path in (folder, folder / slashed))
    if PureWindowsPath(file_name).root:
        raise ValueError(f"file name {file_name!r} is absolute: make it relative to the folder {folder}")
    if path == root or not path.is_relative_to(root):
        raise ValueError(f"file name {file_name!r} leads out of {folder}: it must name a file inside")
    try:
        os.fsencode(file_name)
    except UnicodeEncodeError as error:
        raise ValueError(f"file name {file_name!a} has a sign that no file's name can have") from error
    as_written = folder / file_name
    if "\\" in file_name and as_written.exists():
        return as_written
    inside = folder / path.relative_to(root)
    if file_name.isascii() or os.path.lexists(inside):
        return inside
    forms = (folder / unicodedata.normalize(form, str(path.relative_to(root))) for form in ("NFC", "NFD"))
    return next((other for other in forms if os.path.lexists(other)), inside)


def check_length(path: Path) -> None:
    """Look whether a file's name is short enough for file systems.

    Raises:
        ValueError: it is not.
    """
    length = len(os.fsencode(path.name))
    if length > LONGEST_NAME:
        raise ValueError(
            f"its name is too long: {path.suffix} in place of its own end makes {length} bytes, and a file's name has "
            f"{LONGEST_NAME} at most: rename it"
        )


def last_part(name: str) -> str:
    """The name of a file without folders, whichever system's slashes it has."""
    return name.replace("\\", "/").rpartition("/")[2]


def is_plain_name(file_name: str) -> bool:
    """Whether a name is of letters and digits of ASCII, with points, lines and such between: it can be but a file's."""
    return _PLAIN.fullmatch(file_name) is not None


def unique_stems(names: Sequence[str]) -> list[PurePosixPath]:
    """Relative paths without a suffix, one for each name of a file and all different, for files made from these.

    A name without its suffix; with it where two names would share the path (cat.jpg beside cat.png).
    """

    def folded(path: PurePosixPath) -> str:
        return str(path).casefold()  # some file systems don't tell A from a

    paths = [PurePosixPath(name) for name in names]
    stems = Counter(folded(path.with_suffix("")) for path in paths)
    full = {folded(path) for path in paths}

    def is_free(stem: PurePosixPath, path: PurePosixPath) -> bool:
        return stems[folded(stem)] == 1 and (stem == path or folded(stem) not in full)

    return [stem if is_free(stem := path.with_suffix(""), path) else path for path in paths]
