"""Training on crops around single windows, as DeepMask trains: the second row of the paper's Table 2.

A crop has the label and the mask target that its window has when the whole image is trained on. So both ways of
training differ only in what windows share. (One exception: of a cell that the image's border cuts, targets of the whole
image count the part inside.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from instancefcn.data.resizing import PADDING_VALUE
from instancefcn.data.source import Source
from instancefcn.data.training_image import TrainingImage
from instancefcn.geometry.cropped_masks import CroppedMasks
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import NEGATIVE, POSITIVE, Grid
from instancefcn.training.batch import assign_image
from instancefcn.training.dataset import TrainingStream
from reproduce.deepmask import CROP
from reproduce.recipe import ExperimentRecipe


class CropStream(Dataset[list[TrainingImage]]):
    """Lists of crops, each around windows of one random view of a random image.

    Args:
        window_sizes: of the network; crops need a network with one.

    Raises:
        ValueError: the network has windows of several sizes.
    """

    def __init__(self, sources: Sequence[Source], recipe: ExperimentRecipe, window_sizes: Sequence[WindowSize]) -> None:
        if len(window_sizes) != 1:
            raise ValueError(
                "crops.per_image goes with one window size, which a pyramid does not have: choose another network.kind"
            )
        self.recipe, self.window = recipe, window_sizes[0]
        self.views = TrainingStream(
            sources, recipe.augmentation, recipe.source_balance, recipe.seed, recipe.longest_view
        )

    def __getitem__(self, index: int) -> list[TrainingImage]:
        rng = np.random.default_rng((index, self.recipe.seed))
        return window_crops(self.views[index], self.recipe, self.window, rng)


def window_crops(
    view: TrainingImage, recipe: ExperimentRecipe, window: WindowSize, rng: np.random.Generator
) -> list[TrainingImage]:
    """Crops around ``crops.per_image`` windows of a view: half of them positive, or fewer where there are not enough.

    Args:
        window: size of the network's windows.
    """
    height, width = view.image.shape[-2:]
    (assignment,) = assign_image(view, [Grid.over(height, width, window)], recipe)
    count = recipe.crops.per_image
    positives = _draw((assignment.labels == POSITIVE).nonzero(), count // 2, rng)
    negatives = _draw((assignment.labels == NEGATIVE).nonzero(), count - len(positives), rng)
    return [
        crop_around(view, (y, x), int(assignment.gt_index[y, x]) if of_instance else None, window.stride, CROP)
        for places, of_instance in ((positives, True), (negatives, False))
        for y, x in places.tolist()
    ]


def crop_around(
    view: TrainingImage, position_yx: tuple[int, int], instance: int | None, stride: int, side: int
) -> TrainingImage:
    """The crop whose map, of ``side // stride`` positions a side, has a window of the view at its centre.

    Args:
        instance: that the window is positive for; None for a negative window.
    """
    corner = [(place - side // stride // 2) * stride for place in position_yx]
    chosen = slice(0, 0) if instance is None else slice(instance, instance + 1)
    masks = CroppedMasks.of(_crop(torch.from_numpy(view.gt_masks[chosen].whole()), corner, side, 0).numpy())
    return replace(
        view,
        image=_crop(view.image, corner, side, PADDING_VALUE),
        gt_masks=masks,
        gt_boxes=torch.from_numpy(masks.boxes_xyxy).float(),
        gt_ignored=view.gt_ignored[chosen],
        void=_crop(view.void[None], corner, side, 0)[0],
        padding=_crop(view.padding[None], corner, side, 1)[0],
        central_label=NEGATIVE if instance is None else POSITIVE,
    )


def _crop(layers: Tensor, corner_yx: Sequence[int], side: int, beyond: int) -> Tensor:
    """A square of each layer [n, h, w], filled with ``beyond`` outside the image."""
    top, left = corner_yx
    height, width = layers.shape[-2:]
    inside = layers[..., max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    padding = (max(-left, 0), max(left + side - width, 0), max(-top, 0), max(top + side - height, 0))
    return F.pad(inside, padding, value=beyond)


def _draw(places: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    return places[torch.from_numpy(rng.permutation(len(places))[:count])]
