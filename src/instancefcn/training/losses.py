"""Losses: objectness of windows, mask pixels of positive windows, and expected IoU of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from instancefcn.config import check_values
from instancefcn.model.assembling import assemble_windows
from instancefcn.structures import ScoreMaps
from instancefcn.training.assignment import IGNORED, POSITIVE
from instancefcn.training.targets import SampledWindows

NO_TARGET = -1.0


@dataclass(frozen=True)
class LossConfig:
    """Keys of ``[loss]``. The defaults are the ``lite`` preset's."""

    # logistic (paper): on sampled windows, positives have target 1. focal: on all windows, the target of a positive is
    # the IoU of the mask that is predicted there.
    objectness: Literal["logistic", "focal"] = "focal"
    objectness_weight: float = 1.0  # of the objectness in the sum of the losses
    mask_weight: float = 1.0  # logistic, mean over the pixels of positive windows
    dice_weight: float = 1.0  # 0 in the paper
    quality_weight: float = 1.0  # networks without that branch have none

    def __post_init__(self) -> None:
        weights = (0, 1e6)
        check_values(
            self, "loss", objectness_weight=weights, mask_weight=weights, dice_weight=weights, quality_weight=weights
        )
        if not any((self.objectness_weight, self.mask_weight, self.dice_weight, self.quality_weight)):
            raise ValueError("loss: all weights are 0, so there is nothing to learn by")


class LossTotals(NamedTuple):
    """What the losses of a step are averaged over, summed over all of its images.

    They follow from labels alone. So a step in several parts, or on several processes, has the losses of one whole.
    """

    judged: float  # windows that are not ignored
    positives: float  # windows among them
    masks: float  # sampled windows that are positive
    sampled: float  # sampled windows, near misses included

    @classmethod
    def of(cls, labels: Sequence[Int[Tensor, "b _ _"]], sampled: Sequence[SampledWindows]) -> LossTotals:
        """Those of one batch."""
        return cls(
            float(sum(int((grid != IGNORED).sum()) for grid in labels)),
            float(sum(int((grid == POSITIVE).sum()) for grid in labels)),
            float(sum(int(windows.positive.sum()) for windows in sampled)),
            float(sum(len(windows.positive) for windows in sampled)),
        )


def compute_losses(
    score_maps: Sequence[ScoreMaps],
    labels: Sequence[Int[Tensor, "b _ _"]],
    sampled: Sequence[SampledWindows],
    config: LossConfig,
    totals: LossTotals,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted losses of a batch, by name: its part of a step's.

    Args:
        labels: of all windows of each ScoreMaps, as the ``sampled`` ones.
        totals: of the whole step.
    """
    # Focal: a positive's target is its IoU, so positives whose mask is not assembled stay out of the loss.
    positive_target = 1.0 if config.objectness == "logistic" else NO_TARGET
    objectness_targets = [(grid == POSITIVE).float() * positive_target for grid in labels]
    masks, dices, qualities = [], [], []
    for maps, windows, objectness_target in zip(score_maps, sampled, objectness_targets, strict=True):
        logits = assemble_windows(maps, windows.image_index, windows.positions_yx)
        iou = mask_iou_with_instance(logits.detach(), windows)
        place = (windows.image_index, *windows.positions_yx.unbind(1))
        if config.objectness == "focal":
            hits = tuple(index[windows.positive] for index in place)
            objectness_target[hits] = iou[windows.positive]
        kept = (~windows.void).float()
        masks.append(pixel_loss(logits, windows.targets, kept)[windows.positive])
        dices.append(dice_loss(logits, windows.targets, kept)[windows.positive])
        if maps.quality is not None:
            qualities.append(F.binary_cross_entropy_with_logits(maps.quality[place], iou, reduction="none"))
    losses = {
        "objectness": config.objectness_weight
        * objectness_loss(score_maps, labels, objectness_targets, config, totals),
        "mask": config.mask_weight * torch.cat(masks).sum() / max(totals.masks, 1),
        "dice": config.dice_weight * torch.cat(dices).sum() / max(totals.masks, 1),
    }
    if qualities:
        losses["quality"] = config.quality_weight * torch.cat(qualities).sum() / max(totals.sampled, 1)
    return {name: loss for name, loss in losses.items() if getattr(config, f"{name}_weight")}


def objectness_loss(
    score_maps: Sequence[ScoreMaps],
    labels: Sequence[Int[Tensor, "b _ _"]],
    targets: Sequence[Float[Tensor, "b _ _"]],
    config: LossConfig,
    totals: LossTotals,
) -> Float[Tensor, ""]:
    """Logistic loss over the windows that are not ignored: their mean, or focal, as the sum per positive window.

    The focal form for soft targets weights a window by the squared error of its score (quality focal loss, Li et al.,
    NeurIPS 2020).
    """
    logits = torch.cat([maps.objectness.flatten() for maps in score_maps])
    flat_labels = torch.cat([grid.flatten() for grid in labels])
    flat_targets = torch.cat([grid.flatten() for grid in targets])
    kept = (flat_labels != IGNORED) & (flat_targets != NO_TARGET)
    logits, target = logits[kept], flat_targets[kept]
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if config.objectness == "logistic":
        return loss.sum() / max(totals.judged, 1)
    loss = loss * (logits.sigmoid().detach() - target) ** 2
    return loss.sum() / max(totals.positives, 1)


def pixel_loss(
    logits: Float[Tensor, "n m m"], targets: Float[Tensor, "n m m"], kept: Float[Tensor, "n m m"]
) -> Float[Tensor, "n"]:
    """Logistic loss of each window, mean over its kept pixels (a sum would drown the objectness)."""
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (loss * kept).flatten(1).sum(1) / kept.flatten(1).sum(1).clamp(min=1)


def dice_loss(
    logits: Float[Tensor, "n m m"], targets: Float[Tensor, "n m m"], kept: Float[Tensor, "n m m"]
) -> Float[Tensor, "n"]:
    """One minus the soft Dice overlap of each window (V-Net, Milletari et al., 3DV 2016, with squares)."""
    scores = logits.sigmoid() * kept
    targets = targets * kept
    overlap = 2 * (scores * targets).flatten(1).sum(1)
    return 1 - (overlap + 1) / ((scores**2).flatten(1).sum(1) + (targets**2).flatten(1).sum(1) + 1)


def mask_iou_with_instance(logits: Float[Tensor, "n m m"], windows: SampledWindows) -> Float[Tensor, "n"]:
    """IoU of thresholded masks with whole instances; the part of an instance outside the window counts as missed."""
    masks = (logits > 0).float() * ~windows.void
    intersection = (masks * windows.targets).flatten(1).sum(1)
    return intersection / (masks.flatten(1).sum(1) + windows.gt_cells - intersection).clamp(min=1)
