"""A folder, or a file, that one run at a time writes to."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instancefcn.files import remove_temporary

LOCK = ".instancefcn.lock"
MOST_TRIES = 100  # to open a lock in a folder that others make and remove meanwhile
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # what systems say of a lock that another process holds
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # some network file systems have none
_LOCKED_BYTE = 1 << 20  # on Windows, where nobody may read what is locked: far behind the text
_held: set[str] = set()  # by this process, which its own locks would not stop


@contextmanager
def run_folder(out: Path) -> Iterator[Path]:
    """Hold a folder for one run, from the first file that is read there to the last one that is written.

    The folder is made. Temporary files that killed runs left in it, and in folders below that no other run holds, are
    removed. The system holds the lock and ends it with the process, however that ends: a killed run blocks nobody.

    Raises:
        ValueError: it is a file, or another run holds it; names the folder and the process.
        OSError: the folder or its lock can't be made; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent, run_folder(Path(parent) / "run") as out:
        ...     [path.name for path in out.iterdir()]
        ['.instancefcn.lock']
    """
    if out.is_file():
        raise ValueError(f"{out}: is a file: give a folder")
    with _lock_of(out / LOCK, out):
        for folder in _own_folders(out):
            remove_temporary(folder)
        yield out


@contextmanager
def run_file(out: Path) -> Iterator[Path]:
    """Hold one file for one run, as ``run_folder``; other files of its folder are left alone.

    Raises:
        ValueError: another run holds it; names the file and the process.
        OSError: its folder or its lock can't be made; names it.
    """
    with _lock_of(out.with_name(f".{out.name[:100]}{LOCK}"), out):
        remove_temporary(out.parent, out.name)
        yield out


@contextmanager
def _lock_of(path: Path, out: Path) -> Iterator[None]:
    """Hold the lock file of what a run writes to. A folder that was made for it, and stayed empty, is removed."""
    key, made = os.path.realpath(path), not path.parent.is_dir()
    if key in _held:
        raise _taken(out, str(os.getpid()))
    while not _is_at(lock := _open_locked(path, out), path):  # its holder removed it before we held it
        os.close(lock)
    _held.add(key)
    try:
        with suppress(OSError):  # on a full disk there is a lock all the same
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
        yield
    finally:
        _held.discard(key)
        if sys.platform == "win32":  # which removes no open file
            os.close(lock)
            with suppress(OSError):
                path.unlink()
        else:
            path.unlink(missing_ok=True)  # while it is held: never the lock of the next run
            os.close(lock)
        if made:
            with suppress(OSError):  # it is not empty
                path.parent.rmdir()


def _open_locked(path: Path, out: Path) -> int:
    """Descriptor of a lock file that is held now, in a folder that is made. A symbolic link is not followed."""
    tries = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            break
        except FileNotFoundError:  # a run that ended has removed the folder that it had made
            if (tries := tries + 1) == MOST_TRIES:
                raise
        except (PermissionError, NotADirectoryError) as error:  # of the lock, which nobody has heard of
            error.filename = str(out)
            raise
    try:
        _take(lock)
    except OSError as error:
        if error.errno in _BUSY:
            holder = os.read(lock, 20).decode(errors="replace").strip()
            os.close(lock)
            raise _taken(out, holder) from None
        if error.errno not in _NO_LOCKS:
            os.close(lock)
            raise
        warnings.warn(f"{out}: no locks on this file system: a second run into it would not be noticed", stacklevel=2)
    return lock


def _take(lock: int) -> None:
    """Take the lock of an open file, which ends with this process and which its forks do not have."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(lock, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        os.lseek(lock, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _taken(out: Path, holder: str) -> ValueError:
    process = f", process {holder}," if holder else ""
    return ValueError(f"{out}: another run{process} writes there: wait until it ends, or give another --out")


def _own_folders(out: Path) -> Iterator[Path]:
    """A folder and those below it, without those that another run holds."""
    for parent, folders, _ in os.walk(out):
        yield Path(parent)
        folders[:] = [name for name in folders if not os.path.lexists(os.path.join(parent, name, LOCK))]
