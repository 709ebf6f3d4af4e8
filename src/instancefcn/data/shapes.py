"""Shapes with names, as labelling tools draw them: what the readers of their files share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.images import read_image
from instancefcn.data.polygons import NoAreaError
from instancefcn.data.segmentations import NO_PIXEL, region_of_box, to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.geometry.rle import Rle, area, union


@dataclass(frozen=True)
class Shape:
    """A named mask: one shape of a file, or one instance of several shapes."""

    name: str
    rle: Rle
    ignore: bool = False  # not to be judged
    crowd: bool = False  # many objects
    notes: Sequence[str] = ()  # what of it was mended


class ShapedImages:
    """The images of an export, added one by one, and what is wrong with them.

    Args:
        read: a shape from its entry and the image's (height, width); it may be empty. A ValueError says what is wrong.
        box_of: from the same the box, xyxy, in which an unsound shape lies; None, or a ValueError, where its entry does
            not say.
        part_of: what entries share that are parts of one instance; None for an instance of a single shape.
    """

    def __init__(
        self,
        read: Callable[[Any, tuple[int, int]], Shape],
        box_of: Callable[[Any, tuple[int, int]], Sequence[Any] | None],
        part_of: Callable[[Any], Hashable] = lambda _: None,
    ) -> None:
        self._read, self._box_of, self._part_of = read, box_of, part_of
        self.problems: list[Problem] = []
        self._notes: list[Problem] = []
        self.names: dict[str, int] = {}  # of instances, numbered in the order of their first use
        self._labels: list[Labels] = []  # whose categories have these numbers
        self._owners: dict[Path, str] = {}
        self._shared: set[Path] = set()  # images with more labels than are read

    def claim(self, image: Path, place: str, mend: str) -> None:
        """Give an image to an entry of the export, once for each: only the first one's labels are read.

        Raises:
            ValueError: another entry has it.
        """
        if image in self._owners:
            self._shared.add(image)
            raise ValueError(f"its image {image.name} is that of {self._owners[image]} too: {mend}")
        self._owners[image] = place

    def add(
        self,
        image_id: int,
        file_name: str,
        path: Path,
        size: tuple[int, int],
        entries: Iterable[tuple[int, Any]],
        file: Path,
        place: str = "",
        predicted: bool = False,
    ) -> list[int]:
        """Add an image with its instances. If one shape of an instance is unsound, the whole instance is rejected.

        A shape without a pixel is no loss where the instance has others.

        Args:
            size: (height, width) of the image.
            entries: numbers and entries of the shapes, in the order of the file.
            file: that problems name.
            place: of the image in the file, before the reason; empty where the file is of one image.
            predicted: as of ``Labels``.

        Returns:
            The number of the first shape of each instance.
        """

        def problem(number: int, reason: str) -> Problem:
            return Problem(str(file), number, f"{place}{reason}")

        parts: dict[Hashable, list[tuple[int, Any]]] = {}
        for number, entry in entries:
            together = self._part_of(entry)
            parts.setdefault((number,) if together is None else (None, together), []).append((number, entry))
        numbers: list[int] = []
        shapes: list[Shape] = []
        rejected: list[Rle | None] = []
        for members in parts.values():
            instance, regions = self._join(members, size, problem)
            if instance is None:
                rejected += regions
            else:
                numbers.append(members[0][0])
                shapes.append(instance)
        known = [region for region in rejected if region is not None]
        instances = to_instances(
            numbers,
            [shape.rle for shape in shapes],
            [self.names.setdefault(shape.name, len(self.names)) for shape in shapes],
            crowd=[shape.crowd for shape in shapes],
            ignore=[shape.ignore for shape in shapes],
        )
        partial = len(known) < len(rejected)
        self._labels.append(
            Labels(image_id, file_name, path, *size, instances, rejected=known, partial=partial, predicted=predicted)
        )
        return numbers

    def _join(
        self, members: Iterable[tuple[int, Any]], size: tuple[int, int], problem: Callable[[int, str], Problem]
    ) -> tuple[Shape | None, list[Rle | None]]:
        """The instance of some shapes, with what is noted of them; none, and their problem, where one is unsound.

        Args:
            members: numbers and entries of the shapes.

        Returns:
            Also the region of each shape, None where nobody knows it.
        """
        sound: list[Shape] = []
        empty: list[tuple[int, str]] = []
        unsound: list[tuple[int, str]] = []
        regions: list[Rle | None] = []
        for number, entry in members:
            try:
                shape = self._read(entry, size)
            except NoAreaError as error:
                empty.append((number, str(error)))
            except ValueError as error:
                unsound.append((number, str(error)))
            else:
                self._notes += [problem(number, note) for note in shape.notes]
                if area(shape.rle):
                    sound.append(shape)
                    regions.append(shape.rle)
                    continue
                empty.append((number, NO_PIXEL))
            regions.append(self._region_of(entry, size))
        if unsound or not sound:
            self.problems.append(problem(*min(unsound or empty)))
            return None, regions
        self._notes += [problem(number, f"{reason}: left out") for number, reason in empty]
        ignore, crowd = (any(getattr(shape, mark) for shape in sound) for mark in ("ignore", "crowd"))
        return Shape(sound[0].name, union([shape.rle for shape in sound]), ignore, crowd), regions

    def _region_of(self, entry: Any, size: tuple[int, int]) -> Rle | None:
        """Where a shape lies that has no mask; None where its box can't be read, too."""
        try:
            box = self._box_of(entry, size)
        except ValueError:
            box = None
        return region_of_box(box, *size)

    def source(
        self, names: Iterable[str] = (), read: Callable[[Path, tuple[int, int]], np.ndarray] = read_image
    ) -> FileSource:
        """Labelled images whose categories are names.

        Args:
            names: in the order in which they are numbered, from 1; those of shapes that are missing here follow.
            read: pixels from a path and (height, width).
        """
        ids = {name: number for number, name in enumerate(dict.fromkeys([*names, *self.names]), start=1)}
        numbers = np.array([ids[name] for name in self.names], dtype=np.int64)
        every: list[Labels] = []
        for labels in self._labels:
            instances = replace(labels.instances, category_ids=numbers[labels.instances.category_ids])
            partial = labels.partial or labels.path in self._shared
            every.append(replace(labels, instances=instances, partial=partial))
        categories = {number: name for name, number in ids.items()}
        return FileSource(categories, every, self.problems, read, notes=self._notes)
