"""Proposals kept on disk, so that several classifiers name the same ones; and labelled masks as proposals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from instancefcn.data.source import Labels, Source
from instancefcn.files import write_whole
from instancefcn.geometry.rle import from_json, tight_boxes, to_json
from instancefcn.proposals import Proposals
from reproduce.recall import MAX_PROPOSALS

ProposalsOf = Callable[[Source, int], Proposals]  # source and index of an image to its proposals, best first


@dataclass(frozen=True)
class KeptProposals:
    """The best ``MAX_PROPOSALS`` proposals of each image, a file each.

    Args:
        propose: makes missing ones; called with ``max_proposals``.
    """

    propose: Callable[..., Proposals]
    folder: Path

    def __call__(self, source: Source, index: int) -> Proposals:
        path = self.folder / f"{source.labels(index).image_id}.json"
        if not path.exists():
            image: UInt8[np.ndarray, "h w 3"] = source.image(index)
            write_whole(path, to_text(self.propose(image, max_proposals=MAX_PROPOSALS)))
        return from_text(path.read_text(encoding="utf-8"))


def to_text(proposals: Proposals) -> str:
    """Proposals as JSON, exactly; boxes follow from masks and are left out."""
    counts = [to_json(rle)["counts"] for rle in proposals.rles]
    size = proposals.height, proposals.width
    return json.dumps({"size": size, "scores": proposals.scores.tolist(), "counts": counts})


def from_text(text: str) -> Proposals:
    """Inverse of ``to_text``."""
    table = json.loads(text)
    rles = [from_json({"size": table["size"], "counts": counts}) for counts in table["counts"]]
    return Proposals(rles, tight_boxes(rles), np.array(table["scores"], dtype=np.float64), *table["size"])


def masks_of(source: Source, index: int) -> Proposals:
    """``labelled_masks`` of an image of a source."""
    return labelled_masks(source.labels(index))


def labelled_masks(labels: Labels) -> Proposals:
    """The instances of an image as proposals with score 1, without crowds and ignored ones."""
    instances = labels.instances
    rles, _ = instances.divided()
    boxes = instances.boxes_xyxy[instances.judged]
    return Proposals(rles, boxes, np.ones(len(rles)), labels.height, labels.width)
