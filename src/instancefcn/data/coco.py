"""COCO instances: one JSON of images, annotations and categories."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instancefcn.data.images import MAX_PIXELS, inspect_image
from instancefcn.data.problems import Problem
from instancefcn.data.segmentations import check_box, segmentation_to_rle, to_instances
from instancefcn.data.source import FileSource, Labels, existing_dir
from instancefcn.structures import Rle

DEFAULT_CATEGORIES = {1: "object"}  # of a file that has none


@dataclass(frozen=True)
class Annotation:
    """One sound annotation."""

    id: int
    category_id: int
    rle: Rle
    crowd: bool
    ignore: bool


def load_coco(annotations: Path, images_dir: Path, *, name: str, partial: bool = False) -> FileSource:
    """Open a COCO file.

    Raises:
        ValueError: the file or the folder is missing, or the file is not of COCO's form.
    """
    table = read_coco_json(annotations)
    existing_dir(images_dir, f"the images of {annotations}")
    categories = {
        entry["id"]: str(entry.get("name", entry["id"]))
        for entry in table.get("categories") or []
        if isinstance(entry, dict) and _is_integer(entry.get("id"))
    }
    images, problems = _check_images(table["images"], annotations, images_dir)
    known = images.keys() | {entry.get("id") for entry in table["images"] if isinstance(entry, dict)}

    kept: dict[int, list[Annotation]] = defaultdict(list)
    seen: set[int] = set()
    for entry in table["annotations"]:
        image_id: Any = entry.get("image_id") if isinstance(entry, dict) else None
        image = images.get(image_id) if _is_integer(image_id) else None
        try:
            annotation_id = _claim_id(entry, seen)
            if image is not None:
                kept[image.image_id].append(_check_annotation(entry, annotation_id, image, categories))
            elif not _is_integer(image_id) or image_id not in known:
                raise ValueError(f"unknown image_id {image_id}: no image has it")
        except ValueError as error:
            file = annotations if image is None else image.path
            annotation_id = entry.get("id") if isinstance(entry, dict) else None
            problems.append(Problem(str(file), annotation_id if _is_integer(annotation_id) else None, str(error)))
    labels = [replace(image, instances=_instances(kept[image.image_id])) for image in images.values()]
    return FileSource(name, partial, categories or DEFAULT_CATEGORIES, labels, problems)


def read_coco_json(path: Path) -> dict[str, Any]:
    """The table of a COCO file.

    Raises:
        ValueError: it is missing, is no JSON, or lacks ``images`` or ``annotations``.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error
    for key in ("images", "annotations"):
        if not isinstance(table, dict) or not isinstance(table.get(key), list):
            raise ValueError(f'{path}: has no list "{key}": COCO instances have images, annotations and categories')
    return table


def path_inside(folder: Path, file_name: str) -> Path:
    """Path of a file in a folder, by a name that a data file gives.

    Raises:
        ValueError: the name leads out of the folder.
    """
    path = Path(os.path.normpath(folder / file_name))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise ValueError(f"file name {file_name!r} leads out of {folder}")
    return path


def _check_images(entries: list[Any], annotations: Path, images_dir: Path) -> tuple[dict[int, Labels], list[Problem]]:
    """Sound images by id, without instances."""
    images: dict[int, Labels] = {}
    problems: list[Problem] = []
    seen: set[int] = set()
    for number, entry in enumerate(entries):
        try:
            image_id = _claim_id(entry, seen)
            file_name = entry.get("file_name")
            if not isinstance(file_name, str) or not file_name:
                raise ValueError(f"image {image_id} has no file_name")
            path = path_inside(images_dir, file_name)
        except ValueError as error:
            problems.append(Problem(f"{annotations}: images[{number}]", None, str(error)))
            continue
        try:
            height, width = inspect_image(path, _stated_size(entry))
            images[image_id] = Labels(image_id, file_name, path, height, width, to_instances([], [], []))
        except ValueError as error:
            problems.append(Problem(str(path), None, str(error).removeprefix(f"{path}: ")))
    return images, problems


def _stated_size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of an image's entry; None if it has neither."""
    height: Any = entry.get("height")
    width: Any = entry.get("width")
    if height is None and width is None:
        return None
    if not _is_integer(height) or not _is_integer(width) or not 0 < height * width <= MAX_PIXELS or height < 0:
        raise ValueError(f"height {height} and width {width} are no size of an image")
    return height, width


def _check_annotation(
    entry: dict[str, Any], annotation_id: int, image: Labels, categories: dict[int, str]
) -> Annotation:
    category_id = entry.get("category_id", 1)
    if not _is_integer(category_id) or (categories and category_id not in categories):
        raise ValueError(f"unknown category_id {category_id}: no category has it")
    check_box(entry.get("bbox"), image.height, image.width)
    rle = segmentation_to_rle(entry.get("segmentation"), image.height, image.width)
    return Annotation(annotation_id, category_id, rle, bool(entry.get("iscrowd")), bool(entry.get("ignore")))


def _claim_id(entry: Any, seen: set[int]) -> int:
    """The id of an entry, not seen before.

    Raises:
        ValueError: it has none, or another entry has it already.
    """
    if not isinstance(entry, dict) or not _is_integer(entry.get("id")):
        raise ValueError("has no whole number as id")
    if entry["id"] in seen:
        raise ValueError(f"duplicate id {entry['id']}: an earlier one is kept")
    seen.add(entry["id"])
    return entry["id"]


def _instances(annotations: list[Annotation]) -> Any:
    return to_instances(
        [annotation.id for annotation in annotations],
        [annotation.rle for annotation in annotations],
        [annotation.category_id for annotation in annotations],
        [annotation.crowd for annotation in annotations],
        [annotation.ignore for annotation in annotations],
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
