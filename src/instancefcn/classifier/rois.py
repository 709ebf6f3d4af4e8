"""The proposals of a training image, matched with its instances, and those of them that a step sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from pycocotools import mask as coco_mask
from torch import Tensor

from instancefcn.classifier.config import RoiConfig
from instancefcn.classifier.pooling import mask_grids
from instancefcn.geometry.rle import Rle
from instancefcn.geometry.runs import Edges
from instancefcn.structures import Instances, Proposals

BACKGROUND = 0
CROWD_SHARE = 0.5  # a proposal of which a crowd covers this much, and which is no instance, is not judged


@dataclass(frozen=True)
class Rois:
    """Proposals of one image, and its instances after them, in its frame."""

    boxes_xyxy: Float[Tensor, "n 4"]
    masks: UInt8[Tensor, "n 14 14"]  # on the grid of the box
    overlaps: Float[Tensor, "n"]  # highest mask IoU with an instance
    labels: Int[Tensor, "n"]  # class of that instance, from 1
    ignored: Bool[Tensor, "n"]  # neither foreground nor background

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Int[Tensor, "m"]) -> Rois:
        return Rois(**{name: tensor[chosen] for name, tensor in vars(self).items()})

    def flipped(self, width: int) -> Rois:
        """The same of the image mirrored."""
        left, top, right, bottom = self.boxes_xyxy.unbind(1)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        return replace(self, boxes_xyxy=boxes, masks=self.masks.flip(-1))


def match(proposals: Proposals, instances: Instances, classes: Mapping[int, int], *, partial: bool = False) -> Rois:
    """Match proposals with instances by mask IoU; the instances' own masks are added to them.

    Args:
        classes: class, from 1, of each category id.
        partial: objects may be unlabelled, so what touches no instance is not known to be background.
    """
    unjudged = instances.crowd | instances.ignore
    judged = np.flatnonzero(~unjudged)
    gt_rles = [instances.rles[index] for index in judged]
    rles = [*proposals.rles, *gt_rles]
    boxes = np.concatenate([proposals.boxes_xyxy, instances.boxes_xyxy[judged]])
    overlaps = _overlaps(rles, gt_rles, crowd=False)
    gt_classes = np.array([classes[int(instances.category_ids[index])] for index in judged], dtype=np.int64)
    best = overlaps.max(1, initial=0)
    labels = gt_classes[overlaps.argmax(1)] if len(judged) else np.zeros(len(rles), dtype=np.int64)
    crowds = [instances.rles[index] for index in np.flatnonzero(unjudged)]
    ignored = (_overlaps(rles, crowds, crowd=True).max(1, initial=0) >= CROWD_SHARE) & (best < 0.5)
    if partial:
        ignored |= best == 0
    edges = Edges.of(rles, proposals.height, proposals.width)
    return Rois(
        torch.from_numpy(boxes).float(),
        torch.from_numpy(mask_grids(edges, boxes)),
        torch.from_numpy(best).float(),
        torch.from_numpy(labels),
        torch.from_numpy(ignored),
    )


def sample(rois: Rois, config: RoiConfig, generator: torch.Generator) -> tuple[Rois, Int[Tensor, "m"]]:
    """Random ones of each kind of overlap, by their fractions, and the class each should get (0: background).

    Where one kind is short the others fill up, foreground aside: it stays at its fraction at most.
    """
    wanted: list[Tensor] = []
    above = float("inf")
    spare: list[Tensor] = []
    for kind, (least, fraction) in enumerate(zip(config.overlaps, config.fractions, strict=True)):
        here = (rois.overlaps >= least) & (rois.overlaps < above) & ~rois.ignored
        candidates = here.nonzero()[:, 0]
        candidates = candidates[torch.randperm(len(candidates), generator=generator)]
        count = round(fraction * config.per_image)
        wanted.append(candidates[:count])
        if kind:
            spare.append(candidates[count:])
        above = least
    left = config.per_image - sum(map(len, wanted))
    rest = torch.cat(spare) if spare else wanted[0][:0]
    chosen = torch.cat([*wanted, rest[torch.randperm(len(rest), generator=generator)[:left]]])
    sampled = rois[chosen]
    return sampled, torch.where(sampled.overlaps >= config.overlaps[0], sampled.labels, BACKGROUND)


def _overlaps(rles: Sequence[Rle], others: Sequence[Rle], *, crowd: bool) -> Float[np.ndarray, "n g"]:
    """IoU of masks; with crowds the share of the first mask that the crowd covers."""
    if not rles or not others:
        return np.zeros((len(rles), len(others)))
    first: Any = list(rles)
    second: Any = list(others)
    return np.asarray(coco_mask.iou(first, second, np.full(len(others), crowd, dtype=np.uint8)))
