"""labelme and X-AnyLabeling: a JSON file of shapes for each image."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from instancefcn.data.source import Labels
from instancefcn.drawing import encoded
from instancefcn.export.polygons import holes, rings, to_polygons
from instancefcn.export.writer import LabelledObject, Writer, relative_path
from instancefcn.geometry.runs import near_box


class LabelmeWriter(Writer):
    """Writer of ``STEM.json``, as labelme opens it.

    ``imagePath`` is the way from there to the image, so labelme opens the files wherever they lie; in the images' own
    folder it finds them by itself. Parts of one object are polygons of one ``group_id``. An object with holes is a
    shape of the type "mask", all parts in one. Crowds have the flag "iscrowd", what is not to be judged "ignore".
    """

    tool = "labelme"
    names_image = True
    turns_upright = True
    version = "5.5.0"  # of labelme: the first with all that is written here
    holds_scores = False
    holds_holes = True  # as masks

    def check_name(self, file_name: str, path: Path | None) -> None:
        super().check_name(file_name, path)
        try:
            (file_name if path is None else os.path.relpath(path, self.place.out)).encode()
        except UnicodeEncodeError:
            raise ValueError(f"its name is no UTF-8, and {self.tool}'s files have no other: rename it") from None

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        path = self.path(labels)
        table = {
            "version": self.version,
            "flags": {},
            "shapes": [shape for found in objects for shape in self.shapes(found)],
            "imagePath": self._image_path(labels, path),
            "imageData": None,
            "imageHeight": labels.height,
            "imageWidth": labels.width,
        }
        self.put(path, json.dumps(table, ensure_ascii=False, allow_nan=False, indent=2))

    def shapes(self, found: LabelledObject) -> list[dict[str, Any]]:
        """The shapes of one object."""
        outline = to_polygons(found.rle, self.place.tolerance)
        if holes(outline) and self.holds_holes:
            return [self.shape(found, "mask", *_mask(found))]
        self.leave_out("hole", holes(outline))
        group = found.number if len(outline.geoms) > 1 else None
        return [self.shape(found, "polygon", rings(part)[0]) | {"group_id": group} for part in outline.geoms]

    def shape(self, found: LabelledObject, kind: str, points: Any, mask: str | None = None) -> dict[str, Any]:
        """One shape; ``points`` are pixels."""
        return {
            "label": found.category,
            "points": points,
            "group_id": None,
            "description": "",
            "shape_type": kind,
            "flags": {name: True for name, is_so in (("iscrowd", found.crowd), ("ignore", found.ignore)) if is_so},
            "mask": mask,
        }

    def _image_path(self, labels: Labels, path: Path) -> str:
        if labels.path is None:
            return labels.file_name
        if labels.path.suffix.lower() == ".json":
            self.leave_out("image that another labelme file embeds")
            return labels.file_name
        return relative_path(labels.path, path.parent)


def _mask(found: LabelledObject) -> tuple[list[list[float]], str]:
    """First and last pixel of the box, and the mask between them as a PNG, base64."""
    rows, columns, crop = near_box(found.rle, 0)
    content = encoded(Image.fromarray(crop.astype(np.uint8)), "png")
    points = [[float(columns.start), float(rows.start)], [float(columns.stop - 1), float(rows.stop - 1)]]
    return points, base64.b64encode(content).decode("ascii")
