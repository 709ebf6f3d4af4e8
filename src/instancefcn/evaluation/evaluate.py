"""From two files to numbers, curves and a report: what ``instancefcn evaluate`` does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from instancefcn.evaluation.average_recall import recall_per_image
from instancefcn.evaluation.curves import CURVE_THRESHOLDS, draw_curves, render
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.report import Counts, render_html
from instancefcn.evaluation.results import parse_ground_truth, parse_results, read_json


def evaluate(proposals: Path, annotations: Path, out: Path, iou: IouType = "segm") -> dict[str, Any]:
    """Average recall of anybody's proposals, written to a folder.

    Writes ``metrics.json``, ``recall_curves.png``, ``recall_curves.svg`` and ``report.html``.

    Args:
        proposals: COCO results, ``[{"image_id", "category_id", "segmentation" and/or "bbox", "score"}, ...]``.
        annotations: COCO annotations, whose image ids the proposals use.
        out: folder to write to; made where there is none.
        iou: compare masks (``segm``) or boxes (``bbox``).

    Returns:
        What ``metrics.json`` holds: ``{iou: {"coco": {"AR@10", ...}, "hosang": {"AR@10", ...}, "recall@0.5", ...,
        "counts": {...}, "curves": {"iou": [...], "N=10": [...], ...}}}``, in percent; None where there is no instance.

    Raises:
        ValueError: a file can't be used; says which, what, where, and how to mend it.
        OSError: a file can't be read or written.
    """
    images = parse_ground_truth(read_json(annotations), iou, source=str(annotations))
    scored = parse_results(read_json(proposals), images, iou, source=str(proposals))
    recall = recall_per_image(images, scored, iou)
    metrics, counts, curves = recall.metrics(), Counts.of(images, scored, recall), recall.curves(CURVE_THRESHOLDS)

    average_recalls = [metrics["hosang"][f"AR@{n}"] for n in MAX_PROPOSALS]
    # No file name in the figure: its letters may lack in matplotlib's font. The page has it.
    title = f"{'Masks' if iou == 'segm' else 'Boxes'} of {counts.instances:,} instances in {counts.images:,} images"
    figure = draw_curves(curves, average_recalls, title)
    svg = render(figure, "svg")
    html = render_html(metrics, counts, svg.decode(), iou=iou, proposals=proposals.name, annotations=annotations.name)
    lines = {f"N={n}": recalls.tolist() for n, recalls in zip(MAX_PROPOSALS, curves, strict=True)}
    about = {"counts": vars(counts), "curves": {"iou": CURVE_THRESHOLDS.tolist()} | lines}
    written = {iou: _nan_as_none(metrics | about)}

    out.mkdir(parents=True, exist_ok=True)
    (out / "recall_curves.png").write_bytes(render(figure, "png"))
    (out / "recall_curves.svg").write_bytes(svg)
    (out / "report.html").write_text(html, encoding="utf-8")
    (out / "metrics.json").write_text(json.dumps(written, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return written


def _nan_as_none(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _nan_as_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_as_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
