"""Label Studio: an export of tasks with annotations as JSON, or as JSON-MIN."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.data.brush import brush_to_rle
from instancefcn.data.coco_entries import whole_number
from instancefcn.data.image_folder import ImageFolder, has_image_name
from instancefcn.data.images import inspect_image
from instancefcn.data.polygons import Note, as_numbers, box_of_points, ellipse_to_rle, flatten_points, polygons_to_rle
from instancefcn.data.shapes import Shape, ShapedImages
from instancefcn.data.source import UNNAMED, FileSource, Problem
from instancefcn.files import read_json
from instancefcn.geometry.rle import Rle
from instancefcn.values import shown

# What a value of each kind of region has, and what it is called where it can't be read.
REGIONS = {"points": "polygon", "rle": "brush", "radiusX": "ellipse", "height": "rectangle"}
OTHERS = {"imageDataURL": "bitmask", "vertices": "vector", "x": "keypoint", "sequence": "video"}
FARTHEST = 1e300  # percent; a coordinate beyond counts as this one


def load_labelstudio(export: Path, images_dir: Path) -> FileSource:
    """Open an export. The categories are numbered in the order of their use.

    Of a task counts the annotation that was changed last and not cancelled, or else the last prediction
    (``Labels.predicted``), unless the task was skipped; a task with neither is a problem. Images are found by name,
    whatever address the task gives (``ImageFolder.find``).

    Raises:
        ValueError: the file or the folder is missing, or the file is no export.
    """
    tasks = read_json(export)
    if not isinstance(tasks, list) or (tasks and not any(isinstance(task, dict) for task in tasks)):
        raise ValueError(f"{export}: is no list of tasks: export as JSON, or as JSON-MIN, from Label Studio")
    folder = ImageFolder(images_dir, f"the images of {export}")
    images = ShapedImages(_read_region, _box)
    count = rectangles = 0
    for image_id, task in enumerate(tasks, start=1):
        place = f"tasks[{image_id - 1}]"
        try:
            if not isinstance(task, dict):
                raise ValueError("is no task of Label Studio's")
            place += f" (id {task['id']})" if isinstance(task.get("id"), int) else ""
            results, predicted = _results(task)
            regions = _regions(results)
            path = folder.find(_image_name(task), prefixed=True)
            images.claim(path, place, "put its labels into one task")
            size = inspect_image(path, _stated_size(regions))
        except ValueError as error:
            images.problems.append(Problem(str(export), None, f"{place}: {error}"))
            continue
        name = path.relative_to(folder.folder).as_posix()
        numbers = images.add(image_id, name, path, size, enumerate(regions), export, f"{place}: ", predicted)
        count += len(numbers)
        rectangles += sum(_drawn(regions[number])[0] == "rectangle" for number in numbers)
    if count and rectangles == count:
        reason = f"all {count} instances are rectangles, which teach no outlines: draw polygons, or use the brush"
        images.problems.append(Problem(str(export), None, reason))
    return images.source()


def _results(task: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """The results of the annotation that counts, and whether it is a prediction."""
    if "annotations" not in task and "predictions" not in task and "data" not in task:
        return _minimal_results(task), False
    for key in ("annotations", "completions", "predictions"):  # completions: before Label Studio 1.0
        made = task.get(key)
        given = [entry for entry in made if isinstance(entry, dict)] if isinstance(made, list) else []
        entries = [entry for entry in given if isinstance(entry.get("result"), list) and not _is_cancelled(entry)]
        if entries:
            newest = max(range(len(entries)), key=lambda i: (_time(entries[i]), i))
            return [result for result in entries[newest]["result"] if isinstance(result, dict)], key == "predictions"
        if any(map(_is_cancelled, given)):
            raise ValueError("was skipped in Label Studio: it is not labelled, and left out")
    raise ValueError("has no annotation that is not cancelled, and no prediction: it is not labelled, and left out")


def _minimal_results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of JSON-MIN, where a value stands beside its size, in a list by the name of its tag."""
    if "annotation_id" not in task and "annotator" not in task:
        raise ValueError("has neither annotations nor data: it is no task of Label Studio's")
    lists = [value for value in task.values() if isinstance(value, list)]
    return [{"value": entry} | entry for entries in lists for entry in entries if isinstance(entry, dict)]


def _is_cancelled(entry: dict[str, Any]) -> bool:
    return bool(entry.get("was_cancelled") or entry.get("skipped"))


def _time(entry: dict[str, Any]) -> str:
    return str(entry.get("updated_at") or entry.get("created_at") or "")


def _image_name(task: dict[str, Any]) -> str:
    """What a task says of where its image lies."""
    data = task.get("data", task)
    texts = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    named = {key: value for key, value in texts.items() if has_image_name(value)}
    if len(named) > 1 and "image" not in named:
        raise ValueError(f"has several images ({', '.join(named)}): label them in tasks of their own")
    if not named:
        raise ValueError("its data names no image file")
    return named.get("image", next(iter(named.values())))


def _regions(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Results that say something of one region, together; without those of the whole image."""
    regions: dict[str, list[dict[str, Any]]] = {}
    for index, result in enumerate(results):
        if isinstance(result.get("value"), dict):
            key = result.get("id")
            regions.setdefault(f"id {key}" if isinstance(key, str | int) else f"index {index}", []).append(result)
    return [region for region in regions.values() if _drawn(region)[0]]


def _drawn(region: list[dict[str, Any]]) -> tuple[str | None, dict[str, Any]]:
    """What a region was drawn with, and the value that says where it is; None if it is no region."""
    values = [result["value"] for result in region]
    drawn = ((kind, value) for value in values for key, kind in (REGIONS | OTHERS).items() if key in value)
    return next(drawn, (None, {}))


def _stated_size(regions: list[list[dict[str, Any]]]) -> tuple[int, int] | None:
    """(height, width) by the regions; None if they do not say."""
    sizes = {
        (whole_number(result.get("original_height"), "original_height"), whole_number(width, "original_width"))
        for region in regions
        for result in region
        if (width := result.get("original_width")) is not None
    }
    if len(sizes) > 1:
        listed = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise ValueError(f"its regions are of images of {listed}")
    return next(iter(sizes), None)


def _read_region(region: list[dict[str, Any]], size: tuple[int, int]) -> Shape:
    values = [result["value"] for result in region]
    turned = next((result["image_rotation"] for result in region if result.get("image_rotation")), 0)
    if turned:
        raise ValueError(
            f"the image was turned by {shown(turned)} degrees in Label Studio: turn it back there, or its file"
        )
    labels = [value[key] for value in values for key in value if re.fullmatch(r"[a-z]*labels", key)]
    names = [name for label in labels if isinstance(label, list) for name in label if isinstance(name, str)]
    notes: list[str] = []
    rle = _region_to_rle(*_drawn(region), *size, notes.append)
    return Shape(names[0] if names else UNNAMED, rle, notes=notes)


def _box(region: list[dict[str, Any]], size: tuple[int, int]) -> list[float] | None:
    """Box, xyxy, of a polygon's points; None of what is drawn otherwise, or is turned."""
    kind, value = _drawn(region)
    if kind != "polygon" or any(result.get("image_rotation") for result in region):
        return None
    return box_of_points((_points(value) * np.array(size[::-1]) / 100).ravel().tolist())


def _points(value: dict[str, Any]) -> Float[np.ndarray, "n 2"]:
    """A polygon's points, in percent of width and height."""
    return _bounded(flatten_points(value["points"])).reshape(-1, 2)


def _bounded(numbers: Any) -> Float[np.ndarray, "n"]:
    """Numbers that stay finite in pixels: 1e308 lies as far outside as 1e300."""
    return np.clip(np.array(numbers, dtype=float), -FARTHEST, FARTHEST)


def _region_to_rle(kind: str | None, value: dict[str, Any], height: int, width: int, note: Note) -> Rle:
    """RLE of a region, whose places are percent of width and height; it may be empty."""
    if kind == "brush":
        if value.get("format", "rle") != "rle":
            raise ValueError(f"brush of the format {shown(value.get('format'))}: it takes rle")
        return brush_to_rle(value["rle"], height, width)
    percent = np.array([width, height]) / 100
    if kind == "polygon":
        if value.get("closed") is False:
            raise ValueError("polygon is not closed: close it in Label Studio")
        return polygons_to_rle([(_points(value) * percent).ravel().tolist()], height, width, note)
    if kind not in ("ellipse", "rectangle"):
        raise ValueError(f"{kind} is no outline that can be read: draw a polygon, or use the brush")
    keys = ("x", "y", "radiusX", "radiusY") if kind == "ellipse" else ("x", "y", "width", "height")
    numbers = _bounded(as_numbers([value.get(key) for key in keys] + [value.get("rotation") or 0], kind))
    corner, sides = numbers[:2] * percent, numbers[2:4] * percent
    if kind == "ellipse":
        return ellipse_to_rle(corner.tolist(), sides.tolist(), float(numbers[4]), height, width, note)
    # Turned clockwise about its first corner, in pixels.
    turn = np.deg2rad(numbers[4])
    along, down = sides[0] * np.array([np.cos(turn), np.sin(turn)]), sides[1] * np.array([-np.sin(turn), np.cos(turn)])
    corners = [corner, corner + along, corner + along + down, corner + down]
    return polygons_to_rle([np.concatenate(corners).tolist()], height, width, note)
