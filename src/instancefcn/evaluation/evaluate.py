"""Evaluate files of proposals: measures, curves and a report in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.result_files import read_results
from instancefcn.evaluation.average_recall import ImageRecall, recall_per_image
from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.curves import CURVE_THRESHOLDS, FILE_COLORS, draw_curves, draw_recall_panels, render
from instancefcn.evaluation.gallery import render_gallery
from instancefcn.evaluation.matching import AREA_RANGES, MAX_PROPOSALS
from instancefcn.evaluation.names import fewer_given, unique_names
from instancefcn.evaluation.object_metrics import object_metrics
from instancefcn.evaluation.per_class import measure_precision
from instancefcn.evaluation.per_image import (
    category_rows,
    file_names,
    image_rows,
    image_table,
    missed,
    names_where_sound,
)
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.report import render_html
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_ground_truth, parse_results
from instancefcn.evaluation.sections import render_categories, render_comparison, render_objects, render_precision
from instancefcn.evaluation.sizes import with_sizes
from instancefcn.files import nan_as_none, read_json, write_whole

OBJECTS_NAME = "objects"  # as `propose --objects` begins its file's: it holds objects, not ranked candidates


def evaluate(
    proposals: Path,
    annotations: Path,
    out: Path,
    iou: IouType = "segm",
    *,
    others: Sequence[Path] = (),
    seed: int = 0,
    per_class: bool = False,
    objects: bool = False,
    min_score: float | None = None,
    crowds_of_one_part: bool = False,
    photographs: Path | None = None,
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
        >>> found = evaluate(Path("objects.json"), Path("val.json"), Path("report"), objects=True)  # doctest: +SKIP
        >>> found["objects"]["objects"]["at"]["0.5"]["F1"]  # doctest: +SKIP
    """
    if len(others) >= len(FILE_COLORS):
        raise ValueError(
            f"{len(others)} files to compare with; the figure has colours for {len(FILE_COLORS) - 1} at most"
        )
    if min_score is not None and np.isnan(min_score):
        raise ValueError("the least score is NaN, which no score reaches or misses: give a number")
    if min_score is not None and not objects:
        raise ValueError("a least score is of objects: give --objects with --min-score (Python: objects=True)")
    coco = with_sizes(read_json(annotations), read_results(proposals))
    categories = names_where_sound(coco)
    images = parse_ground_truth(
        coco, iou, source=str(annotations), categories=categories, crowds_of_one_part=crowds_of_one_part
    )
    names = file_names(coco)
    crowds = np.concatenate([image.crowd for image in images]) if images else np.zeros(0, dtype=bool)
    if len(crowds) and crowds.all():
        raise ValueError(
            f"{annotations}: nothing to measure by: all {len(crowds)} instances are crowds (CVAT writes iscrowd 1 for "
            "every mask): set iscrowd to 0, or count those of one connected part: --crowds-of-one-part"
        )
    paths = [proposals, *others]
    files = dict(zip(unique_names(paths), paths, strict=True))
    recall: dict[str, ImageRecall] = {}
    metrics: dict[str, dict[str, Any]] = {}
    counted: dict[str, dict[str, Any]] = {}
    for name, path in files.items():
        scored = parse_results(read_results(path), images, iou, source=str(path))
        recall[name] = recall_per_image(images, scored, iou)
        by_category = category_rows(recall[name], images, categories or {})
        metrics[name] = _metrics(images, scored, recall[name]) | {
            "categories": by_category if len(by_category) > 1 else {},
            "images": image_rows(recall[name], names),
        }
        if objects:
            ranked = path.name.partition(".")[0] != OBJECTS_NAME and min_score is None
            counted[name] = {"min_score": min_score} | object_metrics(
                images, scored, min_score=min_score, by_score=ranked
            )
            counted[name]["images"] = [row | {"file_name": names[row["image_id"]]} for row in counted[name]["images"]]
        del scored  # not to be held while the next file is read
    first, *rest = files
    written: dict[str, Any] = {iou: metrics[first]}
    differences = {name: compare(recall[first], recall[name], generator=np.random.default_rng(seed)) for name in rest}
    given = {name: of["given"] for name, of in metrics.items()}
    sections: list[str] = []
    if metrics[first]["categories"]:
        sections.append(render_categories(metrics[first]["categories"], given[first]))
    if objects:
        written["objects"] = nan_as_none(counted)
        sections += [render_objects(name, found) for name, found in written["objects"].items()]
    if per_class:
        written["per_class"] = {
            name: measure_precision(path, annotations, iou, crowds_of_one_part=crowds_of_one_part)
            for name, path in files.items()
        }
        sections += [render_precision(name, found, published=published) for name, found in written["per_class"].items()]
    curves = {name: found.curves(CURVE_THRESHOLDS) for name, found in recall.items()}
    counts = metrics[first]["counts"]
    title = (
        f"{'Masks' if iou == 'segm' else 'Boxes'} of {counts['instances']:,} instances in {counts['images']:,} images"
    )
    if others:
        written["compare"] = {
            name: {
                "metrics": metrics[name],
                "difference": {key: _difference_as_json(found) for key, found in differences[name].items()},
            }
            for name in rest
        }
        written["files"] = {name: str(path) for name, path in files.items()}
        sections.append(render_comparison(files, given, differences, seed=seed))
        shown = {f"{name}{fewer_given(MAX_PROPOSALS[-1], given[name])}": lines for name, lines in curves.items()}
        figure = draw_recall_panels(shown, title)
    else:
        # No file name in the figure: matplotlib's font may lack its letters. The page has it.
        hosang = recall[first].metrics()["hosang"]
        figure = draw_curves(curves[first], [hosang[f"AR@{n}"] for n in MAX_PROPOSALS], title, given[first])
    sections.append(render_gallery(metrics[first]["images"], images, missed(recall[first]), photographs))
    svg = render(figure, "svg")
    html = render_html(
        metrics[first],
        svg.decode(),
        iou=iou,
        proposals=proposals.name,
        annotations=annotations.name,
        sections=sections,
        wide_curves=bool(others),
        published=published,
    )

    write_whole(out / "recall_curves.png", render(figure, "png"))
    write_whole(out / "recall_curves.svg", svg)
    write_whole(out / "images.csv", image_table(metrics[first]["images"]))
    write_whole(out / "report.html", html.encode(errors="backslashreplace"))  # a name may hold what UTF-8 does not
    write_whole(out / "metrics.json", json.dumps(written, indent=2, allow_nan=False) + "\n")
    return written


def _metrics(images: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], recall: ImageRecall) -> dict[str, Any]:
    """All measures of one file, how much was evaluated, and its curves; None where there is no instance."""
    proposed = np.array([len(scored) for scored in proposals], dtype=int)
    instances = dict(zip(AREA_RANGES, recall.instances.sum(0).tolist(), strict=True))
    counts = {
        "images": len(images),
        "images_without_instances": int((recall.instances[:, 0] == 0).sum()),
        "images_without_proposals": int((proposed == 0).sum()),
        "instances": instances.pop("all"),
        **{f"instances_{area}": number for area, number in instances.items()},
        "crowd_regions": sum(int(image.crowd.sum()) for image in images),
        "proposals": int(proposed.sum()),
        "proposals_beyond_limit": int(np.maximum(proposed - MAX_PROPOSALS[-1], 0).sum()),  # they are not evaluated
    }
    most = int(proposed.max(initial=0))
    given = {str(limit): min(most, limit) for limit in MAX_PROPOSALS}
    curves = zip(MAX_PROPOSALS, recall.curves(CURVE_THRESHOLDS).tolist(), strict=True)
    lines = {"iou": CURVE_THRESHOLDS.tolist()} | {f"N={n}": recalls for n, recalls in curves}
    return nan_as_none(recall.metrics() | {"counts": counts, "given": given, "curves": lines})


def _difference_as_json(found: Difference) -> dict[str, Any]:
    return nan_as_none(asdict(found) | {"difference": found.difference, "decided": found.decided})
