"""Average recall of a network on validation data, during training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from lightning_fabric import Fabric

from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.inference.proposer import Proposer
from instancefcn.interrupts import Interrupts
from instancefcn.training.processes import gather


def validation_recall(
    proposer: Proposer,
    sources: Sequence[Source],
    max_proposals: int = 1000,
    stop: Interrupts | None = None,
    kept: Callable[[], str] = str,
    fabric: Fabric | None = None,
) -> dict[str, dict[str, float]]:
    """COCO mask AR, in percent, of each source by its name.

    Args:
        stop: looked at before each image.
        kept: says what is kept of the work so far.
        fabric: of the processes that share the images; each of them has to call this. None: this one has all.

    Raises:
        Interrupted: ``stop`` was set.
    """
    rank, processes = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    recall = {}
    for source in sources:
        results = []
        for index in range(rank, len(source), processes):
            if stop:
                raise stop.ended(kept())
            sample = source[index]
            results += proposer(sample.image, max_proposals=max_proposals).to_coco(sample.image_id)
        results = results if fabric is None else gather(fabric, results)
        recall[source.name] = average_recall(source_to_coco(source), results)["coco"]
    return recall


def mean_recall(recall: Mapping[str, Mapping[str, float]]) -> float:
    """AR@100, averaged over the sources that have labelled objects; -1 if none has."""
    found = [figures["AR@100"] for figures in recall.values() if not math.isnan(figures["AR@100"])]
    return sum(found) / len(found) if found else -1.0
