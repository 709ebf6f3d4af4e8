"""Random views of labelled images: resized, cropped, flipped, turned, their colours shaken, instances pasted in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from instancefcn.config import check_values
from instancefcn.data.resizing import pad, resizing_scale
from instancefcn.data.training_image import MIN_VISIBLE, TrainingImage
from instancefcn.geometry.cropped_masks import CroppedMasks
from instancefcn.geometry.runs import Edges
from instancefcn.structures import Sample


@dataclass(frozen=True)
class Augmentation:
    """Keys of ``[augmentation]``. The defaults are the ``lite`` preset's."""

    shorter_sides: tuple[float, ...] = (320.0, 800.0)  # pixels; around the one that proposing resizes to
    image_scales: tuple[float, ...] = ()  # instead of shorter_sides: factors of the image as it is, for draw = "one_of"
    draw: Literal["one_of", "between"] = "between"  # one of the shorter sides, or log-uniformly between the two
    # one_of: the side that brings the longer side of a random instance closest to this many pixels, so that few images
    # lack a positive window; 0 for any of them
    object_side: float = 0.0
    crop: int = 512  # side of a square crop, in pixels; 0 trains on whole images
    flip: bool = True  # mirror every second view
    rotate: bool = False  # turn views by none, one, two or three right angles; with flip, also up-down mirrored ones
    colour_jitter: float = 0.3  # strength of brightness, contrast and saturation changes; 0 for none
    copy_paste: float = 0.5  # share of the crops that get instances of another image pasted in

    def __post_init__(self) -> None:
        if self.copy_paste and not self.crop:
            raise ValueError("augmentation.copy_paste needs crops, which all have one size: set augmentation.crop")
        if not self.shorter_sides:
            raise ValueError("augmentation.shorter_sides must name one side at least")
        if self.image_scales and self.draw == "between":
            raise ValueError("augmentation.image_scales are drawn one by one: set augmentation.draw = 'one_of'")
        if self.object_side and self.draw == "between":
            raise ValueError(
                "augmentation.object_side takes one of the shorter_sides: set augmentation.draw = 'one_of'"
            )
        if self.draw == "between" and len(self.shorter_sides) != 2:
            raise ValueError(
                f"augmentation.draw = 'between' needs two shorter_sides, not {len(self.shorter_sides)}: give the least "
                "and the largest, or set draw = 'one_of'"
            )
        if self.draw == "between" and self.shorter_sides[0] > self.shorter_sides[1]:
            raise ValueError(f"augmentation.shorter_sides must name the least first, not {self.shorter_sides}")
        check_values(
            self,
            "augmentation",
            shorter_sides=(1, 100_000),
            image_scales=(1e-6, 1000),
            object_side=(0, 100_000),
            crop=(0, 16_384),
            colour_jitter=(0, 1),
            copy_paste=(0, 1),
        )

    def sides_of(self, shorter: float) -> tuple[float, ...]:
        """What the shorter side of an image may become; ``shorter`` is what it is, in pixels."""
        return tuple(scale * shorter for scale in self.image_scales) or self.shorter_sides


def augment(
    sample: Sample, config: Augmentation, rng: np.random.Generator, longest_side: float = math.inf
) -> TrainingImage:
    """Make a random view of a sample.

    Args:
        longest_side: pixels; an image that would be longer is resized to less.
    """
    height, width = sample.image.shape[:2]
    shorter_side = side_for_object(sample, config, rng) or draw_shorter_side(sample, config, rng)
    scale = resizing_scale(height, width, shorter_side, longest_side)
    flip = config.flip and rng.random() < 0.5
    turns = int(rng.integers(4)) if config.rotate else 0
    if not config.crop:
        top, left, crop_height, crop_width = 0.0, 0.0, float(height), float(width)
    else:
        # The crop in pixels of the sample; beyond the image it is padded.
        crop_height, crop_width = min(config.crop / scale, height), min(config.crop / scale, width)
        top, left = rng.uniform(0, height - crop_height), rng.uniform(0, width - crop_width)
    size = (max(1, round(crop_height * scale)), max(1, round(crop_width * scale)))
    rows = slice(int(top), max(int(top) + 1, round(top + crop_height)))
    columns = slice(int(left), max(int(left) + 1, round(left + crop_width)))

    image = torch.from_numpy(np.ascontiguousarray(sample.image[rows, columns])).permute(2, 0, 1)
    image = TF.resize(image, list(size), antialias=True)
    masks, ignored = _instances_in(sample, rows, columns, size)
    void = torch.zeros(size, dtype=torch.bool)
    if sample.void is not None:
        places = Edges.of([sample.void], height, width).sample(0, _nearest(rows, size[0]), _nearest(columns, size[1]))
        void = torch.from_numpy(np.ascontiguousarray(places))
    if flip:
        image, masks, void = image.flip(-1), masks.flipped(), void.flip(-1)
    if turns:
        image, void = (torch.rot90(pixels, turns, (-2, -1)) for pixels in (image, void))
        masks, size = masks.turned(turns), (image.shape[-2], image.shape[-1])
    if config.colour_jitter:
        image = shake_colours(image, config.colour_jitter, rng)
    padding = torch.zeros_like(void)
    if config.crop:
        beyond = (0, config.crop - size[1], 0, config.crop - size[0])
        image, masks = pad(image, config.crop, config.crop), replace(masks, height=config.crop, width=config.crop)
        void, padding = F.pad(void, beyond), F.pad(padding, beyond, value=True)

    boxes, seed = _as_boxes(masks), int(rng.integers(2**31))
    sides = scale * min(height, width), scale * max(height, width)
    return TrainingImage(image, masks, boxes, ignored, void, padding, sample.partial, *sides, scale, seed=seed)


def copy_paste(base: TrainingImage, donor: TrainingImage, rng: np.random.Generator) -> TrainingImage:
    """Paste a random half of the donor's instances, at least one, onto the base, at the place where the donor has them.

    After Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021.
    Instances of the base lose the pixels that are covered, and are ignored where too little is left of them. Ignored
    instances of the donor are not pasted. Both images have the same size.
    """
    assert base.image.shape == donor.image.shape
    candidates = (~donor.gt_ignored).nonzero()[:, 0].numpy()
    if not len(candidates):
        return base
    pasted = donor.gt_masks[rng.permutation(candidates)[: (len(candidates) + 1) // 2]]
    covered = torch.from_numpy(pasted.union())
    left, kept = base.gt_masks.without(covered.numpy())
    ignored = base.gt_ignored[kept] | torch.from_numpy(left.areas() < MIN_VISIBLE * base.gt_masks.areas()[kept])
    masks = left.joined(pasted)
    return replace(
        base,
        image=torch.where(covered, donor.image, base.image),
        gt_masks=masks,
        gt_boxes=_as_boxes(masks),
        gt_ignored=torch.cat([ignored, torch.zeros(len(pasted), dtype=torch.bool)]),
        void=base.void & ~covered,
        padding=base.padding & ~covered,
    )


def draw_shorter_side(sample: Sample, config: Augmentation, rng: np.random.Generator) -> float:
    """Draw the shorter side to resize to, in pixels."""
    if config.draw != "between":
        return float(rng.choice(config.sides_of(float(min(sample.image.shape[:2])))))
    low, high = config.shorter_sides
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def side_for_object(sample: Sample, config: Augmentation, rng: np.random.Generator) -> float | None:
    """Shorter side that suits a random instance; None if there is no ``object_side``, or no instance."""
    boxes = sample.instances.boxes_xyxy[sample.instances.judged]
    if not config.object_side or not len(boxes):
        return None
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)[rng.integers(len(boxes))]
    wanted = config.object_side / longer * min(sample.image.shape[:2])
    return min(config.sides_of(float(min(sample.image.shape[:2]))), key=lambda side: abs(np.log(side / wanted)))


def shake_colours(image: UInt8[Tensor, "3 h w"], strength: float, rng: np.random.Generator) -> UInt8[Tensor, "3 h w"]:
    """Scale brightness, contrast and saturation, each by a random factor in [1 - strength, 1 + strength]."""
    for adjust in (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation):
        image = adjust(image, rng.uniform(1 - strength, 1 + strength))
    return image


def _instances_in(
    sample: Sample, rows: slice, columns: slice, size: tuple[int, int]
) -> tuple[CroppedMasks, Bool[Tensor, "g"]]:
    """Masks cut to a crop and resized to ``size``, and whether each is ignored: not judged, or mostly cut off.

    Those that no pixel of the view shows are left out. Only what lies in the crop is decoded, at the view's pixels.
    """
    instances = sample.instances
    left, top, right, bottom = instances.boxes_xyxy.T
    overlap = (left < columns.stop) & (right > columns.start) & (top < rows.stop) & (bottom > rows.start)
    chosen = np.flatnonzero(overlap)
    edges = Edges.of([instances.rles[index] for index in chosen], *sample.image.shape[:2])
    rows_of_view, columns_of_view = _nearest(rows, size[0]), _nearest(columns, size[1])
    # The rows and columns of the view that each box holds: [first, end).
    x = np.searchsorted(columns_of_view, instances.boxes_xyxy[chosen, 0::2])
    y = np.searchsorted(rows_of_view, instances.boxes_xyxy[chosen, 1::2])
    crops = [
        edges.sample(index, rows_of_view[y0:y1], columns_of_view[x0:x1]).view(np.uint8)
        for index, ((x0, x1), (y0, y1)) in enumerate(zip(x, y, strict=True))
    ]
    masks, kept = CroppedMasks.tight(crops, np.stack([x[:, 0], y[:, 0]], axis=1), *size)
    inside = edges.areas_in(rows.start, columns.start, rows.stop, columns.stop)
    visible = inside / np.maximum(edges.areas_in(0, 0, edges.height, edges.width), 1)
    ignored = ~instances.judged[chosen] | (visible.astype(np.float32) < MIN_VISIBLE)
    return masks, torch.from_numpy(ignored[kept])


def _nearest(part: slice, size: int) -> Int[np.ndarray, "size"]:
    """Which pixels along one side of an image show a part of it resized to ``size`` pixels, each the nearest one."""
    pixels = torch.arange(part.stop - part.start, dtype=torch.float32)  # whole numbers, up to 2^24
    return part.start + F.interpolate(pixels[None, None], size=size, mode="nearest-exact")[0, 0].long().numpy()


def _as_boxes(masks: CroppedMasks) -> Float[Tensor, "g 4"]:
    return torch.from_numpy(masks.boxes_xyxy).float()
