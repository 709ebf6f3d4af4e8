"""What the network is trained on: a view of an image in the network's frame, and the instances in it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from instancefcn.geometry.cropped_masks import CroppedMasks

MIN_VISIBLE = 0.3  # an instance is ignored if a crop leaves a smaller fraction of it


@dataclass(frozen=True)
class TrainingImage:
    """One view of an image, in the network's frame, with the instances that are visible in it."""

    image: UInt8[Tensor, "3 h w"]
    gt_masks: CroppedMasks  # g of them
    gt_boxes: Float[Tensor, "g 4"]  # tight, xyxy
    gt_ignored: Bool[Tensor, "g"]  # crowds, and what is mostly cut off or covered: neither positive nor negative
    void: Bool[Tensor, "h w"]  # label unknown
    padding: Bool[Tensor, "h w"]  # no pixel of an image: windows centred here are neither positive nor negative
    partial: bool  # objects may be unlabelled, so pixels without an instance may not be background
    shorter_side: float  # of the whole image after resizing, in pixels
    longer_side: float  # as shorter_side
    scale: float  # network pixels per image pixel
    # Label of the central window, of crops made around one window; its instance, if any, is the first.
    central_label: int | None = None
    seed: int = 0  # for drawing windows
    names: tuple[str, ...] = ()  # of the files that it was made from, for messages
    lost: tuple[str, ...] = ()  # why other images, drawn before this one, could not be read: it replaces them
