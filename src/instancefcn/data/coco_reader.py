"""The reader of COCO's JSON of images, annotations and categories: every entry is checked here, for every command.

An unsound entry is a problem that is collected, and the entry skipped (training, validating, converting); or it is an
error (evaluating, proposing for annotated images), since results on fewer instances would not be comparable.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.data.coco_entries import (
    CocoAnnotation,
    CocoImage,
    corners,
    flag,
    is_box_inside,
    parse_box,
    place_of,
    same,
    stated_name,
    stated_size,
    whole_number,
)
from instancefcn.data.coco_table import AnnotationEntry, Entry, texts_and_sizes
from instancefcn.data.crowds import is_one_part
from instancefcn.data.polygon_texts import masks_of_texts
from instancefcn.data.polygons import Note
from instancefcn.data.segmentations import pixels_of_box, segmentation_to_rle
from instancefcn.data.source import UNNAMED, Problem
from instancefcn.file_names import is_plain_name, path_inside
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import Rle, tight_boxes
from instancefcn.values import shown, whole_or_none

LARGE = 2**62  # ids from here on leave room for no more
MEND = "`instancefcn validate` lists all that is wrong, `instancefcn convert` writes what is sound"


def refuse_results(table: Any, source: str) -> None:
    """Refuse the value of a JSON that is COCO results, which list no images, by a ValueError that says what to do."""
    if isinstance(table, list) and any(isinstance(one, dict) and "image_id" in one for one in table):
        raise ValueError(
            f"{source}: these are results, not annotations: `propose --to coco --out FILE.json` writes annotations"
        )


class CocoReader:
    """Reads a COCO table entry by entry.

    Args:
        table: value of the JSON.
        source: name of the file, for messages.
        strict: raise a ValueError at the first image or instance that would be lost. Otherwise ``problems`` lists them.
        keys: lists that the table must have.
        crowds_of_one_part: a crowd whose mask is one connected part is an instance (``crowds``).

    Raises:
        ValueError: the table is not of COCO's form.
    """

    def __init__(
        self,
        table: Any,
        source: str,
        *,
        strict: bool = False,
        keys: Sequence[str] = ("images", "annotations"),
        crowds_of_one_part: bool = False,
    ) -> None:
        refuse_results(table, source)
        for key in keys:
            entries = table.get(key) if isinstance(table, dict) else None
            if not isinstance(entries, list) or not all(isinstance(entry, Entry) for entry in entries):
                raise ValueError(
                    f'{source}: has no list "{key}" of objects: COCO has images, annotations and categories'
                )
        self.table, self.source, self.strict = table, source, strict
        self.crowds_of_one_part = crowds_of_one_part
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []  # what was mended, or not used
        self.rejected: dict[int, list[Rle | None]] = defaultdict(list)  # by image: where lost instances lie, if known
        self.unlisted: dict[int, str] = {}  # names that annotations give to categories which the file does not list
        annotations = table["annotations"] if "annotations" in keys else ()
        self._annotations_of = Counter(whole_or_none(entry.get("image_id")) for entry in annotations)

    def categories(self) -> dict[int, str]:
        """Names of the categories by id, all different.

        Where two share an id, the first one names it; where two share a name, it gets the id of the later one besides.
        Both are problems; where instances are counted by id, only the first is an error.
        """
        names: dict[int, str] = {}
        entries = self.table.get("categories")
        if entries is not None and not isinstance(entries, list):
            self.flaw(f"categories must be a list of {{id, name}}, not {shown(entries)}")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            category_id = whole_or_none(entry.get("id")) if isinstance(entry, dict) else None
            if category_id is None:
                self.flaw(f"categories[{index}]: {shown(entry)} has no id that is a whole number: it is left out")
                continue
            stated = entry.get("name")
            name = stated if isinstance(stated, str) else str(category_id) if stated is None else shown(stated)
            if category_id in names and names[category_id] != name:
                self.flaw(f"categories: id {category_id} is {names[category_id]} and {name}: each needs its own id")
            names.setdefault(category_id, name)
        of_name: dict[str, int] = {}
        for category_id, name in names.items():
            first = of_name.setdefault(name, category_id)
            if first != category_id:
                names[category_id] = f"{name} ({category_id})"
                if not self.strict:
                    self.flaw(f"categories: ids {first} and {category_id} are both {name}: counted apart")
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
                place, name, path = f"{place} (id {image_id})", "", None
                if folder is not None:
                    name = stated_name(entry, folder)
                    path = path_inside(folder, name)
                    name = name if is_plain_name(name) else path.relative_to(folder).as_posix()
                found.append(CocoImage(place, image_id, name, path, stated_size(entry)))
            except ValueError as error:
                self.lose_image(place, image_id, error)
        ids, users = Counter(image.image_id for image in found), defaultdict[Path | None, list[int]](list)
        for image in found:
            users[image.path].append(image.image_id)
        sound: list[CocoImage] = []
        for image in found:
            if ids[image.image_id] > 1:
                error = ValueError(f"duplicate id {image.image_id}: no image of this id can be used")
            elif image.path and len(users[image.path]) > 1:
                both = " and ".join(map(str, sorted(users[image.path])))
                error = ValueError(f"{image.file_name} is images {both}: give all its labels one id")
            else:
                sound.append(image)
                continue
            self.lose_image(image.place, image.image_id, error)
        return sound

    def annotations(
        self,
        images: Iterable[CocoImage],
        categories: Mapping[int, str] | None = None,
        *,
        boxes: bool = False,
        codes: Iterable[bytes] | None = None,
    ) -> list[CocoAnnotation]:
        """Sound annotations of images that have a size, in the order of the file.

        Args:
            images: those whose annotations are wanted; what belongs to another image of the file is left out.
            categories: names by id; none to accept any category. Without them categories are not looked at.
            boxes: read ``bbox``, or the mask's box where there is none; a size is not needed then.
            codes: what ``codes`` gave; the table holds no segmentation any more that has one.
        """
        wanted = {image.image_id: image for image in images}
        known = {whole_or_none(entry.get("id")) for entry in self.table["images"]}
        entries = self.table["annotations"]
        ids = {whole_or_none(entry.get("id")) or 0 for entry in entries}
        numbers = count(1 + max((number for number in ids if number < LARGE), default=0))  # of those without an id
        first_of: dict[int, CocoAnnotation | None] = {}  # by id
        found: list[CocoAnnotation] = []
        for index, (entry, code) in enumerate(zip(entries, self._settled(codes), strict=False)):
            place, annotation_id, image = f"annotations[{index}]", None, None
            try:
                image_id = whole_or_none(entry.get("image_id"))
                image = wanted.get(image_id) if image_id is not None else None
                annotation_id = whole_or_none(entry.get("id"))
                if annotation_id is not None:
                    place = f"{place} (id {annotation_id})"
                image_id = whole_number(entry.get("image_id"), "image_id")
                if image_id not in known:
                    raise ValueError(f"unknown image_id {image_id}: no image has it")
                number = next(numbers) if annotation_id is None or annotation_id in first_of else annotation_id
                if image is None:
                    first_of.setdefault(number, None)
                    continue
                note = partial(self._note, place, image, annotation_id)
                category_id = self._category(entry, categories, note) if categories is not None else 0
                if annotation_id is None and entry.get("id") is not None:
                    note(f"id {shown(entry.get('id'))} is no whole number: taken for id {number}")
                crowd, ignore = self._flags(entry, image.size)
                region = self._region(entry, image.size, boxes, code, note)
                annotation = CocoAnnotation(
                    place, number, image_id, category_id, region, entry.get("area"), crowd=crowd, ignore=ignore
                )
                if number != annotation_id and annotation_id is not None:
                    if same(annotation, first_of[annotation_id]):
                        note("the same as another of this id: left out")
                        continue
                    note(f"duplicate id {annotation_id}: taken for id {number}")
                first_of[number] = annotation
                found.append(annotation)
            except ValueError as error:
                self._lose(place, error, image, annotation_id)
                if image is not None and image.size is not None:
                    self.rejected[image.image_id].append(place_of(entry, *image.size))
        return found

    def codes(self, images: Iterable[CocoImage]) -> Iterator[bytes] | None:
        """Start to make the masks of a large table's annotations, where they are plainly sound: codes, or no bytes.

        None where the table is none of ``parse_table``. Python is left to others meanwhile.

        Args:
            images: with the sizes that the file states.
        """
        entries = self.table["annotations"]
        if not entries or not isinstance(entries[0], AnnotationEntry):
            return None
        sizes = {image.image_id: image.size for image in images if image.size is not None}
        return masks_of_texts(*texts_and_sizes(entries, sizes))

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

    def _category(self, entry: Any, categories: Mapping[int, str], note: Note) -> int:
        """Category of an annotation. A mask is as good without one: then it gets one of its own."""
        stated = entry.get("category_id")
        category_id = whole_or_none(stated)
        if category_id is not None and category_id in categories:
            return category_id
        named = [key for key, name in categories.items() if name == stated or (stated is None and len(categories) == 1)]
        if named:
            return named[0]
        if categories or (category_id is None and stated is not None):
            if self.strict:
                raise ValueError(f"unknown category_id {shown(stated)}: no category has it")
            note(f"unknown category_id {shown(stated)}: no category has it; the mask is kept")
        if stated is None or category_id == 1:
            name = UNNAMED
        else:
            name = shown(stated) if category_id is None else str(category_id)
        if category_id is None:
            of_name = {name: key for key, name in self.unlisted.items()}
            category_id = of_name.get(name, 1 + max([0, *categories, *self.unlisted]))
        self.unlisted[category_id] = name
        return category_id

    def _region(
        self, entry: Any, size: tuple[int, int] | None, boxes: bool, code: bytes, note: Note
    ) -> Rle | Float[np.ndarray, "4"]:
        """Mask of an annotation, or its box, xywh.

        Args:
            code: of its mask; no bytes where that is to be made.
        """
        bbox = entry.get("bbox")
        if boxes and bbox:
            return parse_box(bbox)
        try:
            if size is None:
                raise ValueError("its image has no width and height, which a mask needs; convert writes them")
            if code:
                rle = Rle(size=list(size), counts=code)
            else:
                rle = segmentation_to_rle(entry.get("segmentation"), *size, note)
        except ValueError as error:
            if self.strict and bbox:
                raise ValueError(f"{error}; or compare boxes: --iou bbox") from error
            raise
        if bbox is not None and not is_box_inside(bbox, *size) and pixels_of_box(corners(bbox), *size) is None:
            note(f"bbox {shown(bbox)} is no box in the image of {size[1]} x {size[0]}: it is not used")
        return xyxy_to_xywh(tight_boxes([rle]))[0] if boxes else rle

    def _flags(self, entry: Any, size: tuple[int, int] | None) -> tuple[bool, bool]:
        """Whether an annotation is a crowd, which one connected part may not be, and whether it is to be ignored."""
        crowd, ignore = (flag(entry.get(key), key) for key in ("iscrowd", "ignore"))
        if not crowd or ignore or not self.crowds_of_one_part or size is None:
            return crowd, ignore
        try:
            return not is_one_part(segmentation_to_rle(entry.get("segmentation"), *size)), ignore
        except ValueError:  # where its box is asked for
            return crowd, ignore

    def _settled(self, codes: Iterable[bytes] | None) -> Iterable[bytes]:
        """The code of each annotation, while the file itself is let go of."""
        if codes is None:
            return repeat(b"")
        settled = list(codes)
        for entry, code in zip(self.table["annotations"], settled, strict=True):
            entry.let_go(read=bool(code) and entry.iscrowd in (None, 0, 1) and entry.ignore in (None, 0, 1))
        return settled

    def _note(self, place: str, image: CocoImage, annotation_id: int | None, reason: str) -> None:
        file = self.source if image.path is None else str(image.path)
        text = f"{place}: {reason}" if annotation_id is None else reason
        self.notes.append(Problem(file, annotation_id, text))

    def _lose(
        self, place: str, error: ValueError, image: CocoImage | None = None, annotation_id: int | None = None
    ) -> None:
        if self.strict:
            raise ValueError(f"{self.source}: {place}: {error}; {MEND}") from error
        file = self.source if image is None or image.path is None else str(image.path)
        reason = f"{place}: {error}" if annotation_id is None else str(error)
        self.problems.append(Problem(file, annotation_id, reason))
