from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.data.polygons import OUTSIDE_TOLERANCE, ellipse_to_rle, parts_to_rle, polygons_to_rle
from instancefcn.data.segmentations import segmentation_to_rle, to_instances
from instancefcn.geometry.rle import Rle, decode, run_ends
from labelled import HEIGHT, WIDTH, box_mask, square


@settings(deadline=None)  # the first one may be compiled
@given(st.binary(max_size=12) | st.text(max_size=12))
def test_counts_of_any_text_are_refused_or_fill_the_image(text: bytes | str) -> None:
    """pycocotools reads beyond its memory on some of these."""
    try:
        rle = segmentation_to_rle({"size": [4, 5], "counts": text}, 4, 5)
    except ValueError:
        return
    assert 0 < decode(rle).sum() <= 20


@settings(deadline=None)  # the first one may be compiled
@given(st.lists(st.integers(-1, 12), max_size=8))
def test_counts_of_any_list_are_refused_or_right(counts: list[int]) -> None:
    """Empty runs in the middle too, after which pycocotools finds boxes that are not tight."""
    valid = min(counts, default=0) >= 0 and sum(counts) == 20 and sum(counts[1::2]) > 0
    if not valid:
        with pytest.raises(ValueError, match=r"bad RLE|zero area"):
            segmentation_to_rle({"size": [4, 5], "counts": counts}, 4, 5)
        return
    rle = segmentation_to_rle({"size": [4, 5], "counts": counts}, 4, 5)
    pixels = [bool(run % 2) for run, count in enumerate(counts) for _ in range(count)]
    mask = np.array(pixels).reshape(5, 4).T
    np.testing.assert_array_equal(decode(rle), mask)
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert to_instances([1], [rle], [1]).boxes_xyxy.tolist() == [box]


def test_polygons_are_united() -> None:
    rle = segmentation_to_rle([square(2, 3), square(6, 3), square(20, 10, 4)], HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode(rle), box_mask(2, 3, 14, 11) | box_mask(20, 10, 24, 14))
    assert to_instances([1], [rle], [1]).boxes_xyxy.tolist() == [[2, 3, 24, 14]]


def test_a_flat_polygon_is_one_polygon() -> None:
    assert segmentation_to_rle(square(2, 3), HEIGHT, WIDTH) == segmentation_to_rle([square(2, 3)], HEIGHT, WIDTH)


def test_forms_that_are_clear() -> None:
    """Numbers as text, and points as pairs."""
    wanted = segmentation_to_rle([square(2, 3)], HEIGHT, WIDTH)
    pairs = [[2, 3], [10, 3], [10, 11], [2, 11]]
    text = [str(number) for number in square(2, 3)]
    for form in ([pairs], pairs, [text], text, [["2.0", "3e0", 10, " 3", "10.", "+11", "2", 11.0]]):
        assert segmentation_to_rle(form, HEIGHT, WIDTH) == wanted
    code: dict[str, Any] = {"size": ["24", 32.0], "counts": decode_runs(wanted)}
    assert segmentation_to_rle(code, HEIGHT, WIDTH) == wanted


def decode_runs(rle: Rle) -> list[str]:
    """Uncompressed run lengths, as text."""
    places, _ = run_ends([rle["counts"]])
    return [str(run) for run in np.diff(places, prepend=0).tolist()]


def test_a_part_of_two_points_is_left_out() -> None:
    notes: list[str] = []
    rle = segmentation_to_rle([square(2, 3), [1, 1, 5, 5], []], HEIGHT, WIDTH, notes.append)
    assert rle == segmentation_to_rle([square(2, 3)], HEIGHT, WIDTH)
    assert notes == [f"a part of {n} points is left out: a polygon takes 3 at least" for n in (2, 0)]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
def test_what_reaches_beyond_the_image_is_cut_off(seed: int, count: int) -> None:
    """Every pixel that is not on the outline is right."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform([-6, -6], [WIDTH + 6, HEIGHT + 6], (count, 2)), [[9, 9], [20, 20]]]).round(1)
    notes: list[str] = []
    mask = decode(polygons_to_rle([points.ravel().tolist()], HEIGHT, WIDTH, notes.append))
    inside, distance = oracles.polygon(points, HEIGHT, WIDTH)
    np.testing.assert_array_equal(mask[distance > 1], inside[distance > 1])
    beyond = (points < -OUTSIDE_TOLERANCE).any() or (points > np.array([WIDTH, HEIGHT]) + OUTSIDE_TOLERANCE).any()
    assert len(notes) == beyond


def test_notes_of_what_is_cut_off_name_both() -> None:
    notes: list[str] = []
    polygons_to_rle([square(-3, 3)], HEIGHT, WIDTH, notes.append)
    assert notes == ["polygon spans x -3..5, y 3..11: cut off at the border of the image of 32 x 24"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([[]], "polygon of 0 points"),
        ([[[1, 1]]], "polygon of 1 points: it takes 3"),
        ([], "of 0 points"),
        ([[square(99, 3)]], "outside"),
    ],
)
def test_refused_parts(parts: list[list[list[float]]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parts_to_rle(parts, HEIGHT, WIDTH)


numbers = st.floats(-20, 50).map(lambda number: round(number, 1))


@settings(deadline=None)  # the first one may be compiled
@given(numbers, numbers, st.floats(0.5, 30), st.floats(0.5, 30), st.floats(-360, 360))
def test_ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float) -> None:
    """Its pixels, turned back about its centre, are those whose centres a circle of radius 1 has, scaled by axis."""
    ellipse = oracles.ellipse(x, y, radius_x, radius_y, degrees, HEIGHT, WIDTH)
    mask = decode(ellipse_to_rle((x, y), (radius_x, radius_y), degrees, HEIGHT, WIDTH))
    assert (mask | ~(ellipse < 0.999)).all()
    assert not (mask & (ellipse > 1.001)).any()


def test_ellipse_by_hand() -> None:
    """Turned by 90 degrees, the long axis is upright; one that is flat covers nothing."""
    mask = decode(ellipse_to_rle((10, 10), (6, 1), 90, HEIGHT, WIDTH))
    np.testing.assert_array_equal(np.argwhere(mask.any(axis=0)).ravel(), [9, 10])
    np.testing.assert_array_equal(np.argwhere(mask.any(axis=1)).ravel(), range(5, 15))
    assert not decode(ellipse_to_rle((10, 10), (6, 0), 0, HEIGHT, WIDTH)).any()
    with pytest.raises(ValueError, match=r"ellipse\[1\] is nan"):
        ellipse_to_rle((10, float("nan")), (6, 1), 0, HEIGHT, WIDTH)
