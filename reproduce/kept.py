"""Proposals of images, on disk once they are made, so that several classifiers name the same; and labelled masks."""

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
from instancefcn.structures import Proposals
from reproduce.recall import MAX_PROPOSALS

ProposalsOf = Callable[[Source, int], Proposals]  # of an image of a source, best first


@dataclass(frozen=True)
class KeptProposals:
    """The best ``MAX_PROPOSALS`` of each image, in a file of its own.

    Args:
        propose: makes what is missing; called with ``max_proposals``.
    """

    propose: Callable[..., Proposals]
    folder: Path

    def __call__(self, source: Source, index: int) -> Proposals:
        path = self.folder / f"{source.labels(index).image_id}.json"
        if not path.exists():
            image: UInt8[np.ndarray, "h w 3"] = source.image(index)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, to_text(self.propose(image, max_proposals=MAX_PROPOSALS)).encode())
        return from_text(path.read_text(encoding="utf-8"))


def to_text(proposals: Proposals) -> str:
    """As JSON, to the last digit; boxes are left out, as masks have them."""
    counts = [to_json(rle)["counts"] for rle in proposals.rles]
    size = proposals.height, proposals.width
    return json.dumps({"size": size, "scores": proposals.scores.tolist(), "counts": counts})


def from_text(text: str) -> Proposals:
    """What ``to_text`` wrote."""
    table = json.loads(text)
    rles = [from_json({"size": table["size"], "counts": counts}) for counts in table["counts"]]
    return Proposals(rles, tight_boxes(rles), np.array(table["scores"], dtype=np.float64), *table["size"])


def masks_of(source: Source, index: int) -> Proposals:
    """``labelled_masks`` of an image of a source."""
    return labelled_masks(source.labels(index))


def labelled_masks(labels: Labels) -> Proposals:
    """The instances of an image as its proposals, each with score 1; crowds and what is not judged left out."""
    instances = labels.instances
    judged = np.flatnonzero(~(instances.crowd | instances.ignore))
    rles = [instances.rles[index] for index in judged]
    return Proposals(rles, instances.boxes_xyxy[judged], np.ones(len(rles)), labels.height, labels.width)
