"""Batches: images, labels and targets, made in the processes that load images.

Labels and targets depend on the window sizes, not on the network's output, so no training step waits for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from instancefcn.data.resizing import pad, resizing_scale
from instancefcn.data.training_image import TrainingImage
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import IGNORED, POSITIVE, Assignment, Grid, assign, is_tiny
from instancefcn.training.recipe import Recipe
from instancefcn.training.targets import SampledWindows, keep_sampled, sample_windows


class Batch:
    """Images, with the labels of all windows and the targets of some, for each ScoreMaps of the network.

    Not a dataclass, because Fabric would look into one for tensors to cast.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "b 3 h w"],
        labels: Sequence[Int[Tensor, "b _ _"]],
        sampled: Sequence[SampledWindows],
        names: Sequence[str] = (),
        lost: Sequence[str] = (),
    ) -> None:
        self.pixels, self.labels, self.sampled = pixels, labels, sampled
        self.names, self.lost = names, lost  # as those of ``TrainingImage``, of all images

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.pixels.to(device),
            [labels.to(device) for labels in self.labels],
            [windows.to(device) for windows in self.sampled],
            self.names,
            self.lost,
        )

    def __getstate__(self) -> dict[str, Any]:
        """One tensor per dtype, because each tensor that is sent to another process takes a file descriptor."""
        targets = (tensor for windows in self.sampled for tensor in vars(windows).values())
        tensors = [self.pixels, *self.labels, *targets]
        flat = {
            dtype: torch.cat([tensor.flatten() for tensor in tensors if tensor.dtype == dtype])
            for dtype in {tensor.dtype for tensor in tensors}
        }
        return {
            "flat": flat,
            "shapes": [(tensor.dtype, tensor.shape) for tensor in tensors],
            "sizes": len(self.labels),
            "texts": (self.names, self.lost),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        shapes, sizes = state["shapes"], state["sizes"]
        self.names, self.lost = state["texts"]
        parts = {
            dtype: iter(flat.split([shape.numel() for other, shape in shapes if other == dtype]))
            for dtype, flat in state["flat"].items()
        }
        tensors = [next(parts[dtype]).view(shape) for dtype, shape in shapes]
        self.pixels, self.labels, rest = tensors[0], tensors[1 : 1 + sizes], tensors[1 + sizes :]
        each = len(fields(SampledWindows))
        self.sampled = [SampledWindows(*rest[i : i + each]) for i in range(0, len(rest), each)]


@dataclass(frozen=True)
class BatchMaker:
    """Collates training images, or lists of them (the crops of one view), into a batch.

    Args:
        sizes: window size of each ScoreMaps that the network returns in training.
        size_multiple: the sides of images are padded to a multiple of this, ``Network.size_multiple``.
    """

    recipe: Recipe
    sizes: Sequence[WindowSize]
    size_multiple: int

    def __call__(self, items: Sequence[TrainingImage | list[TrainingImage]]) -> Batch:
        images = [image for item in items for image in (item if isinstance(item, list) else [item])]
        pixels = pad_to_batch(images, self.size_multiple)
        height, width = pixels.shape[-2:]
        grids = [Grid.over(height, width, size) for size in self.sizes]
        assignments = [assign_image(image, grids, self.recipe) for image in images]
        generators = [torch.Generator().manual_seed(image.seed) for image in images]
        if self.recipe.loss.objectness == "logistic":
            windows = self.recipe.sampling.windows
            pairs = zip(assignments, generators, strict=True)
            assignments = [keep_sampled(grids, windows, generator) for grids, generator in pairs]
        sampled = sample_windows(self.sizes, assignments, images, self.recipe.sampling, generators)
        labels = [torch.stack([grid.labels for grid in batch]) for batch in zip(*assignments, strict=True)]
        names, lost = ([text for image in images for text in getattr(image, of)] for of in ("names", "lost"))
        return Batch(pixels, labels, sampled, names, lost)


def pad_to_batch(images: Sequence[TrainingImage], multiple: int) -> UInt8[Tensor, "b 3 h w"]:
    """Images padded to the largest, and to sides that are multiples of ``multiple``."""
    height, width = (max(-(-image.image.shape[axis] // multiple) * multiple for image in images) for axis in (1, 2))
    return torch.stack([pad(image.image, height, width) for image in images])


def assign_image(image: TrainingImage, grids: Sequence[Grid], recipe: Recipe) -> list[Assignment]:
    """Label all windows of one training image, grid by grid."""
    if image.central_label is not None:
        return [_central_alone(grid, image.central_label) for grid in grids]
    scale = image.scale if recipe.assignment.judged_in == "image" else 1.0
    ignored = image.gt_ignored | is_tiny(torch.from_numpy(image.gt_masks.areas()) / scale**2, image.gt_boxes / scale)
    other_sides: list[float] = []
    if recipe.augmentation.draw != "between":  # an image pyramid: its other scales have windows too
        shorter, longer = image.shorter_side / image.scale, image.longer_side / image.scale
        sides = recipe.augmentation.sides_of(shorter)
        scales = [resizing_scale(shorter, longer, side, recipe.longest_view) for side in sides]
        ratios = [image.scale / scale for scale in scales if not math.isclose(scale, image.scale)]
        other_sides = [grid.size.side * ratio for grid in grids for ratio in ratios]
    return assign(image.gt_boxes, ignored, grids, recipe.assignment, image.partial, other_sides, image.padding)


def _central_alone(grid: Grid, label: int) -> Assignment:
    """Ignore all windows but the central one."""
    shape, center = (grid.height, grid.width), (grid.height // 2, grid.width // 2)
    labels, gt_index = torch.full(shape, IGNORED), torch.full(shape, -1)
    labels[center] = label
    gt_index[center] = 0 if label == POSITIVE else -1
    return Assignment(labels, gt_index)
