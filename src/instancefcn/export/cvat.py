"""CVAT: COCO 1.0, as its importer reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from instancefcn.data.source import Labels
from instancefcn.export.coco import CocoWriter, dumps, outline_without_holes
from instancefcn.export.writer import LabelledObject, Place
from instancefcn.geometry.rle import run_ends


class CvatWriter(CocoWriter):
    """Writer of CVAT's "COCO 1.0": upload it with a task's "Upload annotations".

    An object becomes polygons, one for each part, which CVAT puts into a group; one with holes becomes a mask, written
    as uncompressed run lengths, as CVAT writes its own. CVAT writes ``iscrowd`` 1 for masks, and reads the shape from
    the segmentation alone; here it is 1 for crowds only, which have the attribute ``crowd``, too. A score becomes the
    attribute ``score``, where the label in CVAT has one. Category ids start at 1, since CVAT's importer takes 0 for no
    label.
    """

    tool = "CVAT"
    holds_unknown = False
    turns_upright = True

    def __init__(self, place: Place, categories: Mapping[int, str]) -> None:
        self.shift = max(0, 1 - min(categories, default=1))
        super().__init__(place, categories)

    def head(self) -> list[str]:
        info = {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""}
        return [f'"licenses":{dumps([{"name": "", "id": 0, "url": ""}])}', f'"info":{dumps(info)}']

    def image(self, labels: Labels) -> dict[str, Any]:
        more = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
        return super().image(labels) | more

    def category(self, category_id: int, name: str) -> dict[str, Any]:
        return {"id": category_id + self.shift, "name": name, "supercategory": ""}

    def annotation(self, found: LabelledObject) -> dict[str, Any]:
        annotation = super().annotation(found)
        del annotation["ignore"]
        return annotation | {
            "category_id": found.category_id + self.shift,
            "attributes": {"occluded": False} | ({"crowd": True} if annotation["iscrowd"] else {}),
        }

    def segmentation(self, found: LabelledObject) -> Any:
        polygons = outline_without_holes(found, self.place.tolerance)
        if polygons is not None:
            return polygons
        ends, _ = run_ends([found.rle["counts"]])
        return {"size": [int(side) for side in found.rle["size"]], "counts": np.diff(ends, prepend=0).tolist()}
