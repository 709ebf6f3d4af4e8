"""Coverage: which sizes a recipe's windows are made for, worked out by hand for one window of the paper's network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from instancefcn.apps.coverage import Coverage, coverage
from instancefcn.data import Labels, Problem, Source
from instancefcn.data.transforms import Augmentation
from instancefcn.geometry.rle import encode_in_box, tight_boxes
from instancefcn.model.build import NetworkConfig
from instancefcn.structures import Instances
from instancefcn.training.assignment import AssignmentConfig
from instancefcn.training.recipe import Recipe

HEIGHT, WIDTH = 600, 800


@dataclass(frozen=True)
class Squares(Source):
    """One image with a square instance of each side; negative ones are crowds, fractional ones to be ignored."""

    sides: tuple[float, ...]
    name: str = "squares"
    partial: bool = False
    categories: dict[int, str] = field(default_factory=lambda: {1: "square"})
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return 1

    def labels(self, index: int) -> Labels:
        lengths = [int(abs(side)) for side in self.sides]
        rles = [encode_in_box(np.ones((side, side), dtype=bool), 0, 0, HEIGHT, WIDTH) for side in lengths]
        n = len(rles)
        crowd, ignore = np.array(self.sides) < 0, np.array(self.sides) % 1 > 0
        instances = Instances(np.arange(n), rles, tight_boxes(rles), np.ones(n, dtype=int), crowd, ignore)
        return Labels(1, "squares", None, HEIGHT, WIDTH, instances)

    def image(self, index: int) -> Any:
        raise AssertionError("coverage needs no pixels")


def recipe(*shorter_sides: float, draw: Any = "one_of", **assignment: Any) -> Recipe:
    """A window of 21 positions at stride 8, made for objects of 168 * 128 / 224 = 96 network pixels."""
    return Recipe(
        network=NetworkConfig(kind="single", m=21),
        augmentation=Augmentation(shorter_sides=shorter_sides, draw=draw),
        assignment=AssignmentConfig(**assignment),
    )


def test_the_papers_rule_leaves_gaps() -> None:
    # At 600 pixels objects of 96, at 300 those of 192; each within a factor of 2^(1/4) = 1.189.
    squares = Squares((80, 81, 96, 114, 115, 161, 162, 192, 228, 229))
    assert coverage(squares, recipe(600.0, 300.0, rule="deepmask")) == Coverage(covered=6, tiny=0, missed=4)


def test_without_gaps_what_is_smaller_or_still_fits_is_covered() -> None:
    # The largest window, at 300 pixels, spans 336 image pixels.
    squares = Squares((20, 80, 115, 161, 229, 336, 337))
    rule = {"rule": "gapless", "scale_tolerance": 2**0.5}
    assert coverage(squares, recipe(600.0, 300.0, **rule)) == Coverage(covered=6, tiny=0, missed=1)


def test_every_scale_between_two_counts() -> None:
    squares = Squares((80, 81, 115, 161, 228, 229))
    between = recipe(300.0, 600.0, draw="between", rule="deepmask")
    assert coverage(squares, between) == Coverage(covered=4, tiny=0, missed=2)


def test_crowds_and_ignored_ones_do_not_count_and_tiny_ones_are_not_covered() -> None:
    result = coverage(Squares((96, -96, 96.5, 4, 9)), recipe(600.0, rule="gapless"))
    assert result == Coverage(covered=1, tiny=2, missed=0)
    assert result.percent == pytest.approx(100 / 3)


def test_nothing_to_cover_is_covered() -> None:
    result = coverage(Squares(()), recipe(600.0))
    assert result == Coverage(0, 0, 0)
    assert result.percent == 100
