"""labelme and X-AnyLabeling: a JSON file of shapes for each image, with the image beside it or embedded."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from instancefcn.data.coco_entries import whole_number
from instancefcn.data.image_folder import ImageFolder
from instancefcn.data.images import inspect_image, read_image
from instancefcn.data.label_pixels import read_label_map
from instancefcn.data.polygons import (
    NoAreaError,
    Note,
    box_of_points,
    check_inside,
    ellipse_to_rle,
    flatten_points,
    polygons_to_rle,
    say_nothing,
)
from instancefcn.data.shapes import Shape, ShapedImages
from instancefcn.data.source import UNNAMED, FileSource, Problem
from instancefcn.file_names import last_part, path_inside
from instancefcn.files import read_json
from instancefcn.folders import existing_dir, visible_files
from instancefcn.geometry.rle import Rle, encode_in_box
from instancefcn.values import shown

QUADRILATERALS = ("rectangle", "rotation", "quadrilateral", "oriented_rectangle")  # of 4 points


def load_labelme(folder: Path, images: Path | None = None) -> FileSource:
    """Open all JSON files in a folder and below, but hidden ones. The labels, sorted by name, become the categories.

    Args:
        images: a folder in which, and below, the images lie that the files name: where a file says, from its own
            folder or from the same place in ``images``, or else by name (``ImageFolder.find``); None: where the files
            say, inside ``folder``.

    Raises:
        ValueError: the folder is missing, or holds no JSON.
    """
    files = visible_files(existing_dir(folder, "labelme's JSON files"), [".json"])
    if not files:
        raise ValueError(f"{folder}: holds no JSON file of labelme's")
    elsewhere = None if images is None else ImageFolder(images, "the images of labelme's files")
    found = ShapedImages(_read_shape, _box, _instance)
    for image_id, path in enumerate(files, start=1):
        try:
            table = read_labelme_json(path)
            file, size = _find_image(table, path, folder, elsewhere)
            found.claim(file, path.relative_to(folder).as_posix(), "put its labels into one file")
        except ValueError as error:
            found.problems.append(Problem.from_error(path, error))
            continue
        file_name = file.name if file == path else file.relative_to(images or folder).as_posix()
        found.add(image_id, file_name, file, size, enumerate(table["shapes"]), path)
    return found.source(sorted(found.names), read_labelme_image)


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
        return read_image(embedded_image(table), size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find_image(
    table: dict[str, Any], path: Path, folder: Path, elsewhere: ImageFolder | None
) -> tuple[Path, tuple[int, int]]:
    """The file that a JSON file names, or the JSON file where it embeds the image; and the size, (height, width)."""
    image_path, height, width = table.get("imagePath"), table.get("imageHeight"), table.get("imageWidth")
    if not isinstance(image_path, str) or not image_path:
        raise ValueError("has no imagePath")
    stated = None
    if height is not None and width is not None:
        stated = whole_number(height, "imageHeight"), whole_number(width, "imageWidth")
    here = path.parent.relative_to(folder)
    if elsewhere is not None:
        file = elsewhere.find(image_path, near=(path.parent, elsewhere.folder / here))
        return file, inspect_image(file, stated)
    beside = here / image_path.replace("\\", "/")  # labelme runs on Windows too
    embedded = bool(table.get("imageData"))
    try:
        file = path_inside(folder, str(beside))
    except ValueError as error:
        if not embedded:
            raise ValueError(f"{error}: give the folder of the images, too, as labelme:DIR,IMAGES_DIR") from error
        file = path
    if embedded and not file.is_file():
        file = path
    return file, inspect_image(embedded_image(table) if file == path else file, stated)


def named_image(path: Path) -> str:
    """The name, without folders, of the image that a JSON file is of; it may embed the image itself."""
    return last_part(str(read_labelme_json(path).get("imagePath")))


def embedded_image(table: dict[str, Any]) -> bytes:
    """Content of the image file that the table of a labelme file embeds; a ValueError where there is none."""
    return _decode(table.get("imageData"), "imageData")


def _decode(data: Any, key: str) -> bytes:
    """Content of a file that is embedded as base64, also in lines, or behind ``data:image/png;base64,``."""
    if data is None:
        raise ValueError(f"{key} is missing")
    if not isinstance(data, str):
        raise ValueError(f"{key} must be a file as base64, not {shown(data)}")
    try:
        return base64.b64decode("".join(re.sub(r"^data:[a-z/+.-]*;base64,", "", data).split()), validate=True)
    except ValueError as error:
        raise ValueError(f"{key} is not base64: {error}") from error


def _instance(shape: dict[str, Any]) -> tuple[str, str] | None:
    """What the parts of an instance share, by labelme's own converter to COCO: label and group."""
    group = shape.get("group_id")
    return None if group is None else (shown(shape.get("label")), shown(group))


def _read_shape(shape: dict[str, Any], size: tuple[int, int]) -> Shape:
    notes: list[str] = []
    rle, label = shape_to_rle(shape, *size, notes.append), shape.get("label")
    if not isinstance(label, str):
        notes.append(f"label {shown(label)} is no text")
        label = UNNAMED if label is None else shown(label)
    flags = shape.get("flags")
    ignore, crowd = (isinstance(flags, dict) and flags.get(mark) is True for mark in ("ignore", "iscrowd"))
    return Shape(label, rle, ignore, crowd, notes)


def _box(shape: dict[str, Any], _: object) -> list[float] | None:
    """Box, xyxy, of the points of a shape that has an area; None where they do not say where it lies."""
    kind, points = shape.get("shape_type") or "polygon", flatten_points(shape.get("points"))
    if kind in ("rectangle", "mask") and len(points) == 4:
        return points
    return box_of_points(points) if kind == "polygon" or kind in QUADRILATERALS else None


def shape_to_rle(shape: dict[str, Any], height: int, width: int, note: Note) -> Rle:
    """RLE of one shape: a polygon, rectangle, circle or mask; it may be empty."""
    kind, given = shape.get("shape_type") or "polygon", shape.get("points")
    if not isinstance(kind, str):
        raise ValueError(f"shape_type {shown(kind)} is no text")
    if not isinstance(given, list) or not given:
        raise NoAreaError(f"{kind} of 0 points")
    points = np.array(flatten_points(given)).reshape(-1, 2)
    if kind == "polygon" or (kind in QUADRILATERALS and len(points) == 4):
        return polygons_to_rle([points.ravel().tolist()], height, width, note)
    if kind not in ("rectangle", "circle", "mask"):
        if kind in QUADRILATERALS:
            raise ValueError(f"{kind} of {len(points)} points: it takes 4")
        raise NoAreaError(f"shape_type {kind} has no area: draw a polygon, a rectangle, a circle or a mask")
    if len(points) != 2:
        raise ValueError(f"{kind} of {len(points)} points: it takes 2")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.tolist()
        return polygons_to_rle([[x0, y0, x1, y0, x1, y1, x0, y1]], height, width, note)
    check_inside([points], height, width, kind, note if kind == "mask" else say_nothing)
    if kind == "circle":  # its two points are inside, as labelme keeps them, so in a corner a quarter is enough
        radius = float(np.hypot(*(points[1] - points[0])))
        return ellipse_to_rle(points[0].tolist(), (radius, radius), 0, height, width, note, what=kind, least=0.0)
    return _mask(shape.get("mask"), points, height, width)


def _mask(embedded: Any, points_xy: Float[np.ndarray, "2 2"], height: int, width: int) -> Rle:
    """A mask as an embedded image; the points are the first and the last pixel of its box."""
    crop = read_label_map(_decode(embedded, "mask")) != 0
    (left, top), (right, bottom) = points_xy.round().astype(int).tolist()
    box = bottom - top + 1, right - left + 1
    if any(not side - 1 <= own <= side for own, side in zip(crop.shape, box, strict=True)):  # or the ends of its box
        own, stated = (f"{across} x {down}" for down, across in (crop.shape, box))
        raise ValueError(f"mask of {own} pixels is not its box, of {stated}: draw it again on this image")
    rows, columns = slice(max(-top, 0), max(height - top, 0)), slice(max(-left, 0), max(width - left, 0))
    return encode_in_box(crop[rows, columns], min(max(top, 0), height), min(max(left, 0), width), height, width)
