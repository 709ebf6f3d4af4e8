"""Coverage of a data set by a recipe: the fraction of instances that some window is made for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from instancefcn.data.resizing import resized_size
from instancefcn.data.source import Source
from instancefcn.geometry.rle import areas
from instancefcn.model.build import build_network
from instancefcn.training.assignment import is_covered, is_tiny
from instancefcn.training.recipe import Recipe


@dataclass(frozen=True)
class Coverage:
    """Counts of the instances of a source, without crowds and ignored ones."""

    instances: int
    tiny: int  # too small to be judged
    covered: int  # some window is positive for this size, at one of the recipe's scales

    @property
    def share(self) -> float:
        """Fraction of instances that are covered; 1 if there are no instances."""
        return self.covered / self.instances if self.instances else 1.0


def coverage(source: Source, recipe: Recipe) -> Coverage:
    """Count the instances that a recipe's windows can learn, without reading any image."""
    sides = [float(size.side) for size in build_network(recipe.network).window_sizes]
    total = tiny = covered = 0
    for index in range(len(source)):
        labels = source.labels(index)
        instances = labels.instances
        boxes = torch.from_numpy(instances.boxes_xyxy[instances.judged]).float()
        pixels = torch.from_numpy(areas(instances.divided()[0])).float()
        longest = recipe.inference.longest_resized
        scales = [
            resized_size(labels.height, labels.width, side, longest)[0] / labels.height
            for side in recipe.inference.sides_of(labels.height, labels.width)
        ]
        largest = max(scales) if recipe.assignment.judged_in == "view" else 1.0
        too_small = is_tiny(pixels * largest**2, boxes * largest)
        fitting = is_covered(boxes, [side / scale for side in sides for scale in scales], recipe.assignment)
        total += len(boxes)
        tiny += int(too_small.sum())
        covered += int((fitting & ~too_small).sum())
    return Coverage(total, tiny, covered)
