"""The proposals of a training image, matched with its instances, and the sample of them that a step learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from instancefcn.classifier.heads import mask_grids
from instancefcn.geometry.rle import ious
from instancefcn.geometry.runs import Edges
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances

BACKGROUND = 0
CROWD_SHARE = 0.5  # a proposal of which a crowd covers this much, and which is no instance, is ignored
SAMPLED = 64  # proposals of an image in a step
FOREGROUND_IOU = 0.5  # least mask IoU with an instance
# Least mask IoU of each kind of proposal, foreground first, and its share of the sample (CFM, Dai et al., CVPR 2015).
KINDS = ((FOREGROUND_IOU, 0.3), (0.1, 0.5), (0.0, 0.2))


@dataclass(frozen=True)
class Rois:
    """Proposals of one image, then its instances, in the image's frame."""

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
        """Of the mirrored image."""
        left, top, right, bottom = self.boxes_xyxy.unbind(1)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        return replace(self, boxes_xyxy=boxes, masks=self.masks.flip(-1))


def match_proposals(
    proposals: Proposals, instances: Instances, classes: Mapping[int, int], *, partial: bool = False
) -> Rois:
    """Match proposals with instances by mask IoU; the masks of the instances become proposals too.

    Args:
        classes: class, from 1, of each category id.
        partial: objects may be unlabelled, so a proposal that touches no instance is ignored.
    """
    judged, (gt_rles, crowds) = instances.judged, instances.divided()
    rles = [*proposals.rles, *gt_rles]
    boxes = np.concatenate([proposals.boxes_xyxy, instances.boxes_xyxy[judged]])
    overlaps = ious(rles, gt_rles)
    gt_classes = np.array([classes[int(category_id)] for category_id in instances.category_ids[judged]], dtype=np.int64)
    best = overlaps.max(1, initial=0)
    labels = gt_classes[overlaps.argmax(1)] if gt_rles else np.zeros(len(rles), dtype=np.int64)
    ignored = (ious(rles, crowds, crowd=True).max(1, initial=0) >= CROWD_SHARE) & (best < FOREGROUND_IOU)
    if partial:
        ignored |= best == 0
    edges = Edges.of(rles, proposals.height, proposals.width)
    overlap = best.astype(np.float32)
    return Rois(*map(torch.from_numpy, (boxes.astype(np.float32), mask_grids(edges, boxes), overlap, labels, ignored)))


def sample(rois: Rois, generator: torch.Generator) -> tuple[Rois, Int[Tensor, "m"]]:
    """``SAMPLED`` random proposals, each kind by its share, and their classes (0: background).

    Where a kind is short, more background fills up; foreground never exceeds its share.
    """
    wanted: list[Tensor] = []
    spare: list[Tensor] = []
    above = float("inf")
    for kind, (least, share) in enumerate(KINDS):
        candidates = ((rois.overlaps >= least) & (rois.overlaps < above) & ~rois.ignored).nonzero()[:, 0]
        candidates = candidates[torch.randperm(len(candidates), generator=generator)]
        count = round(share * SAMPLED)
        wanted.append(candidates[:count])
        if kind:
            spare.append(candidates[count:])
        above = least
    rest = torch.cat(spare)
    left = SAMPLED - sum(map(len, wanted))
    sampled = rois[torch.cat([*wanted, rest[torch.randperm(len(rest), generator=generator)[:left]]])]
    return sampled, torch.where(sampled.overlaps >= FOREGROUND_IOU, sampled.labels, BACKGROUND)
