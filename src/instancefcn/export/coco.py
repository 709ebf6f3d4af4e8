"""COCO: one JSON file, masks as run-length codes, or as polygons on request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from instancefcn.data.source import Labels
from instancefcn.export.polygons import flat, holes, rings, to_polygons
from instancefcn.export.writer import LabelledObject, OneFileWriter, Place
from instancefcn.files import write_whole
from instancefcn.geometry.rle import area, to_json


class CocoWriter(OneFileWriter):
    """Writer of a COCO file of instances, such as pycocotools and ``instancefcn evaluate`` read.

    Annotations are numbered from 1: pycocotools takes a match with annotation 0 for none. Images and categories keep
    their ids. What is not to be judged is a crowd, too. Each annotation has ``ignore`` besides COCO's keys, and
    ``score`` where there is one.

    Args:
        polygons: write masks without holes as polygons, one for each part; COCO's polygons can't have holes, so the
            others stay run-length codes, as crowds do.
    """

    tool = "COCO"
    holds_unknown = True  # as crowds that are not to be judged, so that training on the file leaves them aside, too

    def __init__(self, place: Place, categories: Mapping[int, str], *, polygons: bool = False) -> None:
        super().__init__(place, categories)
        self.polygons = polygons
        self.images_json: list[str] = []
        self.annotations_json: list[str] = []  # as text, which takes a third of the memory

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        self.images_json.append(dumps(self.image(labels)))
        for found in objects:
            number = len(self.annotations_json) + 1
            self.annotations_json.append(dumps({"id": number, "image_id": labels.image_id} | self.annotation(found)))

    def write_file(self) -> None:
        categories = [dumps(self.category(number, name)) for number, name in self.categories.items()]
        lists = {"images": self.images_json, "annotations": self.annotations_json, "categories": categories}
        parts = [f'"{key}":[{",".join(items)}]' for key, items in lists.items()]
        write_whole(self.place.out, "{" + ",".join(self.head() + parts) + "}")

    def head(self) -> list[str]:
        """What stands before the images, as members of a JSON object."""
        return []

    def image(self, labels: Labels) -> dict[str, Any]:
        size = {"width": labels.width, "height": labels.height}
        return {"id": labels.image_id, "file_name": labels.file_name} | size

    def category(self, category_id: int, name: str) -> dict[str, Any]:
        return {"id": category_id, "name": name}

    def annotation(self, found: LabelledObject) -> dict[str, Any]:
        left, top, right, bottom = found.box_xyxy
        score = {} if found.score is None else {"score": found.score}
        return {
            "category_id": found.category_id,
            "segmentation": self.segmentation(found),
            "bbox": [left, top, right - left, bottom - top],
            "area": int(area(found.rle)),
            "iscrowd": int(found.crowd or found.ignore),  # all that pycocotools looks at
            "ignore": int(found.ignore),
        } | score

    def segmentation(self, found: LabelledObject) -> Any:
        polygons = outline_without_holes(found, self.place.tolerance) if self.polygons else None
        return to_json(found.rle) if polygons is None else polygons


def outline_without_holes(found: LabelledObject, tolerance: float) -> list[list[float]] | None:
    """COCO's polygons of an object, ``[x, y, x, y, ...]`` for each part; None of one that has holes, or of a crowd."""
    if found.crowd:
        return None
    outline = to_polygons(found.rle, tolerance)
    return None if holes(outline) else [flat(rings(part)[0]) for part in outline.geoms]


def dumps(value: Any) -> str:
    """JSON without spaces; NaN, which JSON lacks, is an error."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
