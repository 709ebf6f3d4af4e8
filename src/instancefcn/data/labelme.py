"""labelme and X-AnyLabeling: a JSON file of shapes for each image, with the image beside it or embedded."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from instancefcn.data.image_folder import ImageFolder
from instancefcn.data.images import inspect_image, read_image
from instancefcn.data.label_pixels import read_label_map
from instancefcn.data.segmentations import check_inside, ellipse_to_rle, flatten_points, polygons_to_rle
from instancefcn.data.shapes import Shape, ShapedImage, join_shapes, shapes_to_source
from instancefcn.data.source import FileSource, Problem
from instancefcn.files import existing_dir, is_integer, path_inside, read_json
from instancefcn.geometry.rle import Rle, encode_in_box

QUADRILATERALS = ("rectangle", "rotation", "quadrilateral", "oriented_rectangle")  # of 4 points


def load_labelme(folder: Path, images: Path | None = None) -> FileSource:
    """Open all JSON files in a folder and below. The labels, sorted by name, become the categories.

    Args:
        images: a folder in which, and below, the images lie that the files name; None: where the files say, inside
            ``folder``.

    Raises:
        ValueError: the folder is missing, or holds no JSON.
    """
    inside = existing_dir(folder, "labelme's JSON files").rglob("*")
    files = sorted(path for path in inside if path.suffix.lower() == ".json" and path.is_file())
    if not files:
        raise ValueError(f"{folder}: holds no JSON file of labelme's")
    elsewhere = None if images is None else ImageFolder(images, "the images of labelme's files")
    found: list[ShapedImage] = []
    problems: list[Problem] = []
    for image_id, path in enumerate(files, start=1):
        try:
            table = read_labelme_json(path)
            file, size = _find_image(table, path, folder, elsewhere)
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
            continue
        file_name = file.name if file == path else file.relative_to(images or folder).as_posix()
        entries = enumerate(table["shapes"])
        numbers, shapes, rejected = join_shapes(entries, partial(_read_shape, size=size), _instance, path)
        found.append(ShapedImage(image_id, file_name, file, size, numbers, shapes))
        problems += rejected
    names = sorted({shape.name for image in found for shape in image.shapes})
    return shapes_to_source(found, problems, names, read_labelme_image)


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
    if path.suffix.lower() != ".json":
        return read_image(path, size)
    table = read_labelme_json(path)
    try:
        return read_image(_embedded_image(table), size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find_image(
    table: dict[str, Any], path: Path, folder: Path, elsewhere: ImageFolder | None
) -> tuple[Path, tuple[int, int]]:
    """The file that a JSON file names, or the JSON file where it embeds the image; and the size, (height, width)."""
    image_path, height, width = table.get("imagePath"), table.get("imageHeight"), table.get("imageWidth")
    if not isinstance(image_path, str) or not image_path:
        raise ValueError("has no imagePath")
    stated = (height, width) if is_integer(height) and is_integer(width) else None
    if elsewhere is not None:
        file = elsewhere.find(image_path)
        return file, inspect_image(file, stated)
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


def _instance(shape: dict[str, Any]) -> tuple[str, str] | None:
    """What the parts of an instance share, by labelme's own converter to COCO: label and group."""
    group = shape.get("group_id")
    return None if group is None else (str(shape.get("label")), str(group))


def _read_shape(shape: dict[str, Any], size: tuple[int, int]) -> Shape:
    rle, label = shape_to_rle(shape, *size), shape.get("label")
    if not isinstance(label, str):
        raise ValueError(f"label {label} is no text")
    flags = shape.get("flags")
    ignore, crowd = (isinstance(flags, dict) and flags.get(mark) is True for mark in ("ignore", "iscrowd"))
    return Shape(label, rle, ignore, crowd)


def shape_to_rle(shape: dict[str, Any], height: int, width: int) -> Rle:
    """RLE of one shape: a polygon, rectangle, circle or mask; it may be empty."""
    kind, given = shape.get("shape_type") or "polygon", shape.get("points")
    if not isinstance(given, list) or not given:
        raise ValueError(f"{kind} of 0 points")
    points = np.array(flatten_points(given)).reshape(-1, 2)
    if kind == "polygon" or (kind in QUADRILATERALS and len(points) == 4):
        return polygons_to_rle([points.ravel().tolist()], height, width)
    if kind not in ("rectangle", "circle", "mask"):
        if kind in QUADRILATERALS:
            raise ValueError(f"{kind} of {len(points)} points: it takes 4")
        raise ValueError(f"shape_type {kind} has no area: draw a polygon, a rectangle, a circle or a mask")
    if len(points) != 2:
        raise ValueError(f"{kind} of {len(points)} points: it takes 2")
    check_inside(points, height, width, kind)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.tolist()
        return polygons_to_rle([[x0, y0, x1, y0, x1, y1, x0, y1]], height, width)
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return ellipse_to_rle(points[0].tolist(), (radius, radius), 0, height, width)
    return _mask(shape, points, height, width)


def _mask(shape: dict[str, Any], points_xy: Float[np.ndarray, "2 2"], height: int, width: int) -> Rle:
    """A mask as an embedded image; the first point is its upper left corner."""
    crop = read_label_map(_embedded_image({"imageData": shape.get("mask")})) != 0
    left, top = (int(value) for value in points_xy[0].round().clip(0, [width, height]))
    return encode_in_box(crop[: height - top, : width - left], top, left, height, width)
