"""The reader of COCO's JSON of images, annotations and categories: every entry is checked here, for every command.

An unsound entry is a problem that is collected, and the entry skipped (training, validating, converting); or it is an
error (evaluating, proposing for annotated images), since results on fewer instances would not be comparable.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.data.images import MAX_PIXELS
from instancefcn.data.segmentations import segmentation_to_rle
from instancefcn.data.source import Problem
from instancefcn.files import is_integer, path_inside
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import Rle, tight_boxes

DEFAULT_CATEGORIES = {1: "object"}  # of a file that has none
MEND = "`instancefcn validate` lists all that is wrong, `instancefcn convert` writes what is sound"


@dataclass(frozen=True)
class CocoImage:
    """A sound entry of ``images``."""

    place: str  # in the file: "images[3] (id 7)"
    image_id: int
    file_name: str  # with slashes, relative to the folder of images; "" where there is no folder
    path: Path | None
    size: tuple[int, int] | None  # (height, width); None where it is not stated


@dataclass(frozen=True)
class CocoAnnotation:
    """A sound entry of ``annotations``: its mask, or its box where boxes are asked for."""

    place: str
    annotation_id: int  # a free number where the file has none
    image_id: int
    category_id: int  # 0 where categories are not looked at
    region: Rle | Float[np.ndarray, "4"]  # a box is xywh
    stated_area: Any  # not checked; None where the file has none
    crowd: bool
    ignore: bool


class CocoReader:
    """Reads a COCO table entry by entry.

    Args:
        table: value of the JSON.
        source: name of the file, for messages.
        strict: raise a ValueError at the first image or instance that would be lost. Otherwise ``problems`` lists them.
        keys: lists that the table must have.

    Raises:
        ValueError: the table is not of COCO's form.
    """

    def __init__(
        self, table: Any, source: str, *, strict: bool = False, keys: Sequence[str] = ("images", "annotations")
    ) -> None:
        for key in keys:
            entries = table.get(key) if isinstance(table, dict) else None
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise ValueError(
                    f'{source}: has no list "{key}" of objects: COCO has images, annotations and categories'
                )
        self.table, self.source, self.strict = table, source, strict
        self.problems: list[Problem] = []
        annotations = table["annotations"] if "annotations" in keys else ()
        self._annotations_of = Counter(_whole_or_none(entry.get("image_id")) for entry in annotations)

    def categories(self) -> dict[int, str]:
        """Names of the categories by id. Where two share an id, the first one names it, and that is a problem."""
        names: dict[int, str] = {}
        entries = self.table.get("categories") or []
        for entry in entries if isinstance(entries, list) else []:
            category_id = _whole_or_none(entry.get("id")) if isinstance(entry, dict) else None
            if category_id is None:
                continue
            name = str(entry.get("name", category_id))
            if names.setdefault(category_id, name) != name:
                self.flaw(f"categories: id {category_id} is {names[category_id]} and {name}: each needs its own id")
        return names

    def images(self, folder: Path | None = None) -> list[CocoImage]:
        """Sound images, in the order of the file.

        Args:
            folder: where ``file_name`` starts from. Without one names are not looked at.
        """
        found: list[CocoImage] = []
        for index, entry in enumerate(self.table["images"]):
            place, image_id = f"images[{index}]", None
            try:
                image_id = whole_number(entry.get("id"), "id")
                place, name, path = f"{place} (id {image_id})", entry.get("file_name"), None
                if folder is not None:
                    if not isinstance(name, str) or not name:
                        raise ValueError("has no file_name")
                    path = path_inside(folder, name)
                    name = path.relative_to(folder).as_posix()
                found.append(CocoImage(place, image_id, name if path else "", path, _stated_size(entry)))
            except ValueError as error:
                self.lose_image(place, image_id, error)
        ids, users = Counter(image.image_id for image in found), defaultdict[Path | None, list[int]](list)
        for image in found:
            users[image.path].append(image.image_id)
        sound: list[CocoImage] = []
        for image in found:
            images, reason = users[image.path], None
            if ids[image.image_id] > 1:
                reason = f"duplicate id {image.image_id}: no image of this id can be used"
            elif image.path and len(images) > 1:
                both = " and ".join(map(str, sorted(images)))
                reason = f"{image.file_name} is images {both}: give all its labels one id"
            if reason is None:
                sound.append(image)
            else:
                self.lose_image(image.place, image.image_id, ValueError(reason))
        return sound

    def annotations(
        self, images: Iterable[CocoImage], categories: Mapping[int, str] | None = None, *, boxes: bool = False
    ) -> list[CocoAnnotation]:
        """Sound annotations of images that have a size, in the order of the file.

        Args:
            images: those whose annotations are wanted; what belongs to another image of the file is left out.
            categories: names by id; none to accept any category. Without them categories are not looked at.
            boxes: read ``bbox``, or the mask's box where there is none; a size is not needed then.
        """
        wanted = {image.image_id: image for image in images}
        known = {_whole_or_none(entry.get("id")) for entry in self.table["images"]}
        entries = self.table["annotations"]
        numbers = count(1 + max((_whole_or_none(entry.get("id")) or 0 for entry in entries), default=0))
        seen: set[int] = set()
        found: list[CocoAnnotation] = []
        for index, entry in enumerate(entries):
            place, annotation_id, image = f"annotations[{index}]", None, None
            try:
                if entry.get("id") is not None:
                    annotation_id = whole_number(entry["id"], "id")
                    place = f"{place} (id {annotation_id})"
                image_id = whole_number(entry.get("image_id"), "image_id")
                if image_id not in known:
                    raise ValueError(f"unknown image_id {image_id}: no image has it")
                image = wanted.get(image_id)
                if annotation_id in seen:
                    raise ValueError(f"duplicate id {annotation_id}: the first one is kept")
                number = next(numbers) if annotation_id is None else annotation_id
                seen.add(number)
                if image is not None:
                    category_id = _known_category(entry, categories) if categories is not None else 0
                    flags = [_flag(entry.get(key), key) for key in ("iscrowd", "ignore")]
                    region = self._region(entry, image.size, boxes)
                    ids = (number, image_id, category_id)
                    found.append(CocoAnnotation(place, *ids, region, entry.get("area"), *flags))
            except ValueError as error:
                self._lose(place, error, image, annotation_id)
        return found

    def lose_image(self, place: str, image_id: int | None, error: ValueError, *, path: Path | None = None) -> None:
        """Report an image that cannot be used; with ``path`` where its file is what is wrong."""
        lost = self._annotations_of[image_id] if image_id is not None else 0
        error = ValueError(f"{error} (its annotations, {lost}, are skipped too)") if lost and not self.strict else error
        if path is not None:
            self.problems.append(Problem.from_error(path, error))
        else:
            self._lose(place, error)

    def flaw(self, reason: str) -> None:
        """Report what is wrong with the file as a whole."""
        if self.strict:
            raise ValueError(f"{self.source}: {reason}")
        self.problems.append(Problem(self.source, None, reason))

    def _region(self, entry: dict[str, Any], size: tuple[int, int] | None, boxes: bool) -> Rle | Float[np.ndarray, "4"]:
        """Mask of an annotation, or its box, xywh."""
        if boxes and entry.get("bbox"):
            return parse_box(entry["bbox"])
        try:
            if size is None:
                raise ValueError("its image has no width and height, which a mask needs")
            rle = segmentation_to_rle(entry.get("segmentation"), *size)
        except ValueError as error:
            if self.strict and entry.get("bbox"):
                raise ValueError(f"{error}; or compare boxes: --iou bbox") from error
            raise
        return xyxy_to_xywh(tight_boxes([rle]))[0] if boxes else rle

    def _lose(
        self, place: str, error: ValueError, image: CocoImage | None = None, annotation_id: int | None = None
    ) -> None:
        if self.strict:
            raise ValueError(f"{self.source}: {place}: {error}; {MEND}") from error
        file = self.source if image is None or image.path is None else str(image.path)
        reason = f"{place}: {error}" if annotation_id is None else str(error)
        self.problems.append(Problem(file, annotation_id, reason))


def whole_number(value: Any, what: str) -> int:
    """Convert an id or a size; some tools write 160.0 or "160"."""
    number = _whole_or_none(value)
    if number is None:
        raise ValueError(f"{what} {value!r:.100} is no whole number")
    return number


def parse_box(bbox: Any) -> Float[np.ndarray, "4"]:
    """Box, xywh, of a COCO ``bbox``: four finite numbers, the last two not negative."""
    try:
        box_xywh = np.asarray(bbox, dtype=float)
    except (TypeError, ValueError):
        box_xywh = np.zeros(0)
    if box_xywh.shape != (4,) or not np.isfinite(box_xywh).all() or box_xywh[2:].min() < 0:
        raise ValueError(f"bbox {bbox!r} is not [x, y, width, height], finite and with width and height >= 0")
    return box_xywh


def _known_category(entry: dict[str, Any], categories: Mapping[int, str]) -> int:
    category_id = _whole_or_none(entry.get("category_id", next(iter(DEFAULT_CATEGORIES))))
    if category_id is None or (categories and category_id not in categories):
        raise ValueError(f"unknown category_id {entry.get('category_id')}: no category has it")
    return category_id


def _stated_size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of an image's entry; None if it has neither."""
    if entry.get("height") is None and entry.get("width") is None:
        return None
    height, width = (_whole_or_none(entry.get(key)) for key in ("height", "width"))
    if height is None or width is None or min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"{entry.get('width')} x {entry.get('height')} is no size of an image")
    return height, width


def _whole_or_none(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if is_integer(value) else None


def _flag(value: Any, what: str) -> bool:
    """A mark such as ``iscrowd``: 0 or 1, as a number, a boolean or text."""
    number = 0 if value is None else int(value) if isinstance(value, bool) else _whole_or_none(value)
    if number not in (0, 1):
        raise ValueError(f"{what} {value!r:.100} is neither 0 nor 1")
    return bool(number)
