"""Average precision of a file of results that name categories."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from instancefcn.data.result_files import read_results
from instancefcn.evaluation.average_precision import coco_precision, region_precision
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import split_by_category
from instancefcn.evaluation.sizes import with_sizes
from instancefcn.files import read_json
from instancefcn.values import nan_as_none


def measure_precision(
    proposals: Path,
    annotations: Path,
    iou: IouType = "segm",
    *,
    crowds_of_one_part: bool = False,
    others: Sequence[Path] = (),
) -> dict[str, Any]:
    """Average precision of results with categories, in percent: mAP^r, COCO's, and AP^r of each category.

    Args:
        others: results of the same images, whose masks say sizes, too, where annotations leave them out.

    Raises:
        ValueError: a file can't be used, the results name a category that the annotations do not list, or they name no
            more than one where instances have several, as proposals without classes do.
    """
    sources = str(annotations), str(proposals)
    coco = with_sizes(read_json(annotations), chain.from_iterable(map(read_results, (proposals, *others))))
    categories = split_by_category(
        coco, read_results(proposals), iou, sources=sources, crowds_of_one_part=crowds_of_one_part
    )
    # COCO's format has no results without a category, so proposals have 1, which is some category of the annotations.
    named = [of for of in categories if any(map(len, of.proposals))]
    labelled = [of for of in categories if of.instances]
    if len(named) == 1 and len(labelled) > 1:
        only = named[0]
        raise ValueError(
            f"{proposals}: every result has category_id {only.category_id} ({only.name}), as proposals without classes "
            f"have, and {annotations} has instances of {len(labelled)} categories: leave --per-class out, or name the "
            "results first (`instancefcn segment`); of a method that knows this category alone, give annotations of it "
            "alone"
        )
    return nan_as_none({**region_precision(categories), "coco": coco_precision(categories, iou)})
