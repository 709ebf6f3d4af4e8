"""How much of a source a recipe can learn: the share of instances that are positive at some scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from instancefcn.data import Source
from instancefcn.data.resizing import resized_size
from instancefcn.geometry.rle import area
from instancefcn.model.build import build_network
from instancefcn.training.assignment import is_covered, is_tiny
from instancefcn.training.recipe import Recipe


@dataclass(frozen=True)
class Coverage:
    """Counts of the instances of a source, crowds and ignored ones aside."""

    instances: int
    tiny: int  # too small to be judged
    covered: int  # of a size for which some window is positive, at one of the scales that the recipe proposes at

    @property
    def share(self) -> float:
        """Covered ones of all, in [0, 1]; 1 where there are none."""
        return self.covered / self.instances if self.instances else 1.0


def coverage(source: Source, recipe: Recipe) -> Coverage:
    """Count what a recipe's windows are made for, without reading any image."""
    sides = [float(size.stride * size.m) for size in build_network(recipe.network).window_sizes]
    total = tiny = covered = 0
    for index in range(len(source)):
        labels = source.labels(index)
        instances = labels.instances
        judged = ~(instances.crowd | instances.ignore)
        boxes = torch.from_numpy(instances.boxes_xyxy[judged]).float()
        areas = torch.tensor([area(rle) for rle, kept in zip(instances.rles, judged, strict=True) if kept])
        scales = [
            resized_size(labels.height, labels.width, side, recipe.inference.longest_side)[0] / labels.height
            for side in recipe.inference.shorter_sides
        ]
        too_small = is_tiny(areas, boxes)
        fitting = is_covered(boxes, [side / scale for side in sides for scale in scales], recipe.assignment)
        total += len(boxes)
        tiny += int(too_small.sum())
        covered += int((fitting & ~too_small).sum())
    return Coverage(total, tiny, covered)
