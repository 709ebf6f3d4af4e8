"""Boundary IoU against sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest

import oracles
from instancefcn.evaluation.boundary_iou import boundary, boundary_iou
from instancefcn.geometry.rle import encode, ious
from pictures import rectangle


def pixels(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_boundary_is_what_sees_the_outside(distance: int) -> None:
    generator = np.random.default_rng(distance)
    for density in (0.5, 0.9, 0.99, 1.0):
        mask = generator.random((17, 23)) < density
        assert pixels(boundary(mask, distance)) == oracles.boundary(pixels(mask), distance)
    assert boundary(np.zeros((0, 3), dtype=bool), distance).shape == (0, 3)


def test_masks_of_any_place_by_their_pixels() -> None:
    generator = np.random.default_rng(0)
    values = []
    for _ in range(20):
        masks = []
        for _ in range(2):
            top, left = generator.integers(0, 20, 2)
            masks.append(rectangle(top, left, top + 20, left + 25, (40, 50)))  # some end at the image's edge
            masks[-1][generator.integers(top, min(top + 20, 40)), left + 3] = False
        sets = [oracles.boundary(pixels(mask), 3) for mask in masks]
        value = boundary_iou(*(encode(mask) for mask in masks), ratio=3 / np.hypot(40, 50))
        assert value == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
        values.append(value)
    assert 0 < np.mean(values) < 1


def test_an_outline_that_is_one_pixel_off() -> None:
    # Squares of 40 and of 38 pixels, one within the other; at 100 x 100 the distance is round(2.8) = 3.
    outer, inner = (encode(rectangle(a, a, b, b, (100, 100))) for a, b in ((10, 50), (11, 49)))
    rings = 40**2 - 34**2, 38**2 - 32**2
    both = 38**2 - 34**2
    assert boundary_iou(outer, inner) == pytest.approx(both / (sum(rings) - both))
    assert boundary_iou(outer, inner) < ious([outer], [inner])[0, 0]


def test_ends_of_the_measure() -> None:
    whole, nothing = encode(np.ones((30, 30), dtype=bool)), encode(np.zeros((30, 30), dtype=bool))
    assert boundary_iou(whole, whole) == 1
    assert boundary_iou(whole, nothing) == boundary_iou(nothing, nothing) == 0
    thin = encode(rectangle(3, 3, 4, 20, (30, 30)))
    other = encode(rectangle(3, 5, 4, 25, (30, 30)))
    assert boundary_iou(thin, other) == pytest.approx(ious([thin], [other])[0, 0])  # all of it is boundary
    small = [encode(rectangle(0, 0, 6, right, (10, 10))) for right in (6, 7)]  # the distance is 1 pixel at least
    assert boundary_iou(*small) == pytest.approx((20 - 4) / (20 + 22 - (20 - 4)))
