"""Whether data can be learnt under a recipe: the share of instances that windows are positive for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as coco_mask

from instancefcn.data import Labels, Source
from instancefcn.model.build import build_network
from instancefcn.training.assignment import is_covered, is_tiny
from instancefcn.training.recipe import Recipe

SCALES_BETWEEN = 9  # of a range of shorter sides, that are looked at


@dataclass(frozen=True)
class Coverage:
    """Counts of instances that are neither crowds nor marked as not to be judged."""

    covered: int  # positive at some scale
    tiny: int  # too small to be judged
    missed: int  # judged, but of a size that no window is made for

    @property
    def percent(self) -> float:
        """Share that is covered; 100 where there is no instance."""
        instances = self.covered + self.tiny + self.missed
        return 100 * self.covered / instances if instances else 100.0


def coverage(source: Source, recipe: Recipe) -> Coverage:
    """Count the instances of a source that windows are positive for at some scale which training draws."""
    windows = [float(stride * m) for stride, m in build_network(recipe.network).window_sizes]
    covered = tiny = missed = 0
    for index in range(len(source)):
        labels = source.labels(index)
        too_small, positive = _of_image(labels, windows, recipe)
        tiny += int(too_small.sum())
        covered += int((positive & ~too_small).sum())
        missed += int((~positive & ~too_small).sum())
    return Coverage(covered, tiny, missed)


def _of_image(labels: Labels, windows: list[float], recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Which instances of one image are tiny, and which are of a size that some window is positive for."""
    instances = labels.instances
    kept = ~(instances.crowd | instances.ignore)
    boxes = torch.from_numpy(instances.boxes_xyxy[kept]).float()
    areas = [
        coco_mask.area(rle)  # pyright: ignore[reportArgumentType]
        for rle, keep in zip(instances.rles, kept, strict=True)
        if keep
    ]
    sides = recipe.augmentation.shorter_sides
    shorter = min(labels.height, labels.width)
    if recipe.augmentation.draw == "one_of":  # the scales share the instances out among them
        groups = [[window * shorter / side for side in sides for window in windows]]
    else:  # each scale is on its own
        scales = np.geomspace(sides[0], sides[1], SCALES_BETWEEN)
        groups = [[window * shorter / float(side) for window in windows] for side in scales]
    positive = torch.stack([is_covered(boxes, group, recipe.assignment) for group in groups]).any(0)
    return is_tiny(torch.tensor(areas, dtype=torch.float32), boxes, recipe.assignment), positive
