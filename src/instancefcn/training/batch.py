"""From training images to a batch with everything the losses are taken against, made in the processes that load images.

Labels and targets depend on the sizes of windows, not on what the network says, so no step has to wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from instancefcn.data.resizing import pad
from instancefcn.data.training_image import TrainingImage
from instancefcn.geometry.masks import areas
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import IGNORED, POSITIVE, Assignment, assign, is_tiny
from instancefcn.training.recipe import Recipe
from instancefcn.training.targets import SampledWindows, sample_labels, sample_windows


class Batch:
    """Images, and for each ScoreMaps that the network will give of them the labels of all windows and some targets.

    No dataclass: in one Fabric would look for tensors to cast.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "b 3 h w"],
        labels: Sequence[Int[Tensor, "b _ _"]],
        sampled: Sequence[SampledWindows],
    ) -> None:
        self.pixels, self.labels, self.sampled = pixels, labels, sampled

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.pixels.to(device),
            [labels.to(device) for labels in self.labels],
            [windows.to(device) for windows in self.sampled],
        )

    def __getstate__(self) -> dict[str, Any]:
        """One tensor for each type: every tensor that passes from one process to another takes a file descriptor."""
        tensors = [
            self.pixels,
            *self.labels,
            *(tensor for windows in self.sampled for tensor in vars(windows).values()),
        ]
        flat = {
            dtype: torch.cat([tensor.flatten() for tensor in tensors if tensor.dtype == dtype])
            for dtype in {tensor.dtype for tensor in tensors}
        }
        return {"flat": flat, "shapes": [(tensor.dtype, tensor.shape) for tensor in tensors], "sizes": len(self.labels)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shapes, sizes = state["shapes"], state["sizes"]
        parts = {
            dtype: iter(flat.split([shape.numel() for of, shape in shapes if of == dtype]))
            for dtype, flat in state["flat"].items()
        }
        tensors = [next(parts[dtype]).view(shape) for dtype, shape in shapes]
        self.pixels, self.labels, of_windows = tensors[0], tensors[1 : 1 + sizes], tensors[1 + sizes :]
        each = len(fields(SampledWindows))
        self.sampled = [SampledWindows(*of_windows[i : i + each]) for i in range(0, len(of_windows), each)]


@dataclass(frozen=True)
class BatchMaker:
    """Makes a batch of training images, or of lists of them: crops of one view lie side by side.

    Args:
        sizes: of the windows of each ScoreMaps that the network gives in training.
        size_multiple: what the network's coarsest stride asks the sides of images to be multiples of.
    """

    recipe: Recipe
    sizes: Sequence[WindowSize]
    size_multiple: int

    def __call__(self, items: Sequence[TrainingImage | list[TrainingImage]]) -> Batch:
        images = [image for item in items for image in (item if isinstance(item, list) else [item])]
        pixels = pad_to_batch(images, self.size_multiple)
        height, width = pixels.shape[-2:]
        grids = [(stride, m, -(-height // stride), -(-width // stride)) for stride, m, _ in self.sizes]
        assignments = [assign_image(image, grids, self.recipe) for image in images]
        generator = torch.Generator().manual_seed(images[0].seed)  # the batch is a function of its images
        if self.recipe.loss.objectness == "logistic":
            windows = self.recipe.sampling.windows
            assignments = [keep_sampled(of_image, windows, generator) for of_image in assignments]
        sampled = sample_windows(self.sizes, assignments, images, self.recipe.sampling, generator)
        labels = [torch.stack([grid.labels for grid in of_size]) for of_size in zip(*assignments, strict=True)]
        return Batch(pixels, labels, sampled)


def pad_to_batch(images: Sequence[TrainingImage], multiple: int) -> UInt8[Tensor, "b 3 h w"]:
    """Images padded to the largest, and to a multiple of the network's coarsest stride."""
    height, width = (max(-(-image.image.shape[axis] // multiple) * multiple for image in images) for axis in (1, 2))
    return torch.stack([pad(image.image, height, width) for image in images])


def assign_image(image: TrainingImage, grids: Sequence[tuple[int, int, int, int]], recipe: Recipe) -> list[Assignment]:
    """Labels of all windows of one training image.

    Args:
        grids: (stride, m, height, width) of each grid of positions.
    """
    if image.central_label is not None:
        return [_central_alone(height, width, image.central_label) for _, _, height, width in grids]
    ignored = image.gt_ignored | is_tiny(areas(image.gt_masks) / image.scale**2, image.gt_boxes / image.scale)
    other_sides: list[float] = []
    if recipe.augmentation.draw != "between":  # an image pyramid: the other scales have windows of their own
        ratios = [image.shorter_side / side for side in recipe.augmentation.shorter_sides if side != image.shorter_side]
        other_sides = [stride * m * ratio for stride, m, _, _ in grids for ratio in ratios]
    return assign(image.gt_boxes, ignored, grids, recipe.assignment, image.partial, other_sides)


def keep_sampled(grids: Sequence[Assignment], windows: int, generator: torch.Generator) -> list[Assignment]:
    """The assignment of one image with all but the sampled windows ignored."""
    labels = sample_labels([grid.labels for grid in grids], windows, generator)
    return [Assignment(kept, grid.gt_index) for kept, grid in zip(labels, grids, strict=True)]


def _central_alone(height: int, width: int, label: int) -> Assignment:
    """All windows ignored but the central one."""
    labels, gt_index = torch.full((height, width), IGNORED), torch.full((height, width), -1)
    labels[height // 2, width // 2] = label
    gt_index[height // 2, width // 2] = 0 if label == POSITIVE else -1
    return Assignment(labels, gt_index)
