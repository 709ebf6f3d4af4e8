"""A journal: the files of a long run, which grow step by step, and from which a killed run goes on."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from instancefcn.files import named_errors, read_json, sync_folder, whole_file, write_whole

STATE = "state.json"
SYNC_SECONDS = 2.0  # between two states on the disk: what a kill can lose
_CHUNK = 1 << 20  # bytes


class _Written(NamedTuple):
    """How far a file has come: its bytes, and their CRC-32."""

    size: int = 0
    crc: int = 0

    def plus(self, content: bytes) -> _Written:
        return _Written(self.size + len(content), zlib.crc32(content, self.crc))


class Journal:
    """Files that grow in a hidden folder, step by step, and are put in place at the end.

    A step is whole or not there: ``write`` keeps its bytes, ``commit`` adds them to the files. Every two seconds the
    files are forced to the disk, and then ``state.json`` says how far each is. A run that goes on cuts the files to
    that, and proves by their checksums that they are what they were.

    Args:
        folder: of the journal alone; made where there is none.
        places: where each file belongs at the end, by its name in the journal; None for one that nobody else reads.
        settings: what the run was asked for, as JSON; one that goes on must have the same.

    Example:
        >>> import tempfile
        >>> parent = Path(tempfile.mkdtemp())
        >>> journal = Journal(parent / ".unfinished", {"a": parent / "a.txt"}, {"--size": 3})
        >>> journal.begin({"a": b"["})
        >>> journal.write("a", b"1"), journal.commit({"done": 1})
        (None, None)
        >>> journal.close({"a": b"]"}, finished=True)
        >>> (parent / "a.txt").read_text(), [path.name for path in parent.iterdir()]
        ('[1]', ['a.txt'])
    """

    def __init__(self, folder: Path, places: Mapping[str, Path | None], settings: Mapping[str, Any]) -> None:
        self.folder, self.places, self.settings = folder, places, settings
        self.counts: dict[str, int] = {}  # of the run, as it says with each step
        self.replaces = False  # whether something of another run is in place
        self._written = {name: _Written() for name in places}
        self._step = dict.fromkeys(places, b"")
        self._open: dict[str, int] = {}  # descriptors
        self._synced = 0.0

    def begin(self, heads: Mapping[str, bytes]) -> None:
        """Start anew, with what any of the files starts with; a journal that lies there is removed.

        Raises:
            OSError: a file can't be written; names it.
        """
        self._remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replaces = any(place is not None and place.exists() for place in self.places.values())
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._open = {name: os.open(self.folder / name, flags, 0o666) for name in self.places}
        for name in self.places:
            self.write(name, heads.get(name, b""))
        self.commit({})
        self.sync()

    def resume(self) -> bool:
        """Go on from the last state on the disk; whether there is one.

        Raises:
            ValueError: the run was asked for other things, or a file is not what it was; says what differs.
            OSError: a file can't be written; names it.
        """
        state = unfinished(self.folder)
        if state is None:
            return False
        try:
            then, counts = dict(state["settings"]), {str(key): int(count) for key, count in state["counts"].items()}
            written = {name: _Written(int(size), int(crc)) for name, (size, crc) in state["files"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.folder / STATE}: damaged; leave out --resume to start anew") from error
        others = differing(then, self.settings) or ["other files"] * (written.keys() != self.places.keys())
        if others:
            raise ValueError(
                f"{self.folder.parent}: the unfinished run there was asked for other things: {'; '.join(others)}. "
                "Repeat the command as it was, or leave out --resume to start anew"
            )
        for name, place in self.places.items():
            _restore(self.folder / name, place, written[name])
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._open = {name: os.open(self.folder / name, flags) for name in self.places}
        self._written, self.counts = written, counts
        self.cut()
        self._synced = time.monotonic()
        return True

    def write(self, name: str, content: bytes) -> None:
        """Add to a file, within the step."""
        self._step[name] += content

    def commit(self, counts: Mapping[str, int]) -> None:
        """End a step: write it, with how far the run has come.

        Raises:
            OSError: a file can't be written; names it. Of the step, nothing counts.
        """
        for name, content in self._step.items():
            self._append(name, content)
        after = {name: before.plus(self._step[name]) for name, before in self._written.items()}
        self._written, self.counts = after, dict(counts)
        self._step = dict.fromkeys(self.places, b"")
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force all steps to the disk, and note there how far they go."""
        for name, descriptor in self._open.items():
            with named_errors(self._named(name)):
                os.fsync(descriptor)
        state = {"settings": dict(self.settings), "counts": self.counts, "files": self._written}
        write_whole(self.folder / STATE, json.dumps(state, indent=1) + "\n")
        self._synced = time.monotonic()

    def read(self, name: str) -> BinaryIO:
        """Open a file of the journal to read; its steps are whole."""
        return (self.folder / name).open("rb")

    def close(self, tails: Mapping[str, bytes], *, finished: bool, in_place: bool = True) -> None:
        """End the run: put the files in place, with what any of them ends with.

        Args:
            finished: there is nothing to go on with, so that the journal is removed.
            in_place: else the journal keeps the files.

        Raises:
            OSError: a file can't be written; names it. The journal is kept, and can be gone on from.
        """
        self.cut()
        try:
            if not finished:
                with suppress(OSError):  # on a full disk; the state before says less, and what it says holds
                    self.sync()
            if in_place:
                for name in self.places:
                    self._append(name, tails.get(name, b""))
                    os.fsync(self._open[name])
        finally:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open = {}
        placed = {name: place for name, place in self.places.items() if place is not None and in_place}
        for name, place in placed.items():
            (self.folder / name).replace(place)
        for parent in {place.parent for place in placed.values()}:
            sync_folder(parent)
        if finished:
            self._remove()

    def _append(self, name: str, content: bytes) -> None:
        left = memoryview(content)
        with named_errors(self._named(name)):
            while left:
                left = left[os.write(self._open[name], left) :]

    def cut(self) -> None:
        """Cut the files behind the last whole step, and go on from there."""
        for name, descriptor in self._open.items():
            os.ftruncate(descriptor, self._written[name].size)
            os.lseek(descriptor, 0, os.SEEK_END)

    def _named(self, name: str) -> Path:
        return self.places[name] or self.folder / name

    def _remove(self) -> None:
        if self.folder.is_dir():
            for path in list(self.folder.iterdir()):  # flat, and nobody else's
                path.unlink()
            self.folder.rmdir()


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What settings were and are, one text for each that is another now."""
    keys = [*now, *(key for key in then if key not in now)]
    return [f"{key} was {then.get(key)!r} and is {now.get(key)!r}" for key in keys if then.get(key) != now.get(key)]


def unfinished(folder: Path) -> dict[str, Any] | None:
    """The last state that a run noted in its journal's folder, unchecked; None where no run stopped."""
    path = folder / STATE
    if not path.is_file():
        return None
    state = read_json(path)
    return state if isinstance(state, dict) else {}


def _restore(path: Path, place: Path | None, written: _Written) -> None:
    """Have a file of the journal as far as a state says: the file itself, or what was put in place of it."""
    source = path if path.is_file() and not path.is_symlink() else place
    try:
        if source is None or not source.is_file():
            raise ValueError(f"{place or path}: gone since the run stopped")
        with source.open("rb") as file, open(os.devnull, "wb") if source == path else whole_file(path) as copy:
            found, left = _Written(), written.size
            while left and (content := file.read(min(left, _CHUNK))):
                found, left = found.plus(content), left - len(content)
                copy.write(content)
            if found != written:
                raise ValueError(f"{source}: changed since the run stopped")
    except ValueError as error:
        raise ValueError(f"{error}: leave out --resume to start anew") from None
