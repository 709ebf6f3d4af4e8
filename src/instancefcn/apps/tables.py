"""Tables of objects for spreadsheets: how many an image has, and where each lies."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from instancefcn.apps.images import ImageFile
from instancefcn.files import whole_file
from instancefcn.proposals import Proposals

COUNTS, OBJECTS = "counts.csv", "objects.csv"
COUNT_COLUMNS = ("image", "count", "mean_area", "mean_score")
OBJECT_COLUMNS = ("image", "object", "left", "top", "width", "height", "area", "score")


class ObjectTables:
    """Writer of ``counts.csv`` (a line an image) and ``objects.csv`` (a line an object), in pixels."""

    def __init__(self, counts: BinaryIO, objects: BinaryIO) -> None:
        self.counts, self.objects = counts, objects
        _write(counts, [COUNT_COLUMNS])
        _write(objects, [OBJECT_COLUMNS])

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[ObjectTables]:
        """Tables in a folder, put in place at the end, also after an error."""
        with ExitStack() as stack:
            yield cls(*(stack.enter_context(whole_file(folder / name)) for name in (COUNTS, OBJECTS)))

    def add(self, image: ImageFile, objects: Proposals) -> None:
        """Write the lines of one image."""
        areas = objects.areas
        means = [f"{areas.mean():.1f}", f"{objects.scores.mean():.4f}"] if len(objects) else ["", ""]
        _write(self.counts, [[image.file_name, len(objects), *means]])
        corners = objects.boxes_xyxy.astype(int)
        sizes = corners[:, 2:] - corners[:, :2]
        columns = np.column_stack([corners[:, :2], sizes, areas.astype(int)]).tolist()
        rows = zip(columns, objects.scores.tolist(), strict=True)
        _write(
            self.objects,
            [[image.file_name, number, *row, f"{score:.4f}"] for number, (row, score) in enumerate(rows, start=1)],
        )


def _write(file: BinaryIO, rows: Sequence[Sequence[Any]]) -> None:
    """Write lines in one call, so that an interruption leaves all of them or none."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    file.write(text.getvalue().encode())
