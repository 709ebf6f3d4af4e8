"""CVAT's own form, "CVAT for images 1.1": one XML file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from instancefcn.data.images import inspect_image
from instancefcn.data.polygons import NoAreaError, Note, box_of_points, ellipse_to_rle, polygons_to_rle
from instancefcn.data.shapes import Shape, ShapedImages
from instancefcn.data.source import UNNAMED, FileSource, Problem
from instancefcn.file_names import path_inside
from instancefcn.geometry.rle import Rle, encode_in_box
from instancefcn.values import shown

CROWD_NAMES = ("crowd", "iscrowd", "is_crowd")  # of attributes, in lower case, that mark a crowd
NO_AREA = ("polyline", "points", "skeleton")
NO_OUTLINE = ("box", "cuboid", *NO_AREA)


def load_cvat_xml(path: Path, images_dir: Path) -> FileSource:
    """Open an XML file. Shapes that share label and ``group_id`` are the parts of one instance, as in CVAT's COCO.

    The categories are the labels of the task, in its order.

    Raises:
        ValueError: the file is missing, or of another form.
    """
    root = read_xml(path)
    entries = root.findall("image")
    if root.tag != "annotations" or (root.find("track") is not None and not entries):
        raise ValueError(f'{path}: is no file of CVAT\'s for images: export as "CVAT for images 1.1"')
    images = ShapedImages(_read_shape, _box, _instance)
    for image_id, entry in enumerate(entries, start=1):
        place = f"image {entry.get('id')} ({entry.get('name')})"
        try:
            file = find_in_subset(images_dir, entry.get("name") or "", entry.get("subset") or "")
            images.claim(file, place, "put its labels into one image")
            stated = (_whole(entry, "height"), _whole(entry, "width")) if entry.get("height") else None
            size = inspect_image(file, stated)
        except ValueError as error:
            images.problems.append(Problem(str(path), None, f"{place}: {error}"))
            continue
        shapes = [child for child in entry if child.tag in ("polygon", "mask", "ellipse", *NO_OUTLINE)]
        name = file.relative_to(images_dir).as_posix()
        images.add(image_id, name, file, size, enumerate(shapes), path, f"{place}: ")
    names = [label.findtext("name") for label in root.iterfind("meta//labels/label")]
    return images.source(name for name in names if name)


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. One that declares entities, which may grow without bound, is refused."""

    def refuse(*_: Any) -> None:
        raise ValueError("declares a document type, which CVAT's files don't")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        content = path.read_bytes()
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, expat.ExpatError, ElementTree.ParseError) as error:
        raise ValueError(f"{path}: not an XML file that can be read: {error}") from error


def find_in_subset(folder: Path, name: str, subset: str) -> Path:
    """File of an image by its name, in the folder or in that of its subset, as exports of projects have it."""
    path = path_inside(folder, name)
    inner = path_inside(folder, f"{subset}/{name}") if subset else path
    return inner if os.path.isfile(inner) and not os.path.isfile(path) else path


def _instance(shape: ElementTree.Element) -> tuple[str, str] | None:
    group = shape.get("group_id") or "0"
    return None if group == "0" else (group, shape.get("label") or "")


def _read_shape(shape: ElementTree.Element, size: tuple[int, int]) -> Shape:
    if shape.tag in NO_OUTLINE:
        error = NoAreaError if shape.tag in NO_AREA else ValueError
        raise error(f"{shape.tag} is no outline: draw a polygon or a mask")
    notes: list[str] = []
    label = shape.get("label")
    if not label:
        notes.append(f"{shape.tag} has no label")
    marks = {mark.get("name", "").lower(): (mark.text or "").lower() for mark in shape.iterfind("attribute")}
    crowd = any(marks.get(name) in ("true", "1") for name in CROWD_NAMES)
    return Shape(label or UNNAMED, _to_rle(shape, *size, notes.append), crowd=crowd, notes=notes)


def _box(shape: ElementTree.Element, _: object) -> list[float] | None:
    """Box, xyxy, that an entry states, or that its points span; None where neither."""
    if shape.tag == "box":
        return [_number(shape.get(key) or "", key) for key in ("xtl", "ytl", "xbr", "ybr")]
    if shape.tag == "mask":
        left, top, across, down = (_number(shape.get(key) or "", key) for key in ("left", "top", "width", "height"))
        return [left, top, left + across, top + down]
    return box_of_points(_points(shape)) if shape.tag == "polygon" else None


def _points(shape: ElementTree.Element) -> list[float]:
    """``[x, y, x, y, ...]``."""
    return [_number(part, "points") for part in (shape.get("points") or "").replace(";", ",").split(",") if part]


def _to_rle(shape: ElementTree.Element, height: int, width: int, note: Note) -> Rle:
    if shape.tag == "polygon":
        return polygons_to_rle([_points(shape)], height, width, note)
    if shape.tag == "ellipse":
        cx, cy, rx, ry, turn = (_number(shape.get(key, "0"), key) for key in ("cx", "cy", "rx", "ry", "rotation"))
        return ellipse_to_rle((cx, cy), (rx, ry), turn, height, width, note)
    left, top, across, down = (_whole(shape, key) for key in ("left", "top", "width", "height"))
    if min(left, top, across, down) < 0 or left + across > width or top + down > height:
        raise ValueError(f"mask of {across} x {down} at {left}, {top}: outside the image of {width} x {height}")
    runs = np.array([_number(run, "rle") for run in (shape.get("rle") or "").split(",")])
    if not (runs >= 0).all() or (runs % 1).any() or runs.sum() != across * down:
        raise ValueError(f"mask: its rle does not fill {across} x {down} pixels")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs.astype(np.int64))  # row by row, background first
    return encode_in_box(values.reshape(down, across), top, left, height, width)


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{what} {shown(text)} is no number")
    return number


def _whole(element: ElementTree.Element, key: str) -> int:
    number = _number(element.get(key) or "", key)
    if not abs(number) < 2**31 or number % 1:
        raise ValueError(f"{key} {shown(element.get(key))} is no whole number")
    return int(number)
