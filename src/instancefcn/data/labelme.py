"""labelme: a JSON file of shapes for each image, with the image beside it or embedded."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from instancefcn.data.images import inspect_image, read_image, read_label_map
from instancefcn.data.segmentations import as_numbers, check_inside, not_empty, polygons_to_rle, to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.files import existing_dir, is_integer, path_inside, read_json
from instancefcn.geometry.rle import Rle, encode_in_box, union


class Shape(NamedTuple):
    """One instance: a shape, or the union of all shapes of one label and group."""

    number: int  # of the first shape, from 0, in the file
    label: str
    rle: Rle


def load_labelme(folder: Path) -> FileSource:
    """Open all JSON files in a folder and below. The labels, sorted by name, become the categories.

    Raises:
        ValueError: the folder is missing, or holds no JSON.
    """
    files = sorted(existing_dir(folder, "labelme's JSON files").rglob("*.json"))
    if not files:
        raise ValueError(f"{folder}: holds no JSON file of labelme's")
    images: list[tuple[tuple[int, str, Path, int, int], list[Shape]]] = []
    problems: list[Problem] = []
    for image_id, path in enumerate(files, start=1):
        try:
            table = read_labelme_json(path)
            file, (height, width) = _find_image(table, path, folder)
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
            continue
        file_name = file.name if file == path else str(file.relative_to(folder))
        shapes, rejected = _check_shapes(table["shapes"], path, height, width)
        images.append(((image_id, file_name, file, height, width), shapes))
        problems += rejected
    names = sorted({shape.label for _, shapes in images for shape in shapes})
    ids = {label: category_id for category_id, label in enumerate(names, start=1)}
    labels: list[Labels] = []
    for image, shapes in images:
        numbers, shape_labels, rles = zip(*shapes, strict=True) if shapes else ((), (), ())
        labels.append(Labels(*image, to_instances(numbers, rles, [ids[label] for label in shape_labels])))
    return FileSource({ids[label]: label for label in names}, labels, problems, read_labelme_image)


def read_labelme_json(path: Path) -> dict[str, Any]:
    """The table of a labelme file; a ValueError where it is none."""
    table = read_json(path)
    shapes = table.get("shapes") if isinstance(table, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError(f'{path}: has no list "shapes" of objects: not a file of labelme\'s')
    return table


def read_labelme_image(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file, or the image that is embedded in a JSON file.

    Raises:
        ValueError: the file, or what it embeds, is not an image of this size.
    """
    if path.suffix != ".json":
        return read_image(path, size)
    table = read_labelme_json(path)
    try:
        return read_image(_embedded_image(table), size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find_image(table: dict[str, Any], path: Path, folder: Path) -> tuple[Path, tuple[int, int]]:
    """The file that a JSON file names, or the JSON file where it embeds the image; and the size, (height, width)."""
    image_path, height, width = table.get("imagePath"), table.get("imageHeight"), table.get("imageWidth")
    if not isinstance(image_path, str) or not image_path:
        raise ValueError("has no imagePath")
    stated = (height, width) if is_integer(height) and is_integer(width) else None
    beside = path.parent.relative_to(folder) / image_path.replace("\\", "/")  # labelme runs on Windows too
    embedded = bool(table.get("imageData"))
    try:
        file = path_inside(folder, str(beside))
    except ValueError as error:
        if not embedded:
            raise ValueError(f"{error}: give the folder that holds both") from error
        file = path
    if embedded and not file.is_file():
        file = path
    return file, inspect_image(_embedded_image(table) if file == path else file, stated)


def _embedded_image(table: dict[str, Any]) -> bytes:
    data = table.get("imageData")
    if not isinstance(data, str):
        raise ValueError("imageData is no text")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ValueError(f"imageData is not base64: {error}") from error


def _check_shapes(
    shapes: list[dict[str, Any]], path: Path, height: int, width: int
) -> tuple[list[Shape], list[Problem]]:
    """Instances of one file. If one shape of a group is unsound, the whole group is rejected."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        group = shape.get("group_id")
        key = (index,) if group is None else (str(shape.get("label")), str(group))
        groups.setdefault(key, []).append(index)
    kept: list[Shape] = []
    problems: list[Problem] = []
    for indices in groups.values():
        rles: list[Rle] = []
        index = indices[0]
        try:
            for index in indices:
                rles.append(not_empty(shape_to_rle(shapes[index], height, width)))
            label = shapes[index].get("label")
            if not isinstance(label, str):
                raise ValueError(f"label {label} is no text")
            kept.append(Shape(indices[0], label, union(rles)))
        except ValueError as error:
            problems.append(Problem(str(path), index, str(error)))
    return kept, problems


def shape_to_rle(shape: dict[str, Any], height: int, width: int) -> Rle:
    """RLE of one shape: a polygon, rectangle, circle or mask; it may be empty."""
    kind, given = shape.get("shape_type") or "polygon", shape.get("points")
    if not isinstance(given, list) or not given:
        raise ValueError(f"{kind} of 0 points")
    points = np.stack([_point(point) for point in given])
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return polygons_to_rle([points.ravel().tolist()], height, width)
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"shape_type {kind} has no area: draw a polygon, a rectangle, a circle or a mask")
    if len(points) != 2:
        raise ValueError(f"{kind} of {len(points)} points: it takes 2")
    check_inside(points, height, width, kind)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.tolist()
        return polygons_to_rle([[x0, y0, x1, y0, x1, y1, x0, y1]], height, width)
    return _circle(points, height, width) if kind == "circle" else _mask(shape, points, height, width)


def _point(point: Any) -> Float[np.ndarray, "2"]:
    numbers = as_numbers(point, "point")
    if len(numbers) != 2:
        raise ValueError(f"point of {len(numbers)} numbers: it takes x and y")
    return numbers


def _circle(points_xy: Float[np.ndarray, "2 2"], height: int, width: int) -> Rle:
    """Pixels with their centres in a circle, given by its centre and a point on it; it may reach beyond the image."""
    (x, y), radius = points_xy[0], float(np.hypot(*(points_xy[1] - points_xy[0])))
    left, right = (int(np.clip(np.floor(x + side), 0, width)) for side in (-radius, radius + 1))
    top, bottom = (int(np.clip(np.floor(y + side), 0, height)) for side in (-radius, radius + 1))
    rows, columns = np.arange(top, bottom)[:, None], np.arange(left, right)
    return encode_in_box((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2, top, left, height, width)


def _mask(shape: dict[str, Any], points_xy: Float[np.ndarray, "2 2"], height: int, width: int) -> Rle:
    """A mask as an embedded image; the first point is its upper left corner."""
    crop = read_label_map(_embedded_image({"imageData": shape.get("mask")})) != 0
    left, top = (int(value) for value in points_xy[0].round().clip(0, [width, height]))
    return encode_in_box(crop[: height - top, : width - left], top, left, height, width)
