"""A network measured on validation data, during training: its recall, and how good its objects are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lightning_fabric import Fabric

from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.inference.proposer import MIN_SCORE, Proposer
from instancefcn.interrupts import Interrupts
from instancefcn.structures import Track
from instancefcn.training.history import AR, F1, Figures
from instancefcn.training.object_f1 import MatchedObjects, object_f1
from instancefcn.training.processes import gather


def validate(
    proposer: Proposer,
    sources: Sequence[Source],
    max_proposals: int = 1000,
    stop: Interrupts | None = None,
    kept: Callable[[], str] = str,
    fabric: Fabric | None = None,
    track: Track = iter,
) -> Figures:
    """COCO mask AR of each source by its name, and F1 of objects (``object_f1``) where all are labelled, in percent.

    Args:
        stop: looked at before each image.
        kept: says what is kept of the work so far.
        fabric: of the processes that share the images; each of them has to call this. None: this one has all.
        track: told of every image of a source, for a progress bar.

    Raises:
        Interrupted: ``stop`` was set.
    """
    rank, processes = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    figures: Figures = {}
    for source in sources:
        results, objects = [], []
        for index in track(range(rank, len(source), processes)):
            if stop:
                raise stop.ended(kept())
            sample = source[index]
            proposals = proposer(sample.image, max_proposals=max_proposals)
            results += proposals.to_coco(sample.image_id)
            if not sample.partial:
                objects.append(MatchedObjects.of(proposals.at_least(MIN_SCORE), sample.instances))
        if fabric is not None:
            results, objects = gather(fabric, results), gather(fabric, objects)
        figures[source.name] = average_recall(source_to_coco(source), results)["coco"]
        if objects:
            figures[source.name][F1] = object_f1(objects)
    return figures


def deciding_measure(figures: Figures) -> str:
    """What networks are compared by: F1 of their objects, or AR@100 where no source has all of its objects labelled."""
    return F1 if any(not math.isnan(of.get(F1, math.nan)) for of in figures.values()) else AR


def mean_over_sources(figures: Figures, measure: str) -> float:
    """A measure averaged over the sources that have it; -1 if none has."""
    found = [of[measure] for of in figures.values() if not math.isnan(of.get(measure, math.nan))]
    return sum(found) / len(found) if found else -1.0
