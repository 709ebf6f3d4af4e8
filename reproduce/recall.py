"""Recall of a method on a set of images: measured in blocks, so that 5,000 images fit in memory, and kept on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from rich.progress import track

from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.evaluation.average_recall import ImageRecall, recall_per_image
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.files import read_json, write_whole
from reproduce.speed import Timed

MAX_PROPOSALS = 1000
ARRAYS = ("image_ids", "instances", "matched", "best_iou", "counts", "assigned_iou")  # of a file of recall
_SECONDS = "-seconds.json"
BLOCK = 25  # images whose proposals are in memory at once

Propose = Callable[[UInt8[np.ndarray, "h w 3"], int], list[dict[str, Any]]]  # image and its id to COCO results


def measure(
    propose: Propose, source: Source, ious: Sequence[IouType], name: str, parts: Path
) -> dict[IouType, ImageRecall]:
    """Recall on all images, of masks, of boxes or of both.

    Args:
        name: shown beside the progress bar.
        parts: folder that keeps what is measured, so that a process that was stopped can go on; ``measured_seconds``
            has the time that ``propose`` took.
    """
    timed = Timed(propose)
    coco = source_to_coco(source)
    truths = {iou: parse_ground_truth(coco, iou) for iou in ious}
    places = {source.labels(index).image_id: index for index in range(len(source))}
    blocks: dict[IouType, list[ImageRecall]] = {iou: [] for iou in ious}
    image_ids = sorted(places)
    starts = range(0, len(image_ids), BLOCK)
    for start in track(starts, description=name, transient=True):
        block = image_ids[start : start + BLOCK]
        kept: dict[IouType, Path] = {iou: parts / f"{start}-{iou}.npz" for iou in ious}
        if not all(holds_recall(path) for path in kept.values()):
            results = [result for image_id in block for result in timed(source.image(places[image_id]), image_id)]
            # Before the recall: a block that has its recall has its seconds.
            write_whole(parts / f"{start}{_SECONDS}", json.dumps(timed.take()))
            for iou, path in kept.items():
                truth = truths[iou][start : start + BLOCK]  # also by ascending id
                save_recall(recall_per_image(truth, parse_results(results, truth, iou), iou), path)
        for iou, path in kept.items():
            blocks[iou].append(load_recall(path))
    return {iou: join(of_blocks) for iou, of_blocks in blocks.items()}


def measured_seconds(parts: Path) -> list[float]:
    """Seconds to propose in each image that ``measure`` kept, by ascending id."""
    starts = sorted(int(path.name.removesuffix(_SECONDS)) for path in parts.glob(f"*{_SECONDS}"))
    return [seconds for start in starts for seconds in read_json(parts / f"{start}{_SECONDS}")]


def join(blocks: Sequence[ImageRecall]) -> ImageRecall:
    """Recall on all images of several sets, one set after the other."""
    return ImageRecall(
        [image_id for block in blocks for image_id in block.image_ids],
        np.concatenate([block.instances for block in blocks]),
        np.concatenate([block.matched for block in blocks]),
        [best for block in blocks for best in block.best_iou],
        [assigned for block in blocks for assigned in block.assigned_iou],
    )


def pool(recalls: Sequence[ImageRecall]) -> ImageRecall:
    """Recall of several runs on the same images, as one: every measure becomes the mean of theirs."""
    first = recalls[0]
    assert all(recall.image_ids == first.image_ids for recall in recalls)
    return ImageRecall(
        first.image_ids,
        sum(recall.instances for recall in recalls[1:]) + first.instances,
        sum(recall.matched for recall in recalls[1:]) + first.matched,
        _together([recall.best_iou for recall in recalls]),
        _together([recall.assigned_iou for recall in recalls]),
    )


def _together(runs: Sequence[list[Float[np.ndarray, "_ n"]]]) -> list[Float[np.ndarray, "_ n"]]:
    """Image by image, the instances of all runs one after another."""
    return [np.concatenate(of_image) for of_image in zip(*runs, strict=True)]


def save_recall(recall: ImageRecall, path: Path) -> None:
    """Write arrays, without pickle."""
    buffer = io.BytesIO()
    none = np.zeros((0, recall.matched.shape[2]))
    np.savez_compressed(
        buffer,
        image_ids=np.array(recall.image_ids, dtype=np.int64),
        instances=recall.instances,
        matched=recall.matched,
        best_iou=np.concatenate([none, *recall.best_iou]),
        assigned_iou=np.concatenate([none, *recall.assigned_iou]),
        counts=np.array([len(best) for best in recall.best_iou], dtype=np.int64),
    )
    write_whole(path, buffer.getvalue())


def load_recall(path: Path) -> ImageRecall:
    """Inverse of ``save_recall``.

    Raises:
        ValueError: the file lacks what recall consists of today.
    """
    if not holds_recall(path):
        raise ValueError(f"{path}: lacks {ARRAYS[-1]}, as an earlier version wrote it: remove it, and measure anew")
    with np.load(path, allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        best, assigned = (
            np.split(arrays[name], ends) if len(arrays["counts"]) else [] for name in ("best_iou", "assigned_iou")
        )
        return ImageRecall(arrays["image_ids"].tolist(), arrays["instances"], arrays["matched"], best, assigned)


def holds_recall(path: Path) -> bool:
    """Whether there is a file that ``load_recall`` can read; one of an earlier version has to be made anew."""
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as arrays:
        return set(ARRAYS) <= set(arrays.files)
