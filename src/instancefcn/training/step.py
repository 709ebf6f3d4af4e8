"""One training step: a batch through the network to its losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instancefcn.data.transforms import PADDING_VALUE, TrainingImage
from instancefcn.model.build import Network
from instancefcn.training.assignment import IGNORED, POSITIVE, Assignment, assign, is_tiny
from instancefcn.training.losses import compute_losses
from instancefcn.training.recipe import Recipe
from instancefcn.training.targets import sample_labels, sample_windows


class Batch:
    """Training images that pass through Fabric as they are: in a plain list it would look for tensors to cast."""

    def __init__(self, images: Sequence[TrainingImage]) -> None:
        self.images = images


class TrainingNetwork(nn.Module):
    """A network with its losses as ``forward``, so that data-parallel training wraps one module."""

    def __init__(self, network: Network, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        recipe, images = self.recipe, batch.images
        device = next(self.network.parameters()).device
        pixels = pad_to_batch(images, self.network.size_multiple)
        score_maps = self.network(pixels.to(device, memory_format=torch.channels_last).float())
        grids = [(maps.stride, maps.m, *maps.objectness.shape[-2:]) for maps in score_maps]
        assignments = [assign_image(image, grids, recipe) for image in images]
        if recipe.loss.objectness == "logistic":
            assignments = [keep_sampled(grids, recipe.sampling.windows, generator) for grids in assignments]
        # Targets are made where the images are, on the CPU: many small steps that a GPU would wait for.
        drawn = sample_windows(score_maps, assignments, images, recipe.sampling, generator)
        sampled = [windows.to(device) for windows in drawn]
        labels = [torch.stack([grid.labels for grid in grids]).to(device) for grids in zip(*assignments, strict=True)]
        return compute_losses(score_maps, labels, sampled, recipe.loss)


def pad_to_batch(images: Sequence[TrainingImage], multiple: int) -> Tensor:
    """Images [b, 3, h, w], uint8, padded to the largest and to a multiple of the network's coarsest stride."""
    height, width = (max(-(-image.image.shape[axis] // multiple) * multiple for image in images) for axis in (1, 2))
    return torch.stack(
        [
            F.pad(image.image, (0, width - image.image.shape[2], 0, height - image.image.shape[1]), value=PADDING_VALUE)
            for image in images
        ]
    )


def assign_image(image: TrainingImage, grids: Sequence[tuple[int, int, int, int]], recipe: Recipe) -> list[Assignment]:
    """Labels of all windows of one training image."""
    if image.central_label is not None:
        return [_central_alone(height, width, image.central_label) for _, _, height, width in grids]
    areas = image.gt_masks.flatten(1).sum(1) / image.scale**2
    ignored = image.gt_ignored | is_tiny(areas, image.gt_boxes / image.scale, recipe.assignment)
    other_sides: list[float] = []
    if recipe.augmentation.draw != "between":  # an image pyramid: the other scales have windows of their own
        ratios = [image.shorter_side / side for side in recipe.augmentation.shorter_sides if side != image.shorter_side]
        other_sides = [stride * m * ratio for stride, m, _, _ in grids for ratio in ratios]
    return assign(image.gt_boxes, ignored, grids, recipe.assignment, image.partial, other_sides)


def _central_alone(height: int, width: int, label: int) -> Assignment:
    """All windows ignored but the central one."""
    labels, gt_index = torch.full((height, width), IGNORED), torch.full((height, width), -1)
    labels[height // 2, width // 2] = label
    gt_index[height // 2, width // 2] = 0 if label == POSITIVE else -1
    return Assignment(labels, gt_index)


def keep_sampled(grids: Sequence[Assignment], windows: int, generator: torch.Generator) -> list[Assignment]:
    """The assignment of one image with all but the sampled windows ignored."""
    labels = sample_labels([grid.labels for grid in grids], windows, generator)
    return [Assignment(kept, grid.gt_index) for kept, grid in zip(labels, grids, strict=True)]
