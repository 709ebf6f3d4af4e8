"""Label Studio: one JSON file of tasks with pre-annotations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from instancefcn.data.source import Labels
from instancefcn.export.brush import to_brush_code
from instancefcn.export.coco import dumps
from instancefcn.export.polygons import holes, rings, to_polygons
from instancefcn.export.writer import LabelledObject, OneFileWriter, Place, images_root
from instancefcn.files import write_whole
from instancefcn.geometry.runs import near_box

IMAGE, POLYGON, BRUSH = "image", "polygon", "brush"  # names of the tags in the labelling configuration


class LabelStudioWriter(OneFileWriter):
    """Writer of tasks for Label Studio's "Import".

    Objects with scores are ``predictions``, which a person accepts or corrects; objects without are ``annotations``. An
    object of one part without holes is a polygon, in percent of the image; any other is a brush mask, since a polygon
    there has one ring. The project needs both tags: ``notes`` has its labelling configuration.

    An image is named ``/data/local-files/?d=FOLDER/NAME``, by its folder and its name in it, so Label Studio has to be
    started with ``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true`` and ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` set to
    what FOLDER lies in, and to have FOLDER as a source storage of local files (its guide, "Local storage").
    """

    tool = "Label Studio"
    holds_crowds = False
    turns_upright = True

    def __init__(self, place: Place, categories: Mapping[int, str]) -> None:
        super().__init__(place, categories)
        self.tasks: list[str] = []
        self.roots: set[Path] = set()  # what the folders of images lie in

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        root = images_root(labels)
        name = labels.file_name
        if root is not None:
            self.roots.add(root.parent)
            name = f"{root.name}/{name}"
        scores = [found.score for found in objects if found.score is not None]
        made: dict[str, Any] = {"result": [self._result(found, labels) for found in objects]}
        if self.scored:
            made |= {"model_version": "instancefcn", "score": float(np.mean(scores)) if scores else 0.0}
        kind = "predictions" if self.scored else "annotations"  # of a person, who has looked at the image
        image = "/data/local-files/?d=" + quote(os.fsencode(name.replace("\\", "/")))
        self.tasks.append(dumps({"data": {IMAGE: image}, kind: [made]}))

    def write_file(self) -> None:
        write_whole(self.place.out, "[" + ",\n".join(self.tasks) + "]\n")

    def notes(self) -> list[str]:
        labels = "".join(f"<Label value={quoteattr(name)}/>" for name in self.categories.values())
        tags = "".join(
            f'<{tag} name="{name}" toName="{IMAGE}">{labels}</{tag}>'
            for tag, name in (("PolygonLabels", POLYGON), ("BrushLabels", BRUSH))
        )
        lines = super().notes()
        if self.roots:
            places = " and ".join(map(str, sorted(self.roots)))
            line = f"Label Studio's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT has to be {places}"
            more = "; it can be but one of them: write the images of each with a command of its own"
            lines.append(line + (more if len(self.roots) > 1 else ""))
        return [*lines, f'labelling configuration: <View><Image name="{IMAGE}" value="${IMAGE}"/>{tags}</View>']

    def _result(self, found: LabelledObject, labels: Labels) -> dict[str, Any]:
        outline = to_polygons(found.rle, self.place.tolerance)
        if len(outline.geoms) == 1 and not holes(outline):
            percent = 100 / np.array([labels.width, labels.height])
            points = (np.array(rings(outline.geoms[0])[0]) * percent).round(6).tolist()
            kind, value = POLYGON, {"points": points, "closed": True}
        else:
            rows, columns, crop = near_box(found.rle, 0)
            code = to_brush_code(crop, rows.start, columns.start, labels.height, labels.width)
            kind, value = BRUSH, {"format": "rle", "rle": code}
        result = {
            "id": str(found.number),
            "type": f"{kind}labels",
            "from_name": kind,
            "to_name": IMAGE,
            "original_width": labels.width,
            "original_height": labels.height,
            "image_rotation": 0,
            "value": value | {f"{kind}labels": [found.category]},
        }
        return result if found.score is None else result | {"score": found.score}
