"""Coverage: which sizes a recipe's windows are made for, worked out by hand for one window of the paper's network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from inference.scenes import plain
from instancefcn.apps.validate import describe_coverage
from instancefcn.data.segmentations import to_instances
from instancefcn.data.selection import Selection
from instancefcn.data.source import Labels, Problem, Source
from instancefcn.geometry.rle import encode_in_box
from instancefcn.model.config import NetworkConfig
from instancefcn.training.assignment import AssignmentConfig
from instancefcn.training.coverage import Coverage, coverage
from instancefcn.training.recipe import Recipe
from synthetic import SyntheticScenes

HEIGHT, WIDTH = 600, 800


class Boxes(Source):
    """Images with full boxes (height, width), of which those named may be crowds or to be ignored."""

    name = "boxes"
    partial = False
    problems: Sequence[Problem] = ()

    def __init__(
        self,
        *images: Sequence[tuple[int, int]],
        crowds: Sequence[tuple[int, int]] = (),
        ignored: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.images, self.crowds, self.ignored = images, crowds, ignored
        self.categories = {1: "box"}

    def __len__(self) -> int:
        return len(self.images)

    def labels(self, index: int) -> Labels:
        boxes = self.images[index]
        rles = [encode_in_box(np.ones(box, dtype=bool), 3, 5, HEIGHT, WIDTH) for box in boxes]
        crowd, ignore = ([box in marked for box in boxes] for marked in (self.crowds, self.ignored))
        instances = to_instances(range(len(boxes)), rles, [1] * len(boxes), crowd, ignore)
        return Labels(index + 1, f"{index}.png", None, HEIGHT, WIDTH, instances)

    def image(self, index: int) -> Any:
        raise AssertionError("coverage needs no pixels")


def squares(*sides: int) -> Boxes:
    """One image."""
    return Boxes([(side, side) for side in sides])


def recipe(*shorter_sides: float, longest_side: float = 10_000.0, **assignment: Any) -> Recipe:
    """A window of 21 positions at stride 8, made for objects of 168 * 128 / 224 = 96 network pixels."""
    return Recipe(
        network=NetworkConfig(kind="single", window_sizes=(21,), finest_window_sizes=(), channels=8),
        assignment=AssignmentConfig(object_to_window=128 / 224, **({"scale_tolerance": 2**0.25} | assignment)),
        inference=plain(shorter_sides=tuple(map(float, shorter_sides)), longest_side=float(longest_side)),
    )


def test_the_papers_rule_leaves_gaps() -> None:
    # At 600 pixels objects of 96, at 300 those of 192; each within a factor of 2^(1/4) = 1.189.
    source = squares(80, 81, 96, 114, 115, 161, 162, 192, 228, 229)
    assert coverage(source, recipe(600, 300, rule="deepmask")) == Coverage(instances=10, tiny=0, covered=6)


def test_without_gaps_what_is_smaller_or_still_fits_is_covered() -> None:
    # The largest window, at 300 pixels, spans 336 image pixels. A factor of sqrt(2) joins 96 and 192.
    source = squares(20, 80, 115, 135, 136, 161, 229, 336, 337)
    wide = recipe(600, 300, rule="gapless", scale_tolerance=2**0.5)
    assert coverage(source, wide) == Coverage(instances=9, tiny=0, covered=8)
    # A tolerance that is too narrow for the scales leaves its gap between them all the same.
    narrow = recipe(600, 300, rule="gapless", scale_tolerance=2**0.25)
    assert coverage(source, narrow) == Coverage(instances=9, tiny=0, covered=8 - 4)


def test_the_nearest_scale_takes_everything_that_fits() -> None:
    source = squares(20, 115, 136, 161, 229, 336, 337)
    assert coverage(source, recipe(600, 300, rule="nearest_scale")) == Coverage(instances=7, tiny=0, covered=6)


def test_the_longer_side_counts() -> None:
    source = Boxes([(10, 96), (96, 10), (96, 115), (115, 96)])
    assert coverage(source, recipe(600, rule="deepmask")) == Coverage(instances=4, tiny=0, covered=2)


def test_the_longest_side_bounds_the_scale() -> None:
    # 800 x 600 pixels at 400 x 300, whatever shorter side is asked for.
    for shorter_sides in ([600], [600, 300]):
        bounded = recipe(*shorter_sides, longest_side=400, rule="deepmask")
        assert coverage(squares(96, 96, 192), bounded) == Coverage(instances=3, tiny=0, covered=1)


def test_every_window_of_a_pyramid_counts() -> None:
    # At strides 4, 8, 16, 32, 64 windows of 10 span 40 to 640 pixels, at stride 4 one of 5 spans 20; objects are half.
    network = NetworkConfig(channels=16, window_sizes=(10,), finest_window_sizes=(5,))
    assignment = AssignmentConfig(rule="deepmask", object_to_window=0.5, scale_tolerance=2**0.25)
    pyramid = Recipe(network=network, assignment=assignment, inference=plain(shorter_sides=(600.0,)))
    source = squares(10, 14, 20, 28, 40, 57, 80, 113, 160, 200)  # made for, between, ..., made for, larger than all
    assert coverage(source, pyramid) == Coverage(instances=10, tiny=0, covered=5)


def test_what_is_not_to_be_judged_does_not_count_and_tiny_ones_are_not_covered() -> None:
    # Tiny: an area under 100 pixels or a side under 5.
    boxes = [(96, 96), (97, 97), (98, 98), (4, 90), (9, 11), (10, 10), (5, 20)]
    source = Boxes(boxes, crowds=[(97, 97)], ignored=[(98, 98)])
    assert coverage(source, recipe(600, rule="gapless")) == Coverage(instances=5, tiny=2, covered=3)
    # (4, 90) is of the right size, but tiny.
    assert coverage(source, recipe(600, rule="deepmask")) == Coverage(instances=5, tiny=2, covered=1)


def test_all_images_are_counted() -> None:
    result = coverage(Boxes([(96, 96)], [], [(96, 96), (300, 300)]), recipe(600, rule="deepmask"))
    assert result == Coverage(instances=3, tiny=0, covered=2)
    assert result.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("source", [Boxes(), Boxes([]), Boxes([(96, 96)], crowds=[(96, 96)])])
def test_of_nothing_there_is_no_share(source: Boxes) -> None:
    result = coverage(source, recipe(600))
    assert result == Coverage(0, 0, 0)
    assert np.isnan(result.share)
    assert describe_coverage(result, "lite") == "  coverage under the recipe lite: there is no instance to learn"


def test_images_of_several_sizes_add_up() -> None:
    few, many = SyntheticScenes(3, height=48, width=64), SyntheticScenes(5, height=480, width=300)
    mixed = Selection([(many, 0), (few, 0), (many, 1), (few, 1), (few, 2), (many, 2), (many, 3), (many, 4)], "mixed")
    one, other, both = (coverage(source, Recipe()) for source in (few, many, mixed))
    assert one.share != other.share
    sums = (one.instances + other.instances, one.tiny + other.tiny, one.covered + other.covered)
    assert (both.instances, both.tiny, both.covered) == sums
