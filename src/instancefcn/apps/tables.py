"""Tables of objects for spreadsheets: how many an image has, and where each lies, in pixels."""

from __future__ import annotations

import numpy as np

from instancefcn.apps.images import ImageFile
from instancefcn.files import csv_lines
from instancefcn.proposals import Proposals

COUNTS, OBJECTS = "counts.csv", "objects.csv"
COUNT_COLUMNS = ("image", "count", "mean_area", "mean_score")
OBJECT_COLUMNS = ("image", "object", "left", "top", "width", "height", "area", "score")


def first_lines() -> dict[str, bytes]:
    """The names of the columns of ``counts.csv`` (a line an image) and ``objects.csv`` (a line an object)."""
    return {COUNTS: csv_lines([COUNT_COLUMNS]), OBJECTS: csv_lines([OBJECT_COLUMNS])}


def lines_of(image: ImageFile, objects: Proposals) -> dict[str, bytes]:
    """The lines of one image in both tables."""
    areas = objects.areas
    means = [f"{areas.mean():.1f}", f"{objects.scores.mean():.4f}"] if len(objects) else ["", ""]
    corners = objects.boxes_xyxy.astype(int)
    sizes = corners[:, 2:] - corners[:, :2]
    columns = np.column_stack([corners[:, :2], sizes, areas.astype(int)]).tolist()
    rows = enumerate(zip(columns, objects.scores.tolist(), strict=True), start=1)
    return {
        COUNTS: csv_lines([[image.file_name, len(objects), *means]]),
        OBJECTS: csv_lines([[image.file_name, number, *row, f"{score:.4f}"] for number, (row, score) in rows]),
    }
