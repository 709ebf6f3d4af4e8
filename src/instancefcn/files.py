"""Files that users name and files that we write: checked names, JSON, and writing whole files or none."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import reprlib
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, TypeGuard

LONGEST_NAME = 255  # bytes of a file's name, on nearly every file system
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8,16}\.tmp", re.DOTALL)  # names of ``whole_file`` until a file is whole
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 3, 6, 4, 100


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


def read_whole(path: Path) -> bytes:
    """Bytes of a file; a ValueError names the one that can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; a ValueError names the file that can't be read or holds no JSON.

    With a byte order mark it may also be UTF-16, as Windows' PowerShell writes it.
    """
    return parse_json(read_whole(path), path)


def parse_json(content: bytes, path: Path) -> Any:
    """As ``read_json``, from what the file holds."""
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a JSON file: {error}: save it as UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not a JSON file that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def read_lines(path: Path) -> list[str]:
    """Lines of a list of names or numbers. It may be from Windows: with a byte order mark, in code page 1252, ...

    Raises:
        ValueError: it can't be read; names the file.
    """
    content = read_whole(path)
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return re.split(r"\r\n|\r|\n", text)


def csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of a CSV file. A file's name may hold bytes that are no UTF-8: they become codes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")


def file_sum(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_and_time(path: str | Path) -> tuple[int, int]:
    """Bytes of a file and when it was changed, in nanoseconds; -1 and -1 where it can't be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


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
    """An id or a size of a JSON file; some tools write 160.0, "160" or "160.0". None of anything else."""
    if type(value) is int and -(2**63) < value < 2**63:  # as nearly all are
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.0*)?\s*", value):
        return int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if is_integer(value) else None


def shown(value: Any) -> str:
    """A value of a file for a message: short, however long or deep it is."""
    return _SHORT.repr(value)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that ``path`` is either the old file or the whole new one, as ``whole_file``.

    Raises:
        ValueError: text that UTF-8 can't hold, such as the name of a file in another code; names both.
        OSError: it can't be written; names the file.
    """
    try:
        encoded = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        around = error.object[max(error.start - 40, 0) : error.end + 40]
        raise ValueError(f"{path}: a name that is no UTF-8 can't be written there, rename it: {around!a}") from None
    with whole_file(path) as file:
        file.write(encoded)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` when the block ends; after an error nothing is left of it.

    Its folder is made. Until then it has another name in the same folder, which nobody can foresee and which no other
    file has. A symbolic link at ``path`` is replaced; what it points at stays as it is. File and folder are on the disk
    when the block has ended.

    Raises:
        OSError: it can't be written; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_temporary_start(path.name)}{secrets.token_hex(8)}.tmp")
    file = temporary.open("xb")  # exclusive: never another writer's file, and never through a link
    try:
        with named_errors(path):
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Let errors say which file they are of, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on the disk, where the system can tell."""
    if os.name == "nt":  # which opens no folder
        return
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written to, and not be read
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(opened)


def remove_temporary(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files that killed writers left in a folder: of every file, or of the one of a name.

    Nobody else may be writing them (``run_folder``).
    """
    start = "." if name is None else _temporary_start(name)
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(start) and _TEMPORARY.fullmatch(entry.name)]
    for path in left:
        Path(path).unlink(missing_ok=True)


def _temporary_start(name: str) -> str:
    return f".{name[:48]}."  # the name of a file has 255 bytes at most; a letter has up to four


def reason_of(error: BaseException, name: object) -> str:
    """An error in one line, without the name of what it is about, which its message may begin with.

    Example:
        >>> reason_of(ValueError("a.png: is cut\noff"), "a.png")
        'is cut off'
    """
    return " ".join(str(error).removeprefix(f"{name}: ").split()) or type(error).__name__
