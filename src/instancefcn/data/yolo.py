"""YOLO segmentation labels, as ultralytics lays them out: a text file for each image, a line for each object."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from instancefcn.data.image_folder import images_by_stem
from instancefcn.data.images import inspect_image
from instancefcn.data.polygons import box_of_points, polygons_to_rle
from instancefcn.data.shapes import Shape, ShapedImages
from instancefcn.data.source import FileSource, Problem
from instancefcn.file_names import path_inside
from instancefcn.files import read_lines
from instancefcn.folders import existing_dir, files_below
from instancefcn.values import shown

BEYOND = 0.1  # of the image; points further outside are taken for pixels instead of shares
MOST_CLASSES = 100_000
BOX = "a box, not a mask: YOLO segmentation has `class x1 y1 x2 y2 x3 y3 ...`"


@dataclass(frozen=True)
class YoloFolder:
    """A data set: the folder that holds ``images`` and ``labels``, and the table of its data.yaml."""

    root: Path
    file: Path | None  # data.yaml; None where there is none
    table: dict[str, Any]

    @classmethod
    def open(cls, place: Path) -> YoloFolder:
        """By its data.yaml, or by its folder, in which a data.yaml may lie.

        Raises:
            ValueError: there is no such file or folder, or it is no data.yaml.
        """
        if place.suffix.lower() in (".yaml", ".yml"):
            return cls(place.parent, place, _read_yaml(place))
        folder = existing_dir(place, "images/ and labels/, or give a data.yaml")
        visible = (path for path in folder.iterdir() if not path.name.startswith("."))
        found = sorted(path for path in visible if path.suffix.lower() in (".yaml", ".yml"))
        named = [path for path in found if path.stem.lower() in ("data", "dataset")] or found
        return cls(folder, named[0], _read_yaml(named[0])) if len(named) == 1 else cls(folder, None, {})

    def names(self) -> list[str] | None:
        """Names of the classes from 0, by data.yaml or classes.txt; None without either."""
        if self.file is None:
            listed = self.root / "classes.txt"
            return [name for _, line in _read_lines(listed) if (name := line.strip())] if listed.is_file() else None
        names = self.table.get("names")
        listed = names.values() if isinstance(names, dict) else names if isinstance(names, list) else ()
        plain = all(isinstance(name, str | int | float) for name in listed)  # lists of lists may be as long as you like
        if isinstance(names, list) and plain:
            return [str(name) for name in names]
        if isinstance(names, dict) and plain:
            numbered = {int(key): str(name) for key, name in names.items() if re.fullmatch(r"[0-9]{1,5}", str(key))}
            if names and len(numbered) == len(names):
                return [numbered.get(number, str(number)) for number in range(max(numbered) + 1)]
        raise ValueError(f"{self.file}: names {shown(names)} is no list, nor a table from 0, of the classes' names")

    def images(self, split: str) -> tuple[list[Path], list[Problem]]:
        """Image files of a split, sorted: those that data.yaml names, or else of images/SPLIT or SPLIT/images.

        ``path`` of data.yaml, whole paths, and "../" before a split's folder, count only where they lead inside.
        Problems are entries of data.yaml, and lines of a list of images, that don't.

        Raises:
            ValueError: there are none.
        """
        stated = self.table.get(split)
        entries = [str(entry) for entry in (stated if isinstance(stated, list) else [stated]) if entry]
        for tries in ([self._places(entry) for entry in entries], [self._places(f"images/{split}", f"{split}/images")]):
            found = [place for places in tries if (place := next(filter(os.path.exists, places), None))]
            if not found:
                continue
            problems = [
                Problem(str(self.file), None, f"{split}: {shown(entry)} is not inside")
                for entry, places in zip(entries, tries, strict=False)
                if not any(map(os.path.exists, places))
            ]
            images = {image for place in found for image in self._list(place, problems)}
            if not images:
                raise ValueError(f"{found[0]}: holds no image{f'; {problems[0]}' if problems else ''}")
            return sorted(images), problems
        whole = self.root / "images"
        undivided = whole.is_dir() and images_by_stem(whole)
        split_that_is = "the folder that holds images/ and labels/, and a split that it has"
        mend = "the split . for all of images/" if undivided else split_that_is
        named = f"{', '.join(entries)}, by {self.file}, is not inside, and " if entries else ""
        raise ValueError(
            f"{self.root}: no images of the split {split!r}: {named}there is no images/{split} or {split}/images; "
            f"give {mend}"
        )

    def label_file(self, image: Path) -> Path:
        """The text file of an image: the last ``images`` of its path in the data set becomes ``labels``."""
        name = PurePosixPath(image.relative_to(self.root).with_suffix(".txt"))
        holder = images_in(name)
        return self.root / (in_labels(name) if holder else name)

    def _places(self, *entries: str) -> list[Path]:
        """Where the folder of a split may lie, all inside the data set."""
        base, places = str(self.table.get("path") or "."), list[Path]()
        for entry in entries:
            inner = entry.replace("\\", "/")
            while inner.startswith("../"):
                inner = inner.removeprefix("../")
            for name in (f"{base}/{entry}", entry, inner):
                with suppress(ValueError):
                    places.append(self._inside(name))
        return places

    def _inside(self, name: str) -> Path:
        """A path in the data set, which may be given as a whole path; a ValueError outside."""
        root = Path(os.path.abspath(self.root))
        return path_inside(self.root, os.path.relpath(name, root) if Path(name).is_relative_to(root) else name)

    def _list(self, place: Path, problems: list[Problem]) -> Iterator[Path]:
        """Images of a folder and below it, or those that a text file lists."""
        if place.is_dir():
            folders = dict.fromkeys(path.parent for path in files_below(place))
            yield from (image for folder in folders for images in images_by_stem(folder).values() for image in images)
            return
        beside = place.parent.relative_to(self.root)
        for number, line in _read_lines(place):
            try:
                yield self._inside(str(beside / line.strip()))
            except ValueError as error:
                problems.append(Problem(str(place), number, str(error)))


def images_in(name: PurePosixPath) -> PurePosixPath | None:
    """The last folder ``images`` that the name of an image leads through; None where there is none."""
    return next((parent for parent in name.parents if parent.name == "images"), None)


def in_labels(name: PurePosixPath) -> PurePosixPath:
    """The name of an image in a data set, with ``labels`` for its last ``images``, or before it where it has none.

    It is where ultralytics looks for its text file; an image whose name has no ``images`` is to lie in that folder.
    """
    holder = images_in(name)
    return PurePosixPath("labels") / name if holder is None else holder.with_name("labels") / name.relative_to(holder)


def load_yolo(place: Path, split: str) -> FileSource:
    """Open a split of a data set. An image without a text file is background; a category is a class plus 1.

    Args:
        place: data.yaml, or the folder that holds ``images`` and ``labels``.

    Raises:
        ValueError: a file or folder is missing, or data.yaml is none.
    """
    folder = YoloFolder.open(place)
    names = folder.names()
    images = ShapedImages(partial(_read_line, names=names), _box)
    files, images.problems = folder.images(split)
    label_files = {image: folder.label_file(image) for image in files}
    if not any(path.parent.is_dir() for path in label_files.values()):
        raise ValueError(f"{label_files[files[0]].parent}: no such folder; it should hold a text file for each image")
    taken: dict[Path, Path] = {}
    for image_id, image in enumerate(files, start=1):
        path = label_files[image]
        try:
            other = taken.setdefault(path, image)
            if other != image:
                raise ValueError(f"{other.name} has the same stem and is taken")
            size = inspect_image(image)
            lines = [(number, line.split()) for number, line in _read_lines(path)] if path.is_file() else []
            if lines and all(len(words) == 5 for _, words in lines):
                raise ValueError(f"{path}: every line is {BOX}; export the labels as segmentation, or draw masks")
        except ValueError as error:
            images.problems.append(Problem.from_error(image, error))
            continue
        images.add(image_id, image.relative_to(folder.root).as_posix(), image, size, lines, path)
    for labels in sorted({path.parent for path in label_files.values() if path.parent.is_dir()}):
        lone = (path for path in sorted(labels.glob("[!.]*.txt")) if path not in taken and path.name != "classes.txt")
        images.problems += [Problem(str(path), None, f"no image of this name in the split {split!r}") for path in lone]
    if names is None:
        names = [str(number) for number in range(max(map(int, images.names), default=-1) + 1)]
    return images.source(names)


def _read_line(words: list[str], size: tuple[int, int], names: list[str] | None) -> Shape:
    """The shape of a line, cut off at the border of the image."""
    try:
        number, *shares = (float(word) for word in words)
    except ValueError as error:
        raise ValueError(f"holds more than numbers: {error}") from error
    if not number.is_integer() or not 0 <= number < MOST_CLASSES:
        raise ValueError(f"class {words[0]:.40} is none of YOLO's")
    notes: list[str] = []
    if names is not None and number >= len(names):
        notes.append(f"class {number:.0f} is none of data.yaml's; the mask is kept")
    if len(shares) == 4:
        raise ValueError(f"is {BOX}")
    if len(shares) > 6 and len(shares) % 2:
        raise ValueError(f"has {len(shares)} numbers after the class: x and y do not pair (save without confidences)")
    points = np.array(shares)
    if points.size and (points.min() < -BEYOND or points.max() > 1 + BEYOND):
        raise ValueError(
            f"spans {points.min():g}..{points.max():g}: YOLO's are shares of width and height, from 0 to 1"
        )
    height, width = size
    flat = (np.resize(np.array([width, height]), len(shares)) * points).tolist()
    name = str(int(number)) if names is None or number >= len(names) else names[int(number)]
    return Shape(name, polygons_to_rle([flat], height, width, notes.append), notes=notes)


def _box(words: list[str], size: tuple[int, int]) -> list[float] | None:
    """Box, xyxy, of a line of YOLO detection (``class x y width height`` of its centre), or of a polygon's points."""
    shares = np.array([float(word) for word in words[1:]])
    across = np.array(size[::-1])
    if len(shares) == 4:
        return [*((shares[:2] - shares[2:] / 2) * across).tolist(), *((shares[:2] + shares[2:] / 2) * across).tolist()]
    return box_of_points((shares * np.resize(across, len(shares))).tolist())


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not blank, and their numbers from 1."""
    return [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not a YAML file that can be read: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path}: holds no table: a data.yaml has names, train and val")
    return table
