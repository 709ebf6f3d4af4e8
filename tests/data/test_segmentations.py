from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.data.polygons import (
    OUTSIDE_TOLERANCE,
    Note,
    box_of_points,
    ellipse_to_rle,
    parts_to_rle,
    polygons_to_rle,
)
from instancefcn.data.segmentations import region_of_box, segmentation_to_rle, to_instances
from instancefcn.geometry.rle import Rle, decode, encode, run_ends
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
    ("polygons", "reason"),
    [
        ([square(-4.1, 3)], "x -4.1..3.9"),  # less than half of it is inside
        ([square(2, 3), square(40, 3)], None),  # half of the boxes of both
        ([square(2, 3), square(40, 3, 9)], r"x 40\.\.49"),
        ([[-1e300, 0, 1e300, 0, 0, 1e300]], "outside the image"),
    ],
)
def test_what_lies_mostly_outside_is_refused(polygons: list[list[float]], reason: str | None) -> None:
    if reason is None:
        assert decode(polygons_to_rle(polygons, HEIGHT, WIDTH)).sum() == 64
        return
    with pytest.raises(ValueError, match=reason):
        polygons_to_rle(polygons, HEIGHT, WIDTH)


def test_region_of_a_box() -> None:
    region = region_of_box([1.5, 2, 4.2, 5], HEIGHT, WIDTH)
    assert region is not None
    np.testing.assert_array_equal(decode(region), box_mask(1, 2, 5, 5))
    for unknown in (None, [2, 3, 2, 3], [30, 3, 90, 9], [0, 0, 1], [0, 0, "x", 1], [0, 0, 10**400, 1]):
        assert region_of_box(unknown, HEIGHT, WIDTH) is None
    assert box_of_points([2, 3, 10, 3, "10", 11]) == [2, 3, 10, 11]
    for unknown in (None, [2, 3, 10, 3], [2, 3, 10, 3, 10], [2, 3, 10, 3, None, 11]):
        assert box_of_points(unknown) is None


def test_polygon_to_the_border_and_a_little_beyond() -> None:
    rle = segmentation_to_rle([[-0.5, -0.5, WIDTH + 0.9, -0.5, WIDTH + 0.9, HEIGHT + 0.9, -0.5, HEIGHT]], HEIGHT, WIDTH)
    assert decode(rle).all()


REFUSED = {
    "polygon of 2 points": [[1, 1, 5, 5]],
    "polygon of 0 points": [[]],
    "there is no polygon": [],
    "x and y do not pair": [[1, 1, 5, 1, 5, 5, 1]],
    r"polygon\[4\] is nan, not a finite number": [[1, 1, 5, 1, float("nan"), 5]],
    "is inf, not a finite": [[1, 1, 5, 1, float("inf"), 5]],
    r"polygon\[4\] is 1000": [[1, 1, 5, 1, 10**400, 5]],
    r"\[4\] is '9e999'": [[1, 1, 5, 1, "9e999", 5]],
    r"polygon\[2\] is '5_0', not": [[1, 1, "5_0", 1, 5, 5]],
    r"polygon\[2\] is True, not": [[1, 1, True, 1, 5, 5]],
    r"polygon\[0\] is \[1, 1\], not": [[[1, 1], [1, 2, 3], [5, 5]]],
    "polygon must be a flat list of numbers, not 'x'": [[1, 1, 5, 1, 5, 5], "x"],
    "of 2 points": [1, 1, 5, 5],
    r"x 100\.\.108, y 3\.\.11: outside the image of 32 x 24": [square(100, 3)],
    r"x -3\.\.5, y -3": [square(-3, -3)],
    "zero area": [[1, 1, 5, 5, 9, 9]],
    "covers no pixel": [[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]],
    "longer than": [[0, 0, WIDTH, HEIGHT] * 20_000],
    "segmentation is missing": None,
    "an RLE, {size, counts}, not 'polygon'": "polygon",
    r"size \[32, 24\] is not that of its image, \[24, 32\]": {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
    "size None": {"counts": [1]},
    "counts sum to 3, not to 24 x 32 = 768": {"size": [HEIGHT, WIDTH], "counts": [1, 2]},
    "whole numbers": {"size": [HEIGHT, WIDTH], "counts": [0.5, 767.5]},
    "from 0 on": {"size": [HEIGHT, WIDTH], "counts": [-1, 769]},
    r"RLE counts\[0\] is nan": {"size": [HEIGHT, WIDTH], "counts": [float("nan")]},
    "RLE counts must": {"size": [HEIGHT, WIDTH], "counts": None},
    "counts are damaged: they do not fill 24 x 32": {
        "size": [HEIGHT, WIDTH],
        "counts": encode(box_mask(2, 3, 9, 9))["counts"].decode()[:1],
    },
    "RLE counts must be": {"size": [HEIGHT, WIDTH], "counts": "é"},
    "are damaged": {"size": [HEIGHT, WIDTH], "counts": "o" * 30 + "0"},
    "damaged": {"size": [HEIGHT, WIDTH], "counts": ""},
    "zero area: the mask": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        segmentation_to_rle(REFUSED[reason], HEIGHT, WIDTH)


def test_no_instances() -> None:
    instances = to_instances([], [], [])
    assert len(instances) == 0
    assert instances.boxes_xyxy.shape == (0, 4)
    assert instances.crowd.dtype == instances.ignore.dtype == bool


def test_parts_and_holes() -> None:
    parts = [[square(2, 3, 12), square(4, 5, 3), square(9, 9, 2)], [square(20, 3, 4)]]
    expected = box_mask(2, 3, 14, 15) & ~box_mask(4, 5, 7, 8) & ~box_mask(9, 9, 11, 11) | box_mask(20, 3, 24, 7)
    np.testing.assert_array_equal(decode(parts_to_rle(parts, HEIGHT, WIDTH)), expected)


def test_what_a_hole_covers_outside_its_polygon_stays_background() -> None:
    rle = parts_to_rle([[square(2, 3), square(6, 7, 12)]], HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode(rle), box_mask(2, 3, 10, 11) & ~box_mask(6, 7, 18, 19))


def test_a_hole_is_not_a_hole_of_another_part() -> None:
    rle = parts_to_rle([[square(2, 3), square(4, 5, 4)], [square(3, 4, 4)]], HEIGHT, WIDTH)
    np.testing.assert_array_equal(decode(rle), box_mask(2, 3, 10, 11) & ~box_mask(4, 5, 8, 9) | box_mask(3, 4, 7, 8))


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
    mask = decode(ellipse_to_rle((x, y), (radius_x, radius_y), degrees, HEIGHT, WIDTH, least=0.0))
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


def outcome(read: Callable[[Note], Rle]) -> str:
    notes: list[str] = []
    try:
        read(notes.append)
    except ValueError as error:
        return str(error).partition(":")[2]
    return " ".join(notes).partition(":")[2]


@settings(deadline=None)
@given(numbers, numbers, st.integers(1, 30), st.integers(1, 30), st.floats(-360, 360))
def test_an_ellipse_has_to_be_inside_as_its_outline_has(x: float, y: float, a: int, b: int, degrees: float) -> None:
    """Refused, noted as cut off, or neither, as the polygon of its outline is, but for the last digits of its box."""
    angles, turn = np.linspace(0, 2 * np.pi, 10_001), np.deg2rad(degrees)
    along, across = a * np.cos(angles), b * np.sin(angles)
    dx, dy = np.cos(turn) * along - np.sin(turn) * across, np.sin(turn) * along + np.cos(turn) * across
    grown, shrunk, exact = (
        outcome(
            lambda note, by=by: polygons_to_rle([np.c_[x + by * dx, y + by * dy].ravel().tolist()], HEIGHT, WIDTH, note)
        )
        for by in (1.0001, 0.9999, 1)
    )
    assume(grown == shrunk)
    assert outcome(lambda note: ellipse_to_rle((x, y), (a, b), degrees, HEIGHT, WIDTH, note)) == exact
