"""COCO instances: one JSON of images, annotations and categories."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instancefcn.data.images import MAX_PIXELS, inspect_image
from instancefcn.data.problems import Problem
from instancefcn.data.segmentations import check_box, segmentation_to_rle, to_instances
from instancefcn.data.source import FileSource, Labels
from instancefcn.files import existing_dir, is_integer, path_inside, read_json
from instancefcn.geometry.rle import Rle
from instancefcn.structures import Instances

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
        if isinstance(entry, dict) and is_integer(entry.get("id"))
    }
    per_image = Counter(_image_id(entry) for entry in table["annotations"])
    images, problems = _check_images(table["images"], per_image, annotations, images_dir)
    known = {entry["id"] for entry in table["images"] if isinstance(entry, dict) and is_integer(entry.get("id"))}

    kept: dict[int, list[Annotation]] = defaultdict(list)
    seen: set[int] = set()
    for entry in table["annotations"]:
        image_id = _image_id(entry)
        image = images.get(image_id) if image_id is not None else None
        try:
            if image_id not in known:
                raise ValueError(f"unknown image_id {entry.get('image_id')}: no image has it")
            annotation_id = _claim_id(entry, seen)
            if image is not None:
                kept[image.image_id].append(_check_annotation(entry, annotation_id, image, categories))
        except ValueError as error:
            file = annotations if image is None or image.path is None else image.path
            problems.append(Problem.from_error(file, error, entry["id"] if is_integer(entry.get("id")) else None))
    labels = [replace(image, instances=_instances(kept[image.image_id])) for image in images.values()]
    return FileSource(name, partial, categories or DEFAULT_CATEGORIES, labels, problems)


def read_coco_json(path: Path) -> dict[str, Any]:
    """The table of a COCO file; its annotations are objects at least.

    Raises:
        ValueError: it is missing, is no JSON, or lacks ``images`` or ``annotations``.
    """
    table = read_json(path)
    for key in ("images", "annotations"):
        entries = table.get(key) if isinstance(table, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f'{path}: has no list "{key}" of objects: COCO has images, annotations and categories')
    return table


def _check_images(
    entries: list[dict[str, Any]], annotations_per_image: Counter[int | None], annotations: Path, images_dir: Path
) -> tuple[dict[int, Labels], list[Problem]]:
    """Sound images by id, without instances yet."""
    images: dict[int, Labels] = {}
    problems: list[Problem] = []
    uses = Counter(entry["id"] for entry in entries if is_integer(entry.get("id")))
    for number, entry in enumerate(entries):
        path = annotations
        try:
            image_id, file_name = entry.get("id"), entry.get("file_name")
            if not is_integer(image_id):
                raise ValueError(f"images[{number}]: id {image_id} is no whole number")
            if not isinstance(file_name, str) or not file_name:
                raise ValueError(f"images[{number}] (id {image_id}): has no file_name")
            if uses[image_id] > 1:  # whose annotations are whose?
                raise ValueError(f"images[{number}]: duplicate id {image_id}: no image of this id can be used")
            size = _stated_size(entry, number)
            path = path_inside(images_dir, file_name)
            height, width = inspect_image(path, size)
            images[image_id] = Labels(image_id, file_name, path, height, width, to_instances([], [], []))
        except ValueError as error:
            lost = annotations_per_image[_image_id({"image_id": entry.get("id")})]
            skipped = f" (its annotations, {lost}, are skipped too)" if lost else ""
            problems.append(Problem.from_error(path, ValueError(f"{error}{skipped}")))
    return images, problems


def _stated_size(entry: dict[str, Any], number: int) -> tuple[int, int] | None:
    """(height, width) of an image's entry; None if it has neither."""
    height: Any = entry.get("height")
    width: Any = entry.get("width")
    if height is None and width is None:
        return None
    if not is_integer(height) or not is_integer(width) or min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"images[{number}] (id {entry['id']}): {width} x {height} is no size of an image")
    return height, width


def _check_annotation(
    entry: dict[str, Any], annotation_id: int, image: Labels, categories: dict[int, str]
) -> Annotation:
    category_id = entry.get("category_id", next(iter(DEFAULT_CATEGORIES)))
    if not is_integer(category_id) or (categories and category_id not in categories):
        raise ValueError(f"unknown category_id {category_id}: no category has it")
    check_box(entry.get("bbox"), image.height, image.width)
    rle = segmentation_to_rle(entry.get("segmentation"), image.height, image.width)
    return Annotation(annotation_id, category_id, rle, bool(entry.get("iscrowd")), bool(entry.get("ignore")))


def _claim_id(annotation: dict[str, Any], seen: set[int]) -> int:
    annotation_id = annotation.get("id")
    if not is_integer(annotation_id):
        raise ValueError(f"id {annotation_id} is no whole number")
    if annotation_id in seen:
        raise ValueError(f"duplicate id {annotation_id}: the first one is kept")
    seen.add(annotation_id)
    return annotation_id


def _image_id(annotation: dict[str, Any]) -> int | None:
    image_id = annotation.get("image_id")
    return image_id if is_integer(image_id) else None


def _instances(annotations: list[Annotation]) -> Instances:
    return to_instances(
        [annotation.id for annotation in annotations],
        [annotation.rle for annotation in annotations],
        [annotation.category_id for annotation in annotations],
        [annotation.crowd for annotation in annotations],
        [annotation.ignore for annotation in annotations],
    )
