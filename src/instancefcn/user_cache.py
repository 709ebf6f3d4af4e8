"""The user's folder of what may be lost: made again where it is gone, spoilt or of another version."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from instancefcn.files import remove_temporary, whole_file

VARIABLE = "INSTANCEFCN_CACHE"  # another folder; empty for none
_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """The folder, which need not be there; None where the user wants none, or has no home."""
    stated = os.environ.get(VARIABLE)
    if stated is not None:
        return Path(stated) if stated else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        place = home / "Library" / "Caches"
    else:
        place = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(place) / "instancefcn"


def keep(name: str, content: bytes) -> None:
    """Keep bytes under a name, wholly or not at all; where they can't be kept, nothing happens."""
    keep_written(name, lambda file: file.write(content))


def keep_written(name: str, write: Callable[[Summed], object]) -> None:
    """Keep what a function writes to the file that it gets, piece by piece: never all of it in memory."""
    folder = cache_folder()
    if folder is None:
        return
    with suppress(OSError):  # a full disk, or a folder of somebody else's
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder, name)  # of a killed writer; one that is at work only fails to keep the same
        with whole_file(folder / name) as file:
            summed = Summed(file)
            write(summed)
            file.write(summed.digest.digest())


class Summed:
    """A file that is written from its start to its end, and the digest of that."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def kept(name: str) -> bytes | None:
    """What was kept under a name, bit by bit; None where that is gone or spoilt."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    size = len(content) - _DIGEST
    return content[:size] if size >= 0 and hashlib.sha256(content[:size]).digest() == content[size:] else None
