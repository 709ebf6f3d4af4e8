"""Sections of the report: recall by category, differences between files, average precision, objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from instancefcn.evaluation.average_precision import MAP_R_THRESHOLDS, VARIANTS
from instancefcn.evaluation.compare import CONFIDENCE, DRAWS, MIN_IMAGES, Difference
from instancefcn.evaluation.html_table import html_table
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.names import fewer_given, measure_limit, measure_name, recall_headings
from instancefcn.evaluation.per_image import CATEGORY_IOUS
from instancefcn.evaluation.published import RECALL_TABLES, TABLE_4, PublishedTable
from instancefcn.evaluation.regions import IouType


def render_categories(rows: Mapping[str, Mapping[str, Any]], given: Mapping[str, int]) -> str:
    """Section of the page: recall of each category, as ``per_image.category_rows`` has it."""
    keys = [f"AR@{n}" for n in MAX_PROPOSALS] + [f"recall@{threshold}" for threshold in CATEGORY_IOUS]
    headings = [*recall_headings(given), *(f"Found at IoU {threshold}" for threshold in CATEGORY_IOUS)]
    table = html_table(
        ["", "Instances", *headings],
        [[name, f"{found['instances']:,}", *(found[key] for key in keys)] for name, found in rows.items()],
    )
    return f"""
<section><h2>Recall by category of the labels</h2>
<p>Whatever category the proposals name. An instance counts with its best IoU: Hosang's AR, and the shares that the best
{MAX_PROPOSALS[-1]:,} find at an IoU.</p>{table}</section>"""


def render_comparison(
    paths: Mapping[str, Path],
    given: Mapping[str, Mapping[str, int]],
    differences: Mapping[str, Mapping[str, Difference]],
    *,
    seed: int,
) -> str:
    """Section of the page: measures of every file, and the differences of the other files from the first.

    Args:
        paths: of all files, by their names, the first one first.
        given: of each file the most proposals of an image for each limit.
        differences: ``compare.compare(first, other)`` for each other file, by its name, with images drawn by ``seed``.
    """
    first = next(iter(paths))
    measures = next(iter(differences.values()))
    rows: list[list[str | float | None]] = []
    for key, of_first in measures.items():
        values = {first: of_first.first} | {name: other[key].second for name, other in differences.items()}
        fewer = {name: fewer_given(measure_limit(key), given[name]) for name in values}
        cells = (
            f"{value:.1f}{fewer[name]}" if fewer[name] and value == value else value for name, value in values.items()
        )
        rows.append([measure_name(key), *cells])
    figures = html_table(["", *paths], rows)
    places = html_table(["Name", "File"], [[name, str(path)] for name, path in paths.items()])
    percent = f"{100 * CONFIDENCE:g}%"
    against = "".join(
        html_table(
            ["", "Difference", f"{percent} interval", "Decided"],
            [[measure_name(key), *_interval(difference)] for key, difference in found.items()],
            caption=f"<b>{escape(other)}</b> less {escape(first)}, in percentage points",
            emphasised=[row for row, difference in enumerate(found.values()) if difference.decided],
        )
        for other, found in differences.items()
    )
    return f"""
<section class="compared"><h2>Every file</h2>{figures}{places}
<h2>Differences</h2>
<p>Paired bootstrap: the images are drawn {DRAWS:,} times with replacement (seed {seed}), the same for both files, and
the interval holds the middle {percent} of the differences. A difference is decided where its interval leaves out zero
and {MIN_IMAGES} images or more have an instance: percentiles of fewer lie too close together.
Each interval stands for itself: among many, a few seem decided by chance.</p>
<div class="columns">{against}</div></section>"""


def render_precision(file: str, precision: Mapping[str, Any], *, published: bool = False) -> str:
    """Section of the page: average precision of one file's results, as ``per_class.measure_precision`` has it.

    With ``published`` the paper's Table 4 beside.
    """
    columns = [(f"AP^r@{limit}", variant) for variant in VARIANTS for limit in MAP_R_THRESHOLDS]
    rows = [["Mean", None, *(precision[f"m{key}"][variant] for key, variant in columns)]]
    for name, found in precision["categories"].items():
        rows.append([name, f"{found['instances']:,}", *(found[key][variant] for key, variant in columns)])
    table = html_table(["", "Instances", *map(", ".join, columns)], rows, emphasised=(0,))
    coco = html_table(["", *precision["coco"]], [["COCO AP", *precision["coco"].values()]])
    ours = {variant: [precision[key][variant] for key in TABLE_4.columns] for variant in VARIANTS}
    beside = _published(TABLE_4, ours) if published else ""
    return f"""
<section><h2>Average precision by category, {escape(file)}</h2>{table}{coco}
<p><b>AP<sup>r</sup></b>: a result goes to the instance of its category that it overlaps best; a second hit is wrong.
11-point is VOC 2007's mean, area VOC 2010's; means are over categories with instances.</p>
{beside}</section>"""


def render_objects(file: str, found: Mapping[str, Any]) -> str:
    """Section of the page: the objects of one file, as ``evaluate`` has them under ``objects``."""
    counts, best = found["counts"], found.get("best")
    shown = ("precision", "recall", "F1", "AP", "PQ", "SQ", "boundary_iou")
    names = ("Right", "Wrong", "Missed", "Precision", "Recall", *shown[2:6], "Boundary IoU")
    at = html_table(
        ["IoU at least", *names],
        [
            [limit, *(f"{row[name]:,}" for name in ("right", "wrong", "missed")), *(row[name] for name in shown)]
            for limit, row in found["at"].items()
        ],
    )
    least = "" if found["min_score"] is None else f" that score {found['min_score']:g} or more"
    off = f"{counts['error']:.1f}, signed {counts['bias']:+.1f}" if counts["error"] is not None else "unknown"
    error = found["calibration_error"]
    chance = "" if error is None else f" Expected calibration error of the scores: {error:.1f} %."
    by_score = ""
    if "by_score" in found:
        rows = [(f"{row['score']:g}", row) for row in found["by_score"]]
        rows += [(str(best["score"]), best)] if best else []  # in all its digits: it takes what is counted
        by_score = "<h2>By score, IoU at least 0.5</h2>" + html_table(
            ["Score at least", "Precision", "Recall", "F1", "Objects", "Count error an image"],
            [
                [least, *(row[name] for name in shown[:3]), f"{row['found']:,}", row["count_error"]]
                for least, row in rows
            ],
            caption="The last row is that of the best F1.",
            emphasised=[len(rows) - 1] if best else [],
        )
    return f"""
<section><h2>Objects, {escape(file)}</h2>
<p>{counts["found"]:,} objects{least}, {counts["labelled"]:,} instances. Count error an image: {off}.{chance}</p>{at}
{by_score}
<p>Objects and instances are matched one to one, best score first, at each IoU; what lies on a crowd counts neither as
right nor as wrong. AP is TP / (TP + FP + FN), PQ panoptic quality, SQ the mean IoU of right objects, boundary IoU the
mean over them of Cheng et al.'s at 2 % of the diagonal. Count error is the mean of |found - labelled|.</p></section>"""


def _interval(found: Difference) -> list[str | None]:
    """The cells of a difference."""
    if math.isnan(found.difference):
        return [None, None, None]
    low, difference, high = (
        f"{points:+.2f}".replace("-", "\N{MINUS SIGN}") if round(points, 2) else "0.00"
        for points in (found.low, found.difference, found.high)
    )
    decided = "yes" if found.decided else "no" if found.enough else f"{found.images} images"
    return [difference, f"{low} to {high}", decided]


def render_published(ours: Mapping[str, Sequence[float | None]], iou: IouType, fewer: str) -> str:
    """Section of the page: the paper's tables of average recall, with ours in each.

    Args:
        ours: as ``averages`` gives them.
        fewer: what to say behind the name where fewer proposals were given (``names.fewer_given``).
    """
    boxes_differ = " The paper's numbers are of masks, this file's of boxes." if iou == "bbox" else ""
    tables = "".join(_published(table, ours, fewer) for table in RECALL_TABLES)
    return f"""
<section><h2>What the paper printed</h2>
<p>Comparable only where the annotations are the data set that is named with each table.{boxes_differ}</p>
<div class="columns">{tables}</div></section>"""


def _published(table: PublishedTable, ours: Mapping[str, Sequence[float | None]], fewer: str = "") -> str:
    rows = [*table.rows, *((f"This file, {name}{fewer}", numbers) for name, numbers in ours.items())]
    caption = f"<b>Table {table.number}.</b> {escape(table.title)}. {escape(table.data)}"
    own = range(len(table.rows), len(rows))
    return html_table(
        ["", *table.columns], [[name, *numbers] for name, numbers in rows], caption=caption, emphasised=own
    )
