"""Evaluate files of proposals: measures, curves and a report in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.curves import CURVE_THRESHOLDS, FILE_COLORS, draw_curves, draw_recall_panels, render
from instancefcn.evaluation.file_measures import FileMeasures, measure_file
from instancefcn.evaluation.gallery import render_gallery
from instancefcn.evaluation.labelled_images import LabelledImages
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.names import fewer_given, unique_names
from instancefcn.evaluation.per_image import image_table, missed
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.report import render_html
from instancefcn.evaluation.sections import render_categories, render_comparison, render_objects, render_precision
from instancefcn.files import write_whole
from instancefcn.values import nan_as_none

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = "metrics.json"
WRITTEN = (METRICS, "images.csv", "recall_curves.png", "recall_curves.svg", "report.html")
Differences = Mapping[str, Mapping[str, Difference]]  # of each other file's measures from the first one's, by name


def evaluate(
    proposals: str | Path,
    annotations: str | Path,
    out: str | Path,
    iou: IouType = "segm",
    *,
    others: Sequence[str | Path] = (),
    seed: int = 0,
    per_class: bool = False,
    objects: bool = False,
    min_score: float | None = None,
    crowds_of_one_part: bool = False,
    photographs: str | Path | None = None,
    published: bool = False,
) -> dict[str, Any]:
    """Write the average recall of anybody's proposals to a folder, with that of other files beside it.

    Writes ``metrics.json``, ``images.csv``, ``recall_curves.png``, ``recall_curves.svg`` and ``report.html``.

    Args:
        proposals: COCO results, ``[{"image_id", "category_id", "segmentation" and/or "bbox", "score"}, ...]``, as JSON,
            JSON lines (also compressed by gzip) or Parquet; read piece by piece, a mask held in the bytes of its code.
        annotations: COCO annotations, whose image ids the proposals use.
        out: folder to write to; made where there is none.
        iou: compare masks (``segm``) or boxes (``bbox``).
        others: more COCO results, each compared with ``proposals`` (``compare.compare``).
        seed: of the images that are drawn for the intervals of the differences.
        per_class: also measure average precision, by the categories that the files name.
        objects: also count right and wrong objects, masks as they stand. Of a file that is not named ``objects`` also
            at other thresholds on the score, since it may hold ranked candidates.
        min_score: of ``objects``: count those alone that score this or more, and at no other threshold.
        crowds_of_one_part: a crowd whose mask is one connected part is an instance (``data.crowds``).
        photographs: folder that the images' names start from: the report shows those with the most missed instances.
        published: the report has the tables of the paper beside, whose numbers are of PASCAL VOC and COCO.

    Returns:
        What ``metrics.json`` holds: ``{iou: {"coco": {"AR@10", ...}, "hosang": {"AR@10", ..., "AR_hosang@10", ...},
        "recall@0.5", ..., "counts": {...}, "given": {"10", ...}, "curves": {"iou": [...], "N=10": [...], ...},
        "categories": {name: {...}}, "images": [...]}}``, in percent; None where there is no instance. ``given`` has the
        most proposals of an image for each N: where that is less than N, AR@N is of as many.
        ``categories``, where annotations have several, and ``images`` are ``per_image.category_rows`` and
        ``image_rows``. ``hosang`` has ``AR@N`` by the best IoU of each instance, as the curves, and ``AR_hosang@N`` by
        one-to-one matching, as Hosang's public code.
        With other files also ``"compare": {name: {"metrics": {...}, "difference": {"coco/AR@10": {"first", "second",
        "difference", "low", "high", "images", "decided"}, ...}}}``, ``metrics`` as of the first file, by
        ``unique_names``; ``"files": {name: path}``.
        With ``per_class`` also ``"per_class": {name: {"mAP^r@0.5": {"area", "11-point"}, ..., "coco": {"AP", "AP50",
        "AP75"}, "categories": {category: {"id", "instances", "AP^r@0.5": ..., ...}}}}``, of every file.
        With ``objects`` also ``"objects": {name: ...}``, of every file, as ``object_metrics`` has it, with the
        ``file_name`` of each image, and ``min_score``.

    Raises:
        ValueError: a file can't be used; says which, what, where, and how to mend it. Or all labelled instances are
            crowds, there are too many files, or ``min_score`` is given without ``objects``.
        OSError: a file can't be written.

    Example:
        >>> found = evaluate("objects.json", "val.json", "report", objects=True)  # doctest: +SKIP
        >>> found["objects"]["objects"]["at"]["0.5"]["F1"]  # doctest: +SKIP
    """
    if isinstance(others, str | Path):
        raise TypeError(f"others must be a list of paths, not {others!r}")
    proposals, annotations, out = Path(proposals), Path(annotations), Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file, and a folder is needed: give another")
    if len(others) >= len(FILE_COLORS):
        raise ValueError(
            f"{len(others)} files to compare with; the figure has colours for {len(FILE_COLORS) - 1} at most"
        )
    if min_score is not None and np.isnan(min_score):
        raise ValueError("the least score is NaN, which no score reaches or misses: give a number")
    if min_score is not None and not objects:
        raise ValueError("a least score is of objects: give --objects with --min-score (Python: objects=True)")
    paths = [proposals, *map(Path, others)]
    labelled = LabelledImages.read(annotations, iou, results=paths, crowds_of_one_part=crowds_of_one_part)
    measured = {
        name: measure_file(path, labelled, objects=objects, min_score=min_score, per_class=per_class)
        for name, path in zip(unique_names(paths), paths, strict=True)
    }
    first, *_ = measured.values()
    differences = {
        name: compare(first.recall, other.recall, generator=np.random.default_rng(seed))
        for name, other in measured.items()
        if other is not first
    }
    figure = _draw(measured, iou)
    svg = render(figure, "svg")
    folder = None if photographs is None else Path(photographs)
    sections = _sections(measured, differences, seed=seed, published=published)
    sections.append(render_gallery(first.metrics["images"], labelled.images, missed(first.recall), folder))
    html = render_html(
        first.metrics,
        svg.decode(),
        iou=iou,
        proposals=proposals.name,
        annotations=annotations.name,
        sections=sections,
        wide_curves=bool(others),
        published=published,
    )
    written = _as_json(measured, differences, iou)

    write_whole(out / "recall_curves.png", render(figure, "png"))
    write_whole(out / "recall_curves.svg", svg)
    write_whole(out / "images.csv", image_table(first.metrics["images"]))
    write_whole(out / "report.html", html.encode(errors="backslashreplace"))  # a name may hold what UTF-8 does not
    write_whole(out / METRICS, json.dumps(written, indent=2, allow_nan=False) + "\n")
    return written


def _as_json(measured: Mapping[str, FileMeasures], differences: Differences, iou: IouType) -> dict[str, Any]:
    """What ``metrics.json`` holds."""
    first, *_ = measured.values()
    written: dict[str, Any] = {iou: first.metrics}
    if first.objects is not None:
        written["objects"] = {name: file.objects for name, file in measured.items()}
    if first.precision is not None:
        written["per_class"] = {name: file.precision for name, file in measured.items()}
    if differences:
        written["compare"] = {
            name: {
                "metrics": measured[name].metrics,
                "difference": {
                    key: nan_as_none(asdict(found) | {"difference": found.difference, "decided": found.decided})
                    for key, found in of_file.items()
                },
            }
            for name, of_file in differences.items()
        }
        written["files"] = {name: str(file.path) for name, file in measured.items()}
    return written


def _sections(
    measured: Mapping[str, FileMeasures], differences: Differences, *, seed: int, published: bool
) -> list[str]:
    """What the report has besides the average recall of the first file, as HTML."""
    first, *_ = measured.values()
    sections: list[str] = []
    if first.metrics["categories"]:
        sections.append(render_categories(first.metrics["categories"], first.given))
    sections += [render_objects(name, file.objects) for name, file in measured.items() if file.objects is not None]
    sections += [
        render_precision(name, file.precision, published=published)
        for name, file in measured.items()
        if file.precision is not None
    ]
    if differences:
        files = {name: file.path for name, file in measured.items()}
        given = {name: file.given for name, file in measured.items()}
        sections.append(render_comparison(files, given, differences, seed=seed))
    return sections


def _draw(measured: Mapping[str, FileMeasures], iou: IouType) -> Figure:
    """Recall against IoU: a panel for each number of proposals, with a line for each file; of one file all in one."""
    first, *_ = measured.values()
    counts = first.metrics["counts"]
    what = "Masks" if iou == "segm" else "Boxes"
    title = f"{what} of {counts['instances']:,} instances in {counts['images']:,} images"
    curves = {name: file.recall.curves(CURVE_THRESHOLDS) for name, file in measured.items()}
    if len(measured) > 1:
        last = MAX_PROPOSALS[-1]
        shown = {f"{name}{fewer_given(last, measured[name].given)}": lines for name, lines in curves.items()}
        return draw_recall_panels(shown, title)
    # No file name in the figure: matplotlib's font may lack its letters. The page has it.
    hosang = first.recall.metrics()["hosang"]
    (lines,) = curves.values()
    return draw_curves(lines, [hosang[f"AR@{n}"] for n in MAX_PROPOSALS], title, first.given)
