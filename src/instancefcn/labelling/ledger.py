"""Whose the files in a folder are: those that we wrote, and those that a person has touched."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from instancefcn.file_names import path_inside
from instancefcn.files import file_sum, named_errors


@dataclass(frozen=True)
class Entry:
    """A file that we wrote.

    Args:
        name: in the folder, with forward slashes.
        number: of the round that wrote it.
        image: that it belongs to; "" for all.
        form: that it is written in.
        made_of: images that it holds, with what tells whether theirs would be made the same again.
    """

    name: str
    number: int
    image: str = ""
    form: str = ""
    made_of: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Entry:
        """An entry from a line of the ledger.

        Raises:
            ValueError, TypeError, KeyError or AttributeError: it is none.
        """
        made_of = {key: str(of) for key, of in table.get("made_of", {}).items()}
        return cls(str(table["file"]), int(table["round"]), str(table["image"]), str(table.get("form", "")), made_of)

    def table(self) -> dict[str, Any]:
        """What a line of the ledger says of it, besides its bytes' SHA-256."""
        table: dict[str, Any] = {"file": self.name, "round": self.number, "image": self.image, "form": self.form}
        return table | ({"made_of": dict(self.made_of)} if self.made_of else {})


class Ledger:
    """The files that we wrote into a folder, by their SHA-256, in a file of one JSON object a line.

    A file is ours as long as its bytes are those that we wrote; any other is a person's, and is never written over.
    What is to be written is entered first, so that an interruption never makes a file of ours a person's.

    Args:
        folder: whose files are told apart; hidden ones do not count.
        path: of the ledger, outside the folder; made when the first file is entered.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder, self.path = folder, path
        self.sums: dict[str, set[str]] = defaultdict(set)  # of all that we wrote under a name
        self.entries: dict[str, Entry] = {}  # the last of each name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                table = json.loads(line)
                self._keep(Entry.of(table), str(table["sha256"]))
            except (ValueError, TypeError, KeyError, AttributeError):  # a line that an interruption cut
                continue

    def is_ours(self, name: str) -> bool:
        """Whether a file is there, and as we wrote it."""
        path = path_inside(self.folder, name)
        return path.is_file() and file_sum(path) in self.sums.get(name, ())

    def is_persons(self, name: str) -> bool:
        """Whether a file is there that we did not write, or that was changed since."""
        return path_inside(self.folder, name).exists() and not self.is_ours(name)

    def persons(self) -> list[str]:
        """Names of a person's files, sorted, with forward slashes."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        names = [path.relative_to(self.folder) for path in files]
        visible = [name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)]
        return [name for name in visible if not self.is_ours(name)]

    def finished(self, number: int, form: str = "") -> dict[str, str]:
        """Images whose files of a format a round has written, or that a file for all holds, and that are still ours.

        Returns:
            With what they were made of; "" where nothing was said.
        """
        lost: set[str] = set()
        held: dict[str, str] = {}
        for entry in self.entries.values():
            if entry.form != form:
                continue
            if entry.number == number and self.is_ours(entry.name):
                held |= entry.made_of or {entry.image: ""}
            else:
                lost.add(entry.image)
        return {image: of for image, of in held.items() if not image or image not in lost}

    def place(self, staged: Path, entry: Entry) -> bool:
        """Move a finished file to its name in the folder, unless a person's file is there.

        Args:
            staged: on the same disk; removed in any case.
            entry: what is known of it from now on.

        Returns:
            Whether the file was placed.
        """
        target = path_inside(self.folder, entry.name)
        if self.is_persons(entry.name):
            staged.unlink()
            return False
        self.enter(entry, file_sum(staged))
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
        return True

    def remove(self, images: Collection[str], kept: Collection[Path] = ()) -> list[str]:
        """Remove the files of these images that are ours; a person's stay, and those for all images.

        Args:
            kept: files, behind all links, that stay in any case.

        Returns:
            Their names.
        """
        paths = {
            entry.name: path_inside(self.folder, entry.name)
            for entry in self.entries.values()
            if entry.image and entry.image in images and self.is_ours(entry.name)
        }
        removed = [name for name, path in paths.items() if path.resolve() not in kept]
        for name in removed:
            paths[name].unlink()
        return removed

    def enter(self, entry: Entry, digest: str) -> None:
        """Note that a file is ours, of whose bytes ``digest`` is the SHA-256."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry.table() | {"sha256": digest}) + "\n"
        with named_errors(self.path), self.path.open("a+b") as file:
            file.write((_end_of_cut_line(file) + line).encode())
            file.flush()
            os.fsync(file.fileno())
        self._keep(entry, digest)

    def _keep(self, entry: Entry, digest: str) -> None:
        self.sums[entry.name].add(digest)
        self.entries[entry.name] = entry


def _end_of_cut_line(file: BinaryIO) -> str:
    """What ends the last line of a file, if an interruption cut it."""
    if not file.seek(0, os.SEEK_END):
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"
