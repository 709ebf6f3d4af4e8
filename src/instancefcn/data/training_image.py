"""What the network is trained on: a view of an image in the network's frame, and the instances in it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

PADDING_VALUE = 127  # beyond the image; near the mean of every trunk, so that the border is no strong edge
MIN_VISIBLE = 0.3  # an instance of which a crop leaves less is neither positive nor negative


@dataclass(frozen=True)
class TrainingImage:
    """One image in the network's frame with the instances that are seen in it."""

    image: UInt8[Tensor, "3 h w"]
    gt_masks: UInt8[Tensor, "g h w"]
    gt_boxes: Float[Tensor, "g 4"]  # tight, xyxy
    gt_ignored: Bool[Tensor, "g"]  # crowds, and what a crop cut to pieces: neither positive nor negative
    void: Bool[Tensor, "h w"]  # label unknown
    partial: bool  # what no instance covers is not known to be background
    shorter_side: float  # that the whole image was resized to, in pixels
    scale: float  # network pixels per image pixel
    # Of a crop around one window: the label of the central window, whose instance, if any, is the first. The others
    # have none.
    central_label: int | None = None
    seed: int = 0  # of the draws of windows; a batch takes that of its first image
