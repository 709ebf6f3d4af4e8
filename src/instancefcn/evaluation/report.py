"""``report.html``: measures of proposals beside those of other files and of the paper, on a self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from instancefcn.evaluation.average_precision import MAP_R_THRESHOLDS, VARIANTS
from instancefcn.evaluation.average_recall import RECALL_AT, averages
from instancefcn.evaluation.compare import CONFIDENCE, DRAWS, Difference
from instancefcn.evaluation.html_table import html_table
from instancefcn.evaluation.matching import AREA_RANGES, MAX_PROPOSALS
from instancefcn.evaluation.published import RECALL_TABLES, TABLE_4, PublishedTable
from instancefcn.evaluation.regions import IouType


def render_html(
    metrics: Mapping[str, Any],
    curves_svg: str,
    *,
    iou: IouType,
    proposals: str,
    annotations: str,
    sections: Sequence[str] = (),
    wide_curves: bool = False,
) -> str:
    """The whole page. It loads nothing from the network, and escapes all text from outside.

    Args:
        metrics: as ``evaluate`` returns them of one file.
        curves_svg: a document that ``curves.render`` made; over the whole width if ``wide_curves``.
        proposals, annotations: names of the two files.
        sections: HTML of more sections (``render_precision``, ``render_comparison``).
    """
    coco, counts = metrics["coco"], metrics["counts"]
    ours = averages(metrics)
    limits = [f"AR@{n}" for n in MAX_PROPOSALS]
    regions = {"segm": "Masks", "bbox": "Boxes"}[iou]
    boxes_differ = " The paper's numbers are of masks, this file's of boxes." if iou == "bbox" else ""
    overall = html_table(
        ["", *limits], [[title, *numbers] for title, numbers in ours.items()], emphasised=range(len(ours))
    )
    sizes = [area for area in AREA_RANGES if area != "all"]
    by_size = html_table(
        ["", "Instances", *limits],
        [[size, f"{counts[f'instances_{size}']:,}", *(coco[f"{key}_{size}"] for key in limits)] for size in sizes],
    )
    at_iou = html_table(["IoU at least", "Found, %"], [[str(share), metrics[f"recall@{share}"]] for share in RECALL_AT])
    counted = html_table(["", "Number"], [[name.replace("_", " "), f"{n:,}"] for name, n in counts.items()])
    published = "".join(_published(table, ours) for table in RECALL_TABLES)
    svg = curves_svg[curves_svg.index("<svg") :]  # in a page, the XML declaration and document type have no place
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Average recall of {escape(proposals)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Average recall of {escape(proposals)}</h1>
<p class="lead">{regions} of {counts["instances"]:,} instances in {counts["images"]:,} images
of {escape(annotations)}. All numbers in percent.</p>
<div class="columns">
<section><h2>Average recall</h2>{overall}
<h2>By size, COCO AR</h2>{by_size}
<h2>Found by the best {MAX_PROPOSALS[-1]:,}</h2>{at_iou}</section>
<section{" class='wide'" if wide_curves else ""}><h2>Recall against IoU</h2>
<figure role="img" aria-label="Recall against IoU at 10, 100 and 1000 proposals">{svg}</figure></section>
</div>{"".join(sections)}
<section><h2>How it was measured</h2>
<p><b>COCO AR</b>: mean recall over IoU .50, .55, ... .95; a proposal finds one instance at most, best score first;
categories are not looked at; crowd regions are left out. Small is up to 32<sup>2</sup> pixels, large from
96<sup>2</sup> on, by the area that the annotation states. The shares found by the best {MAX_PROPOSALS[-1]:,} are
recall by the same rules at one IoU.</p>
<p><b>Hosang AR, best IoU</b>: twice the area under the curve above, whose recall counts an instance as found where its
best IoU with any of the N proposals reaches the threshold. The paper cites this definition.</p>
<p><b>Hosang AR, one to one</b>: the same, but a proposal finds one instance at most, highest IoU first, as Hosang's
public code measures it; <code>AR_hosang@N</code> in metrics.json.</p>
{counted}</section>
<section><h2>What the paper printed</h2>
<p>Comparable only where the annotations are the data set that is named with each table.{boxes_differ}</p>
<div class="columns">{published}</div></section>
</main>
</body>
</html>
"""


def render_comparison(first: str, differences: Mapping[str, Mapping[str, Difference]], *, seed: int) -> str:
    """Section of the page: measures of every file, and the differences of the other files from the first.

    Args:
        differences: ``compare.compare(first, other)`` for each other file, by its name, with images drawn by ``seed``.
    """
    measures = next(iter(differences.values()))
    figures = html_table(
        ["", first, *differences],
        [[name, d.first, *(other[name].second for other in differences.values())] for name, d in measures.items()],
    )
    percent = f"{100 * CONFIDENCE:g}%"
    against = "".join(
        html_table(
            ["", "Difference", f"{percent} interval", "Decided"],
            [[name, *_interval(difference)] for name, difference in found.items()],
            caption=f"<b>{escape(other)}</b> less {escape(first)}, in percentage points",
            emphasised=[row for row, difference in enumerate(found.values()) if difference.decided],
        )
        for other, found in differences.items()
    )
    return f"""
<section class="compared"><h2>Every file</h2>{figures}
<h2>Differences</h2>
<p>Paired bootstrap: the images are drawn {DRAWS:,} times with replacement (seed {seed}), the same for both files, and
the interval holds the middle {percent} of the differences. A difference is decided where its interval leaves out zero.
Each interval stands for itself: among many, a few seem decided by chance.</p>
<div class="columns">{against}</div></section>"""


def render_precision(file: str, precision: Mapping[str, Any]) -> str:
    """Section of the page: average precision of one file's results, as ``evaluate.measure_precision`` has it."""
    columns = [(f"AP^r@{limit}", variant) for variant in VARIANTS for limit in MAP_R_THRESHOLDS]
    rows = [["Mean", None, *(precision[f"m{key}"][variant] for key, variant in columns)]]
    for name, found in precision["categories"].items():
        rows.append([name, f"{found['instances']:,}", *(found[key][variant] for key, variant in columns)])
    table = html_table(["", "Instances", *map(", ".join, columns)], rows, emphasised=(0,))
    coco = html_table(["", *precision["coco"]], [["COCO AP", *precision["coco"].values()]])
    ours = {variant: [precision[key][variant] for key in TABLE_4.columns] for variant in VARIANTS}
    return f"""
<section><h2>Average precision by category, {escape(file)}</h2>{table}{coco}
<p><b>AP<sup>r</sup></b>: a result goes to the instance of its category that it overlaps best; a second hit is wrong.
11-point is VOC 2007's mean, area VOC 2010's; means are over categories with instances.</p>
{_published(TABLE_4, ours)}</section>"""


def render_objects(file: str, found: Mapping[str, Any]) -> str:
    """Section of the page: the objects of one file, as ``evaluate`` has them under ``objects``."""
    counts, best = found["counts"], found.get("best")
    shown = ("precision", "recall", "F1", "AP", "PQ", "SQ", "boundary_iou")
    names = [
        "Right",
        "Wrong",
        "Missed",
        *(name.replace("_iou", " IoU").capitalize() for name in shown[:2]),
        *shown[2:6],
    ]
    at = html_table(
        ["IoU at least", *names, "Boundary IoU"],
        [
            [limit, *(f"{row[name]:,}" for name in ("right", "wrong", "missed")), *(row[name] for name in shown)]
            for limit, row in found["at"].items()
        ],
    )
    least = "" if found["min_score"] is None else f" that score {found['min_score']:g} or more"
    off = f"{counts['error']:.1f}, signed {counts['bias']:+.1f}" if counts["error"] is not None else "unknown"
    chance = (
        ""
        if found["calibration_error"] is None
        else (f" Expected calibration error of the scores: {found['calibration_error']:.1f} %.")
    )
    by_score = ""
    if "by_score" in found:
        rows = [*found["by_score"], *([best] if best else [])]
        by_score = "<h2>By score, IoU at least 0.5</h2>" + html_table(
            ["Score at least", "Precision", "Recall", "F1", "Objects", "Count error an image"],
            [
                [
                    f"{row['score']:g}",
                    row["precision"],
                    row["recall"],
                    row["F1"],
                    f"{row['found']:,}",
                    row["count_error"],
                ]
                for row in rows
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
    return [difference, f"{low} to {high}", "yes" if found.decided else "no"]


def _published(table: PublishedTable, ours: Mapping[str, Sequence[float | None]]) -> str:
    rows = [*table.rows, *((f"This file, {name}", numbers) for name, numbers in ours.items())]
    caption = f"<b>Table {table.number}.</b> {escape(table.title)}. {escape(table.data)}"
    own = range(len(table.rows), len(rows))
    return html_table(
        ["", *table.columns], [[name, *numbers] for name, numbers in rows], caption=caption, emphasised=own
    )


_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --quiet: #5b6676; --line: #dfe3e8; --own: #eef4fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); }
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 28px 0 8px; }
p { max-width: 78ch; margin: 0 0 12px; }
.lead { color: var(--quiet); overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 8px 40px; }
.columns > * { min-width: 0; }
.wide { grid-column: 1 / -1; }
table { border-collapse: collapse; width: 100%; margin: 0 0 20px; align-self: start; }
td { font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: 6px; }
caption b { color: var(--ink); }
th, td { padding: 5px 8px; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { text-align: left; padding-left: 8px; }
thead th { color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 400; }
tr.own > * { background: var(--own); font-weight: 600; }
.compared th { overflow-wrap: anywhere; }
.compared tbody th, .compared td { white-space: nowrap; }
.compared caption { overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
"""
