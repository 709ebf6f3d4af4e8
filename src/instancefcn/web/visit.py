"""Visitors and their photographs: each sees their own, and what is kept is bounded."""

from __future__ import annotations

import itertools
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from instancefcn.data.images import EMBEDDED, read_image
from instancefcn.files import size_and_time
from instancefcn.web.found import Found
from instancefcn.web.pictures import preview

MOST_VISITS = 64
MOST_PHOTOGRAPHS = 100  # of one visitor
MOST_BYTES = 400_000_000  # of all visitors together
LONGEST_NAME = 120  # bytes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\]+")
_clock = itertools.count(1)


@dataclass
class Photograph:
    """One photograph of a visitor. Its pixels are read again when they are needed; only the file is kept."""

    key: str
    name: str
    file: Path | bytes
    height: int
    width: int
    picture: bytes  # JPEG
    version: tuple[int, int]  # bytes and time of change of a file
    found: dict[int, Found] = field(default_factory=dict)  # by the number of the model
    place: int | None = None  # in the folder that is stepped through
    used: int = 0

    @classmethod
    def read(cls, name: str, file: Path | bytes, place: int | None = None) -> Photograph:
        """Read a photograph.

        Raises:
            ValueError: it can't be read; a sentence with its name.
        """
        version = version_of(file)  # before it is read: a change meanwhile is noticed later
        pixels = _pixels(name, file)
        height, width = pixels.shape[:2]
        return cls(secrets.token_urlsafe(12), name, file, height, width, preview(pixels), version, place=place)

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels, upright, as every command reads them.

        Raises:
            ValueError: they can't be read, or are others by now.
        """
        pixels = _pixels(self.name, self.file)
        self.refuse_change()
        return pixels

    def refuse_change(self) -> None:
        """Raise a ValueError where the file is another than the one that was read."""
        if version_of(self.file) != self.version:
            raise ValueError(f"{self.name}: the file was changed or moved since it was opened: go to it again")

    def bytes(self) -> int:
        """Memory that it takes, about."""
        own = len(self.file) if isinstance(self.file, bytes) else 0
        return own + len(self.picture) + sum(found.bytes() for found in list(self.found.values()))


class Visit:
    """The photographs of one visitor, the least recently used first."""

    def __init__(self) -> None:
        self.photographs: OrderedDict[str, Photograph] = OrderedDict()

    def add(self, photograph: Photograph) -> Photograph:
        """Keep a photograph; a second one of the same name gets another, but for one of the folder."""
        names = {other.name for other in self.photographs.values()}
        photograph.name = free_name(photograph.name, names) if photograph.place is None else photograph.name
        self.photographs[photograph.key] = photograph
        self.get(photograph.key)
        while len(self.photographs) > MOST_PHOTOGRAPHS:
            self.photographs.popitem(last=False)
        return photograph

    def of_place(self, place: int) -> Photograph | None:
        """The photograph of a place in the folder; None where it was not opened, or was changed since."""
        there = next((one for one in self.photographs.values() if one.place == place), None)
        if there is None or version_of(there.file) == there.version:
            return there
        del self.photographs[there.key]
        return None

    def get(self, key: str) -> Photograph:
        """A photograph of this visitor.

        Raises:
            KeyError: this visitor has none of this key (any more).
        """
        photograph = self.photographs[key]
        self.photographs.move_to_end(key)
        photograph.used = next(_clock)
        return photograph


class Visits:
    """All visitors, by a secret that only their browser knows.

    Photographs are dropped, the least recently used first, where a visitor has more than ``MOST_PHOTOGRAPHS`` or all
    visitors' take more than ``most_bytes``; so are visitors beyond ``MOST_VISITS``, those without photographs first: a
    page elsewhere can make a browser load this one many times, and must not drive anybody out.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def begin(self) -> str:
        """Let a new visitor in; returns the secret."""
        secret = secrets.token_urlsafe(32)
        while len(self._visits) >= MOST_VISITS:
            empty = (one for one, visit in self._visits.items() if not visit.photographs)
            del self._visits[next(empty, next(iter(self._visits)))]
        self._visits[secret] = Visit()
        return secret

    def get(self, secret: str) -> Visit | None:
        """The visit of a secret; None for one that nobody has."""
        visit = self._visits.get(secret)
        if visit is not None:
            self._visits.move_to_end(secret)
        return visit

    def trim(self) -> None:
        """Drop what is beyond the bounds. Call it when a photograph came in or was looked at."""
        kept = [(one.used, one.key, visit) for visit in self._visits.values() for one in visit.photographs.values()]
        total = sum(visit.photographs[key].bytes() for _, key, visit in kept)
        for _, key, visit in sorted(kept, key=lambda entry: entry[0])[:-1]:  # the newest stays, however large
            if total <= self.most_bytes:
                break
            total -= visit.photographs.pop(key).bytes()


def version_of(file: Path | bytes) -> tuple[int, int]:
    """By what a change of a file is noticed."""
    return size_and_time(file) if isinstance(file, Path) else (len(file), 0)


def clean_name(name: str) -> str:
    """The name of an uploaded file without folders, control characters, and what turns the direction of writing.

    It is short enough for every file system, which count bytes.

    Example:
        >>> clean_name("../../etc/pass\\nwd.png")
        '_.._etc_pass_wd.png'
    """
    kept = _CONTROL.sub("_", name).strip().lstrip(".")
    path = PurePosixPath(kept or "photograph")
    suffix = path.suffix[:10].encode()
    stem = path.stem.encode()[: LONGEST_NAME - len(suffix)].decode(errors="ignore")  # not within a character
    return f"{stem}{suffix.decode()}"


def free_name(name: str, taken: set[str]) -> str:
    """The name, or, where it is taken, with a number behind its stem.

    Example:
        >>> free_name("a.jpg", {"a.jpg", "a (2).jpg"})
        'a (3).jpg'
    """
    path = PurePosixPath(name)
    names = itertools.chain([name], (f"{path.stem} ({number}){path.suffix}" for number in itertools.count(2)))
    return next(one for one in names if one not in taken)


def _pixels(name: str, file: Path | bytes) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return read_image(file)
    except ValueError as error:
        there = file if isinstance(file, Path) else EMBEDDED
        raise ValueError(f"{name}: {str(error).removeprefix(f'{there}: ')}") from None
