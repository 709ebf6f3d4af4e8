"""Whose the files in a folder are: those that we wrote, and those that a person has touched."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from instancefcn.file_names import path_inside
from instancefcn.files import file_sum, named_errors


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
        self.sums: dict[str, set[str]] = defaultdict(set)  # by name in the folder
        self.rounds: dict[str, int] = {}  # that wrote each file last
        self.images: dict[str, str] = {}  # that each file belongs to; "" for all
        self.made_of: dict[str, dict[str, str]] = {}  # images that each file holds, with what that was made of
        self.forms: dict[str, str] = {}  # formats that they were written in
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                name, digest, image = (str(entry[key]) for key in ("file", "sha256", "image"))
                number, made_of = int(entry["round"]), {key: str(of) for key, of in entry.get("made_of", {}).items()}
            except (ValueError, TypeError, KeyError, AttributeError):  # a line that an interruption cut
                continue
            self.sums[name].add(digest)
            self.rounds[name], self.images[name], self.forms[name] = number, image, str(entry.get("form", ""))
            self.made_of[name] = made_of

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
            With what they were made of (``place``); "" where nothing was said.
        """
        lost: set[str] = set()
        held: dict[str, str] = {}
        for name, image in self.images.items():
            if self.forms[name] != form:
                continue
            if self.rounds[name] == number and self.is_ours(name):
                held |= self.made_of[name] or {image: ""}
            else:
                lost.add(image)
        return {image: of for image, of in held.items() if not image or image not in lost}

    def place(
        self,
        staged: Path,
        name: str,
        number: int,
        image: str = "",
        form: str = "",
        made_of: Mapping[str, str] | None = None,
    ) -> bool:
        """Move a finished file to its name in the folder, unless a person's file is there.

        Args:
            staged: on the same disk; removed in any case.
            number: of the round.
            image: that it belongs to; "" for all.
            form: that it is written in.
            made_of: images that it holds, with what tells whether theirs would be made the same again.

        Returns:
            Whether the file was placed.
        """
        target = path_inside(self.folder, name)
        if self.is_persons(name):
            staged.unlink()
            return False
        self.enter(name, file_sum(staged), number, image, form, made_of)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
        return True

    def remove(self, images: Collection[str], kept: Collection[Path] = (), form: str | None = None) -> list[str]:
        """Remove the files of these images that are ours; a person's stay, and those for all images.

        Args:
            kept: files, behind all links, that stay in any case.
            form: of the files; None for every format.

        Returns:
            Their names.
        """
        names = [
            name
            for name, image in self.images.items()
            if image and image in images and form in (None, self.forms[name]) and self.is_ours(name)
        ]
        paths = {name: path_inside(self.folder, name) for name in names}
        removed = [name for name, path in paths.items() if path.resolve() not in kept]
        for name in removed:
            paths[name].unlink()
        return removed

    def enter(
        self,
        name: str,
        digest: str,
        number: int,
        image: str = "",
        form: str = "",
        made_of: Mapping[str, str] | None = None,
    ) -> None:
        """Note that a file of these bytes is ours; the arguments are those of ``place``, and the bytes' SHA-256."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"file": name, "sha256": digest, "round": number, "image": image, "form": form}
        entry |= {"made_of": dict(made_of)} if made_of else {}
        with named_errors(self.path), self.path.open("a+b") as file:
            file.write((_end_of_cut_line(file) + json.dumps(entry) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self.sums[name].add(digest)
        self.rounds[name], self.images[name], self.forms[name], self.made_of[name] = (
            number,
            image,
            form,
            dict(made_of or {}),
        )


def _end_of_cut_line(file: BinaryIO) -> str:
    """What ends the last line of a file, if an interruption cut it."""
    if not file.seek(0, os.SEEK_END):
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"
