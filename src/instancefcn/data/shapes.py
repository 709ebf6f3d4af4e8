"""Shapes with names, as labelling tools draw them: what the readers of their files share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
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


@dataclass(frozen=True)
class JoinedShapes:
    """The instances of one image, each with the number of its first shape in the file."""

    numbers: list[int]
    shapes: list[Shape]
    problems: list[Problem]  # with the number of the shape at fault
    notes: list[Problem]
    rejected: list[Rle]  # where rejected instances lie, as far as that is known
    partial: bool  # where some of them lie is not known


@dataclass(frozen=True)
class ShapedImage:
    """An image with its instances."""

    image_id: int
    file_name: str
    path: Path
    size: tuple[int, int]  # (height, width)
    joined: JoinedShapes


def join_shapes(
    entries: Iterable[tuple[int, Any]],
    read: Callable[[Any], Shape],
    part_of: Callable[[Any], Hashable],
    file: Path,
    size: tuple[int, int],
    *,
    place: str = "",
    box_of: Callable[[Any], Sequence[Any] | None] = lambda _: None,
) -> JoinedShapes:
    """The instances of one image. If one shape of an instance is unsound, the whole instance is rejected.

    A shape without a pixel is no loss where the instance has others.

    Args:
        entries: numbers and entries of the shapes, in the order of the file.
        read: a shape from its entry; it may be empty. A ValueError says what is wrong.
        part_of: what entries share that are parts of one instance; None for an instance of a single shape.
        file: that problems name.
        size: (height, width) of the image.
        place: of the image in the file, before the reason; empty where the file is of one image.
        box_of: box, xyxy, in which an unsound shape lies; None where its entry does not say.
    """
    parts: dict[Hashable, list[tuple[int, Any]]] = {}
    for number, entry in entries:
        together = part_of(entry)
        parts.setdefault((number,) if together is None else (None, together), []).append((number, entry))
    found = JoinedShapes([], [], [], [], [], partial=False)
    lost = False
    for members in parts.values():
        sound: list[Shape] = []
        empty: list[tuple[int, str]] = []
        unsound: list[tuple[int, str]] = []
        regions: list[Rle | None] = []
        for number, entry in members:
            try:
                shape = read(entry)
            except NoAreaError as error:
                empty.append((number, str(error)))
            except ValueError as error:
                unsound.append((number, str(error)))
            else:
                found.notes.extend(Problem(str(file), number, f"{place}{note}") for note in shape.notes)
                if area(shape.rle):
                    sound.append(shape)
                    regions.append(shape.rle)
                    continue
                empty.append((number, NO_PIXEL))
            regions.append(region_of_box(box_of(entry), *size))
        if sound and not unsound:
            found.notes.extend(Problem(str(file), number, f"{place}{reason}: left out") for number, reason in empty)
            ignore, crowd = (any(getattr(shape, mark) for shape in sound) for mark in ("ignore", "crowd"))
            rle = union([shape.rle for shape in sound]) if len(sound) > 1 else sound[0].rle
            found.numbers.append(members[0][0])
            found.shapes.append(Shape(sound[0].name, rle, ignore, crowd))
        else:
            found.problems.append(Problem(str(file), min(unsound or empty)[0], f"{place}{min(unsound or empty)[1]}"))
            found.rejected.extend(region for region in regions if region is not None)
            lost |= any(region is None for region in regions)
    return replace(found, partial=lost)


class ImageOwners:
    """Which entry of an export has an image: only the first one's labels are read."""

    def __init__(self) -> None:
        self._places: dict[Path, str] = {}
        self.shared: set[Path] = set()  # images with more labels than are read

    def claim(self, image: Path, place: str, mend: str) -> None:
        """Give an image to an entry.

        Raises:
            ValueError: another entry has it.
        """
        owner = self._places.setdefault(image, place)
        if owner != place:
            self.shared.add(image)
            raise ValueError(f"its image {image.name} is that of {owner} too: {mend}")


def shapes_to_source(
    images: Sequence[ShapedImage],
    problems: Sequence[Problem],
    names: Iterable[str],
    read: Callable[[Path, tuple[int, int]], np.ndarray] = read_image,
    shared: Collection[Path] = (),
) -> FileSource:
    """Labelled images whose categories are names.

    Args:
        names: in the order in which they are numbered, from 1; those of shapes that are missing here follow.
        shared: images that have more labels than these.
        read: pixels from a path and (height, width).
    """
    used = (shape.name for image in images for shape in image.joined.shapes)
    ids = {name: number for number, name in enumerate(dict.fromkeys([*names, *used]), start=1)}
    labels: list[Labels] = []
    for image in images:
        joined, shapes = image.joined, image.joined.shapes
        instances = to_instances(
            joined.numbers,
            [shape.rle for shape in shapes],
            [ids[shape.name] for shape in shapes],
            crowd=[shape.crowd for shape in shapes],
            ignore=[shape.ignore for shape in shapes],
        )
        about = {"rejected": joined.rejected, "partial": joined.partial or image.path in shared}
        labels.append(Labels(image.image_id, image.file_name, image.path, *image.size, instances, **about))
    notes = [note for image in images for note in image.joined.notes]
    return FileSource({number: name for name, number in ids.items()}, labels, problems, read, notes=notes)
