"""A folder of images, in which those that an export names are found."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from instancefcn.data.image_formats import image_extensions, left_out
from instancefcn.data.source import Problem
from instancefcn.folders import existing_dir, files_below


class ImageFolder:
    """The image files of a folder and of all below it (``folders.files_below``).

    Raises:
        ValueError: there is no such folder.
    """

    def __init__(self, folder: Path, what: str) -> None:
        readable = image_extensions()
        self.folder = folder
        self._above = PurePath(os.path.abspath(folder)).parts  # "photos/a.jpg" is the a.jpg of the folder "photos"
        self._of_name: dict[str, list[tuple[str, ...]]] = {}  # the parts of their paths in the folder
        self._of_place: dict[tuple[str, ...], tuple[str, ...]] = {}  # the same, by those parts in one form
        for path in sorted(files_below(existing_dir(folder, what))):
            parts = path.relative_to(folder).parts
            if path.suffix.lower() in readable:
                self._of_name.setdefault(_one_form(path.name), []).append(parts)
                self._of_place.setdefault(tuple(map(_one_form, parts)), parts)

    def find(self, given: str, *, near: Iterable[Path] = (), prefixed: bool = False) -> Path:
        r"""The file that a path or an address of an export means.

        It is the one to which the path leads from a folder of ``near``, or else the file of the same name whose folders
        agree best with those that are given, counted from the end, on to those above this one; so a name never leads
        out of the folder.

        Args:
            given: ``sub/a.jpg``, ``C:\photos\a.jpg``, ``/data/upload/1/5f3a0c1e-a.jpg``,
                ``/data/local-files/?d=sub/a.jpg``, ``s3://bucket/sub/a.jpg``, ...
            near: where the path may start from, as the label file's folder; the first that leads to an image counts.
            prefixed: eight hexadecimal digits and "-" may stand before the file's own name, which may be written as
                Django writes the names of files that are sent to it.

        Raises:
            ValueError: there is no such file, or more than one.
        """
        for start in near:
            if (file := self._at(start / given.replace("\\", "/"))) is not None:
                return file
        readings = dict.fromkeys([_parts(given), _parts(_path_of_address(given))])
        if prefixed:
            readings |= {(*parts[:-1], re.sub(r"^[0-9a-f]{8}-", "", parts[-1])): None for parts in readings if parts}
        found = self._named(readings)
        if prefixed and not found:
            asked = {_one_form(parts[-1]) for parts in readings if parts}
            found = [file for name, of_name in self._of_name.items() if _sent(name) in asked for file in of_name]
        if len(found) > 1:
            names = " or ".join("/".join(file) for file in found)
            raise ValueError(f"{given!r} may be {names} in {self.folder}: give the folder that holds one of them")
        if not found:
            raise ValueError(f"{given!r}: no image of this name in {self.folder}")
        return self.folder.joinpath(*found[0])

    def _named(self, readings: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """The files of the first reading that some have the name of: later ones only decide between these."""
        left: list[tuple[str, ...]] = []
        for parts in readings:
            of_name = self._of_name.get(_one_form(parts[-1]), []) if parts else []
            files = [file for file in left if file in of_name] if left else of_name
            if parts in files:
                return [parts]
            agreed = [_common_tail(parts, (*self._above, *file)) for file in files]
            most = max(agreed, default=0)
            left = [file for file, length in zip(files, agreed, strict=True) if length == most] or left
        return left

    def _at(self, path: Path) -> Path | None:
        """The image at a place, which may be written from elsewhere; None where there is none of this folder's."""
        place = PurePath(os.path.relpath(path, self.folder)).parts
        parts = self._of_place.get(tuple(map(_one_form, place)))
        return None if parts is None else self.folder.joinpath(*parts)


def images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files of a folder, not of those below it, by stem, sorted by name."""
    readable = image_extensions()
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in readable and not path.name.startswith(".") and not path.is_dir():
            files.setdefault(path.stem, []).append(path)
    return files


def images_below(
    folder: Path, passed_over: Iterable[Path] = ()
) -> tuple[dict[PurePosixPath, list[Path]], list[Problem]]:
    """Image files of ``files_below`` by their path in the folder without suffix, and those that are not read.

    Args:
        passed_over: folders that are not looked into.
    """
    readable = image_extensions()
    files: dict[PurePosixPath, list[Path]] = {}
    problems: list[Problem] = []
    for path in sorted(files_below(folder, passed_over)):
        if path.suffix.lower() in readable:
            files.setdefault(PurePosixPath(path.relative_to(folder).with_suffix("")), []).append(path)
        elif (reason := left_out(path)) is not None:
            problems.append(Problem(str(path), None, reason))
    return files, problems


def matched(
    files: Mapping[PurePosixPath, list[Path]], others: Mapping[PurePosixPath, list[Path]]
) -> dict[PurePosixPath, list[Path]]:
    """For each place without suffix the other files there, or else the only others of its stem, if it alone has it."""
    same, of_stem = Counter(key.name for key in files), dict[str, list[PurePosixPath]]()
    for key in others:
        of_stem.setdefault(key.name, []).append(key)

    def find(key: PurePosixPath) -> list[Path]:
        there = [key] if key in others else of_stem.get(key.name, [])
        return others[there[0]] if len(there) == 1 and (there == [key] or same[key.name] == 1) else []

    return {key: find(key) for key in files}


def has_image_name(given: str) -> bool:
    """Whether a path or an address ends like the name of an image that can be read."""
    return any(Path(reading).suffix.lower() in image_extensions() for reading in (given, _path_of_address(given)))


def _path_of_address(given: str) -> str:
    """Path of a URL, or what its query names as ``d`` (Label Studio's local files)."""
    try:
        address = urlsplit(given.replace("\\", "/"))
    except ValueError:  # such as "http://[a"
        return given
    named = parse_qs(address.query).get("d")
    return named[0] if named else unquote(address.path)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def _one_form(name: str) -> str:
    """A name with each accented letter as one sign; macOS has two."""
    return unicodedata.normalize("NFC", name)


def _sent(name: str) -> str:
    """A name as Django's ``get_valid_filename`` makes it of a file's own."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _common_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Number of equal parts at the end."""
    length = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if _one_form(one) != _one_form(other):
            break
        length += 1
    return length
