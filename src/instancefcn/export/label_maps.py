"""Label maps: an image for each image, in which a pixel has the number of its object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from instancefcn.data.source import Labels
from instancefcn.drawing import encoded
from instancefcn.export.writer import LabelledObject, Writer
from instancefcn.geometry.rle import area
from instancefcn.geometry.runs import Edges

ROWS = 1024  # of a mask, that are decoded at a time
MAX_LABEL = np.iinfo(np.uint16).max


class LabelMapWriter(Writer):
    """Writer of ``masks/STEM.png``, 16 bits: 0 is background, objects have their number in the image, from 1 on.

    Where objects overlap, the better score is seen; without scores the smaller object. More than 65,535 objects make a
    TIFF of 32 bits. Categories are not written.
    """

    tool = "a label map"
    folder, suffix = "masks", ".png"  # beside "images", as ``--data labels:DIR`` reads them
    holds_scores = False
    holds_crowds = False

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        def rank(found: LabelledObject) -> tuple[float, int]:
            return area(found.rle) if found.score is None else -found.score, found.number

        wide = len(objects) > MAX_LABEL
        label_map = np.zeros((labels.height, labels.width), dtype=np.int32 if wide else np.uint16)
        for found in sorted(objects, key=rank, reverse=True):
            left, top, right, bottom = (int(side) for side in found.box_xyxy)
            edges, columns = Edges.of([found.rle], labels.height, labels.width), np.arange(left, right)
            for first in range(top, bottom, ROWS):  # a mask of its rows alone
                rows = np.arange(first, min(first + ROWS, bottom))
                label_map[rows[0] : rows[-1] + 1, left:right][edges.sample(0, rows, columns)] = found.number
        seen = np.zeros(len(objects) + 1, dtype=bool)
        for row in label_map:  # one at a time: indices take eight bytes a pixel
            seen[row] = True
        self.leave_out("hidden object", int((~seen[1:]).sum()))
        content = encoded(Image.fromarray(label_map), "tiff" if wide else "png")
        self.put(self.path(labels, ".tif" if wide else None), content)

    def notes(self) -> list[str]:
        names = ["label maps name no categories"] if len(self.categories) > 1 else []
        return [*super().notes(), *names]
