"""Coverage of a data set by a recipe: the fraction of instances that some window is made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from instancefcn.data.resizing import resized_size
from instancefcn.data.source import Source
from instancefcn.geometry.rle import areas
from instancefcn.model.build import build_empty
from instancefcn.structures import Instances
from instancefcn.training.assignment import is_covered, is_tiny
from instancefcn.training.recipe import Recipe


@dataclass(frozen=True)
class Coverage:
    """Counts of the instances of a source, without crowds and ignored ones."""

    instances: int
    tiny: int  # too small to be judged
    covered: int  # some window is positive for this size, at one of the sides that the recipe proposes at

    @property
    def share(self) -> float:
        """Fraction of instances that are covered; NaN without instances."""
        return self.covered / self.instances if self.instances else math.nan


def coverage(source: Source, recipe: Recipe) -> Coverage:
    """Count the instances that a recipe's windows can learn, without reading any image."""
    sides = [float(size.side) for size in build_empty(recipe.network).window_sizes]
    of_size: dict[tuple[int, int], list[Instances]] = {}  # of an image: those of one size are counted together
    for index in range(len(source)):
        labels = source.labels(index)
        of_size.setdefault((labels.height, labels.width), []).append(labels.instances)
    total = tiny = covered = 0
    for (height, width), every in of_size.items():
        boxes = torch.from_numpy(np.concatenate([one.boxes_xyxy[one.judged] for one in every])).float()
        pixels = torch.from_numpy(areas([rle for one in every for rle in one.divided()[0]])).float()
        longest = recipe.inference.longest_resized
        scales = [
            resized_size(height, width, side, longest)[0] / height for side in recipe.inference.sides_of(height, width)
        ]
        largest = max(scales) if recipe.assignment.judged_in == "view" else 1.0
        too_small = is_tiny(pixels * largest**2, boxes * largest)
        fitting = is_covered(boxes, [side / scale for side in sides for scale in scales], recipe.assignment)
        total += len(boxes)
        tiny += int(too_small.sum())
        covered += int((fitting & ~too_small).sum())
    return Coverage(total, tiny, covered)
