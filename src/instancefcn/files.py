"""Files that are read, and files that are written whole or not at all."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8,16}\.tmp", re.DOTALL)  # names of ``whole_file`` until a file is whole


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


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that ``path`` is either the old file or the whole new one, as ``whole_file``.

    Raises:
        ValueError: text that UTF-8 can't hold, such as the name of a file in another code; names both.
        OSError: it can't be written; names the file.
    """
    try:
        encoded = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        text: str = error.object
        line = text[text.rfind("\n", 0, error.start) + 1 :].partition("\n")[0]
        place = error.start - text.rfind("\n", 0, error.start) - 1
        around = line[max(place - 80, 0) : place + 80]
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
    try:
        file = temporary.open("xb")  # exclusive: never another writer's file, and never through a link
    except OSError as error:
        error.filename = str(path)
        raise
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
