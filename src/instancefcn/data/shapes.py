"""Shapes with names, as labelling tools draw them: what the readers of their files share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.images import read_image
from instancefcn.data.segmentations import not_empty, to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.geometry.rle import Rle, union

UNNAMED = "object"  # the category of shapes that have no name


@dataclass(frozen=True)
class Shape:
    """A named mask: one shape of a file, or one instance of several shapes."""

    name: str
    rle: Rle
    ignore: bool = False  # not to be judged
    crowd: bool = False  # many objects


@dataclass(frozen=True)
class ShapedImage:
    """An image with its instances, each with the number of its first shape in the file."""

    image_id: int
    file_name: str
    path: Path
    size: tuple[int, int]  # (height, width)
    numbers: list[int]
    shapes: list[Shape]


def join_shapes(
    entries: Iterable[tuple[int, Any]],
    read: Callable[[Any], Shape],
    part_of: Callable[[Any], Hashable],
    file: Path,
    place: str = "",
) -> tuple[list[int], list[Shape], list[Problem]]:
    """The instances of one image. If one shape of an instance is unsound, the whole instance is rejected.

    Args:
        entries: numbers and entries of the shapes, in the order of the file.
        read: a shape from its entry; it may be empty. A ValueError says what is wrong.
        part_of: what entries share that are parts of one instance; None for an instance of a single shape.
        file: that problems name.
        place: of the image in the file, before the reason; empty where the file is of one image.

    Returns:
        The number of each instance, its shape, and the problems, which have the number of the shape at fault.
    """
    parts: dict[Hashable, list[tuple[int, Any]]] = {}
    for number, entry in entries:
        together = part_of(entry)
        parts.setdefault((number,) if together is None else (None, together), []).append((number, entry))
    numbers: list[int] = []
    shapes: list[Shape] = []
    problems: list[Problem] = []
    for members in parts.values():
        number, read_shapes = members[0][0], list[Shape]()
        try:
            for member in members:
                number, entry = member
                shape = read(entry)
                not_empty(shape.rle)
                read_shapes.append(shape)
        except ValueError as error:
            problems.append(Problem(str(file), number, f"{place}{error}"))
        else:
            name, rles = read_shapes[0].name, [shape.rle for shape in read_shapes]
            ignore, crowd = (any(getattr(shape, mark) for shape in read_shapes) for mark in ("ignore", "crowd"))
            numbers.append(members[0][0])
            shapes.append(Shape(name, union(rles) if len(rles) > 1 else rles[0], ignore, crowd))
    return numbers, shapes, problems


def shapes_to_source(
    images: Sequence[ShapedImage],
    problems: Sequence[Problem],
    names: Iterable[str],
    read: Callable[[Path, tuple[int, int]], np.ndarray] = read_image,
) -> FileSource:
    """Labelled images whose categories are names.

    Args:
        names: in the order in which they are numbered, from 1; those of shapes that are missing here follow.
        read: pixels from a path and (height, width).
    """
    used = (shape.name for image in images for shape in image.shapes)
    ids = {name: number for number, name in enumerate(dict.fromkeys([*names, *used]), start=1)}
    labels: list[Labels] = []
    for image in images:
        shapes = image.shapes
        instances = to_instances(
            image.numbers,
            [shape.rle for shape in shapes],
            [ids[shape.name] for shape in shapes],
            crowd=[shape.crowd for shape in shapes],
            ignore=[shape.ignore for shape in shapes],
        )
        labels.append(Labels(image.image_id, image.file_name, image.path, *image.size, instances))
    return FileSource({number: name for name, number in ids.items()}, labels, problems, read)
