"""``report.html``: measures of proposals beside those of other files and of the paper, on a self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from instancefcn.evaluation.average_recall import RECALL_AT, averages
from instancefcn.evaluation.html_table import html_table
from instancefcn.evaluation.matching import AREA_RANGES, MAX_PROPOSALS
from instancefcn.evaluation.names import fewer_given, recall_headings
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.sections import render_published


def render_html(
    metrics: Mapping[str, Any],
    curves_svg: str,
    *,
    iou: IouType,
    proposals: str,
    annotations: str,
    sections: Sequence[str] = (),
    wide_curves: bool = False,
    published: bool = False,
) -> str:
    """The whole page. It loads nothing from the network, and escapes all text from outside.

    Args:
        metrics: as ``evaluate`` returns them of one file.
        curves_svg: a document that ``curves.render`` made; over the whole width if ``wide_curves``.
        proposals, annotations: names of the two files.
        sections: HTML of more sections (``sections.py``, ``gallery.py``).
        published: set the tables of the paper beside.
    """
    coco, counts, given = metrics["coco"], metrics["counts"], metrics["given"]
    ours = averages(metrics)
    keys, limits = [f"AR@{n}" for n in MAX_PROPOSALS], recall_headings(given)
    regions = {"segm": "Masks", "bbox": "Boxes"}[iou]
    best = f"the best {MAX_PROPOSALS[-1]:,}"
    fewer = fewer_given(MAX_PROPOSALS[-1], given)
    too_few = (
        f"""<p>No image has more than {given[str(MAX_PROPOSALS[-1])]:,} proposals, so AR@{MAX_PROPOSALS[-1]} is that of
as many, and may be higher with more.</p>"""
        if fewer
        else ""
    )
    overall = html_table(
        ["", *limits], [[title, *numbers] for title, numbers in ours.items()], emphasised=range(len(ours))
    )
    sizes = [area for area in AREA_RANGES if area != "all"]
    by_size = html_table(
        ["", "Instances", *limits],
        [[size, f"{counts[f'instances_{size}']:,}", *(coco[f"{key}_{size}"] for key in keys)] for size in sizes],
    )
    at_iou = html_table(["IoU at least", "Found, %"], [[str(share), metrics[f"recall@{share}"]] for share in RECALL_AT])
    counted = html_table(["", "Number"], [[name.replace("_", " "), f"{n:,}"] for name, n in counts.items()])
    beside = render_published(ours, iou, fewer) if published else ""
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
<section><h2>Average recall</h2>{overall}{too_few}
<h2>By size, COCO AR</h2>{by_size}
<h2>Found by {best}{fewer}</h2>{at_iou}</section>
<section{" class='wide'" if wide_curves else ""}><h2>Recall against IoU</h2>
<figure role="img" aria-label="Recall against IoU at 10, 100 and 1000 proposals">{svg}</figure></section>
</div>{"".join(sections)}
<section><h2>How it was measured</h2>
<p><b>COCO AR</b>: mean recall over IoU .50, .55, ... .95; a proposal finds one instance at most, best score first;
categories are not looked at; crowd regions are left out. Small is up to 32<sup>2</sup> pixels, large from
96<sup>2</sup> on, by the area that the annotation states. The shares found by {best} are
recall by the same rules at one IoU.</p>
<p><b>Hosang AR, best IoU</b>: twice the area under the curve above, whose recall counts an instance as found where its
best IoU with any of the N proposals reaches the threshold. The paper cites this definition.</p>
<p><b>Hosang AR, one to one</b>: the same, but a proposal finds one instance at most, highest IoU first, as Hosang's
public code measures it; <code>AR_hosang@N</code> in metrics.json.</p>
{counted}</section>{beside}
</main>
</body>
</html>
"""


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
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 16px; align-items: start; }
.gallery img { max-width: 100%; height: auto; }
figcaption { font-size: 13px; color: var(--quiet); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
figure svg { width: 100%; height: auto; }
"""
