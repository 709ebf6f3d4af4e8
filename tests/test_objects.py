"""Objects among ranked candidates: no duplicates, no clumps, one owner a pixel where asked, clean masks, chances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import oracles
from instancefcn.cleaning import SMALLEST_HOLE, SMALLEST_PART, clean, drop_specks, fill_holes
from instancefcn.geometry.rle import decode, encode, tight_boxes
from instancefcn.objects import (
    ANY_NUMBER,
    INSIDE,
    LIKE_SIZE,
    MANY_ALIKE,
    ObjectRule,
    choose_objects,
    eased,
    make_exclusive,
)
from instancefcn.proposals import Proposals, Segments

RULE = ObjectRule(threshold=0.5, scores=(0.2, 0.4, 0.6), chances=(0.0, 0.5, 0.9), smoothing=0.0)


def rectangles(*places: tuple[int, int, int, int], size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Masks [n, h, w] of boxes (left, top, right, bottom)."""
    masks = np.zeros((len(places), *size), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, places, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def proposals(masks: np.ndarray, scores: list[float], rule: ObjectRule | None = RULE) -> Proposals:
    rles = [encode(mask) for mask in masks]
    return Proposals(rles, tight_boxes(rles), np.array(scores), *masks.shape[1:], rule=rule)


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 0.35, 1.0]),
    st.sampled_from([0, 1, 2, 8]),
)
@example(28197, 0.5, 0.35, 8)  # a tie
def test_objects_are_those_of_the_definition(seed: int, max_iou: float, max_filled: float, max_inside: int) -> None:
    rng = np.random.default_rng(seed)
    corners = [(left, top, left + w, top + h) for left, top, w, h in rng.integers(1, 9, size=(12, 4)).tolist()]
    masks = rectangles(*corners)
    rule = ObjectRule(0.0, max_iou, max_filled, max_inside)
    expected = oracles.objects_among(masks, max_iou, max_filled, max_inside, INSIDE)
    assert choose_objects([encode(mask) for mask in masks], rule).tolist() == expected


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 200)), max_size=12),
    st.integers(12, 20),
    st.sampled_from([0.2, 0.5]),
    st.sampled_from([0.3, 1.0]),
)
def test_scores_count_as_the_definition_says(
    others: list[tuple[float, int]], sure: int, threshold: float, alike: float
) -> None:
    scores, areas = zip(*others, *((threshold, 100 + 3 * index) for index in range(sure)), strict=True)
    expected = oracles.scores_that_count(list(scores), list(areas), threshold, alike, MANY_ALIKE, LIKE_SIZE)
    rule = ObjectRule(threshold, alike=alike)
    found = eased(np.array(scores), rule.easing(np.array(scores), np.array(areas, dtype=float)))
    np.testing.assert_allclose(found, expected, atol=1e-12)


GRID = [(6 * x, 6 * y, 6 * x + 4, 6 * y + 4) for y in range(4) for x in range(5)]


@pytest.mark.parametrize(
    ("sure", "places", "alike", "objects"),
    [
        (12, GRID, 0.4, 19),  # all but the last, which scores under 0.2
        (11, GRID, 0.4, 11),
        (12, GRID, 0.8, 12),  # which is the threshold itself
        (12, [(x, y, x + 1 + x % 4, y + 1 + y % 4) for x, y, _, _ in GRID], 0.4, 12),  # of many sizes
    ],
)
def test_many_objects_of_a_size_vouch_for_each_other(
    sure: int, places: list[tuple[int, int, int, int]], alike: float, objects: int
) -> None:
    rule = ObjectRule(0.4, max_filled=1.0, smoothing=0.0, alike=alike, scores=(0.0, 1.0), chances=(0.0, 0.5))
    scores = [0.5] * sure + [0.25] * (19 - sure) + [0.15]
    found = proposals(rectangles(*places, size=(30, 40)), scores, rule)
    vouched = objects > sure
    chances = [0.5 if vouched else 0.25] * sure + [0.25] * (objects - sure)
    assert found.objects().scores.tolist() == pytest.approx(chances)
    assert len(found.objects(0.4)) == (sure if vouched else 0)  # a given threshold is a chance, also among many
    assert len(found.objects(0.1)) == (20 if vouched else 19)


def test_a_high_threshold_does_not_take_the_witnesses_away() -> None:
    """Objects below it vouch for each other, too, and so the better ones have a higher chance."""
    rule = ObjectRule(0.4, max_filled=1.0, smoothing=0.0, alike=0.5)
    found = proposals(rectangles(*GRID, size=(30, 40)), [0.6] * 8 + [0.42] * 12, rule)
    assert found.objects(0.9).scores.tolist() == [1.0] * 8


def test_an_empty_mask_is_no_object() -> None:
    masks = np.zeros((14, 30, 40), dtype=bool)
    masks[0, :5, :5] = True
    found = proposals(masks, [0.5] + [0.9] * 13)
    assert len(found.objects()) == len(found.objects(exclusive=True)) == 1


def test_a_duplicate_and_a_clump_are_left_out_and_food_on_a_plate_stays() -> None:
    plate, food, again = (0, 0, 20, 20), (4, 4, 12, 12), (4, 4, 12, 11)
    masks = rectangles(plate, food, again)
    assert choose_objects([encode(mask) for mask in masks], RULE).tolist() == [0, 1]
    grains = (0, 0, 8, 8), (10, 0, 18, 8)
    masks = rectangles(*grains, (0, 0, 18, 8))  # both grains in one mask
    assert choose_objects([encode(mask) for mask in masks], RULE).tolist() == [0, 1]


@pytest.mark.parametrize(("shared", "expected"), [(7, [0, 1]), (8, [0])])
def test_a_better_object_lies_inside_from_more_than_seven_tenths_of_it(shared: int, expected: list[int]) -> None:
    better, worse = np.zeros((2, 1, 20), dtype=bool)
    better[0, :10], worse[0, 10 - shared : 10] = True, True
    assert choose_objects([encode(better), encode(worse)], replace(RULE, max_iou=0.9)).tolist() == expected


def test_a_tray_of_many_coins_is_left_out_and_one_of_few_stays() -> None:
    coins = [(3 * x, 4 * y, 3 * x + 1, 4 * y + 1) for x in range(3) for y in range(3)]
    masks = [encode(mask) for mask in rectangles(*coins, (0, 0, 20, 20))]
    assert choose_objects(masks, RULE).tolist() == list(range(9))
    assert choose_objects(masks[1:], RULE).tolist() == list(range(9))
    assert choose_objects(masks, replace(RULE, max_inside=ANY_NUMBER)).tolist() == list(range(10))


def test_scores_of_objects_are_chances_and_the_threshold_is_the_rules() -> None:
    found = proposals(rectangles((0, 0, 5, 5), (10, 0, 15, 5), (20, 0, 25, 5)), [0.55, 0.5, 0.45])
    np.testing.assert_allclose(found.objects().scores, [0.8, 0.7])
    np.testing.assert_allclose(found.objects(0.6).scores, [0.8, 0.7, 0.6])  # a given threshold is a chance
    assert len(found.objects(0.85)) == 0
    assert found.objects().objects(0.75).scores.tolist() == pytest.approx([0.8])  # no chance of a chance


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5), st.floats(0, 1))
def test_the_lowest_score_is_where_the_chance_reaches_the_threshold(
    knots: list[tuple[float, float]], threshold: float
) -> None:
    scores, chances = (tuple(sorted(values)) for values in zip(*knots, strict=True)) if knots else ((), ())
    rule = ObjectRule(threshold=0.3, scores=scores, chances=chances)
    lowest = rule.lowest_score(threshold)
    for score in np.linspace(0, 1, 101):
        if abs(score - lowest) > 1e-9:
            assert (rule.chance(np.array([score]))[0] >= threshold - 1e-9) >= (score > lowest)
            assert (rule.chance(np.array([score]))[0] < threshold + 1e-9) >= (score < lowest)
    assert rule.lowest_score(None) == 0.3


def test_without_a_rule_a_threshold_is_required_and_scores_stay() -> None:
    found = proposals(rectangles((0, 0, 5, 5), (10, 0, 15, 5)), [0.4, 0.3], rule=None)
    with pytest.raises(ValueError, match=r"objects\(threshold=\.\.\.\)"):
        found.objects()
    assert found.objects(0.35).scores.tolist() == [0.4]
    many = proposals(
        rectangles(*GRID, size=(30, 40)), [0.5] * 10 + [0.3] * 10, rule=None
    )  # alike, and no easier for it
    assert many.objects(0.2).scores.tolist() == [0.5] * 10 + [0.3] * 10


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 50.0])
@pytest.mark.parametrize("rule", [None, RULE, ObjectRule(threshold=0.5)])
def test_a_threshold_that_is_no_chance_is_refused(rule: ObjectRule | None, threshold: float) -> None:
    with pytest.raises(ValueError, match="give a number from 0 to 1"):
        proposals(rectangles((0, 0, 5, 5)), [0.4], rule).objects(threshold)


def test_a_pixel_belongs_to_one_object_where_asked() -> None:
    masks = rectangles((0, 0, 10, 10), (8, 0, 18, 10), (2, 2, 6, 6))
    found = proposals(masks, [0.9, 0.8, 0.7])
    assert [object.area for object in found.objects()] == [100, 100, 16]
    exclusive = found.objects(exclusive=True)  # the third one lies wholly inside the first
    assert [object.area for object in exclusive] == [100, 80]
    np.testing.assert_array_equal(exclusive.boxes_xyxy, [[0, 0, 10, 10], [10, 0, 18, 10]])
    assert exclusive.masks().sum(0).max() == 1


@settings(deadline=None)
@given(arrays(bool, (4, 9, 9)))
def test_exclusive_masks_partition_what_they_cover(masks: np.ndarray) -> None:
    masks = masks[masks.any((1, 2))]
    rles = [encode(mask) for mask in masks]
    kept, exclusive = make_exclusive(rles)
    decoded = [decode(rle) for rle in exclusive]
    taken = np.zeros((9, 9), dtype=bool)
    expected = []
    for index, mask in enumerate(masks):
        if 2 * (mask & ~taken).sum() >= mask.sum():
            expected.append((index, mask & ~taken))
            taken |= mask
    assert kept.tolist() == [index for index, _ in expected]
    assert all(np.array_equal(ours, theirs) for ours, (_, theirs) in zip(decoded, expected, strict=True))


@settings(deadline=None)
@given(arrays(bool, (11, 12)))
def test_holes_and_specks_are_those_of_the_definition(mask: np.ndarray) -> None:
    expected = oracles.filled_and_without_specks(mask, SMALLEST_HOLE, SMALLEST_PART)
    np.testing.assert_array_equal(drop_specks(fill_holes(mask)), expected)


@pytest.mark.parametrize("corner", [(0, 0), (30, 20)])
def test_a_jag_is_smoothed_and_nothing_moves(corner: tuple[int, int]) -> None:
    y, x = np.indices((100, 120))
    disc = (y - 30 - corner[1]) ** 2 + (x - 30 - corner[0]) ** 2 < 30**2  # the first one touches the border
    rim = np.abs(np.hypot(y - 30 - corner[1], x - 30 - corner[0]) - 30) < 2
    jagged = disc ^ (rim & (np.random.default_rng(0).random(disc.shape) < 0.3))
    rle = encode(jagged)
    smooth = decode(clean(rle, smoothing=0.05))
    assert (smooth & disc).sum() / (smooth | disc).sum() > max(0.97, (jagged & disc).sum() / (jagged | disc).sum())


def test_what_is_thinner_than_the_blur_keeps_its_outline() -> None:
    line = rectangles((0, 5, 30, 6))[0]
    rle = encode(line)
    assert clean(rle, smoothing=0.5) == rle


def test_objects_of_segments_keep_their_categories() -> None:
    found = proposals(rectangles((0, 0, 5, 5), (0, 0, 5, 6), (10, 0, 15, 5)), [0.9, 0.8, 0.7], rule=None)
    segments = Segments(found.rles, found.boxes_xyxy, found.scores, 20, 30, category_ids=np.array([4, 5, 6]))
    assert segments.objects(0.5).category_ids.tolist() == [4, 6]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("threshold", 1.5, "objects.threshold is 1.5"),
        ("max_iou", float("nan"), "objects.max_iou"),
        ("scores", (0.5, 0.2, 0.6), "objects.scores must rise"),
        ("chances", (0.5, 2.0, 3.0), "objects.chances must rise"),
        ("chances", (0.5,), "3 numbers"),
    ],
)
def test_an_unsound_rule_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RULE, **{key: value})


def test_every_object_is_drawn_and_of_candidates_the_ten_best() -> None:
    masks = rectangles(*[(x, y, x + 2, y + 2) for y in range(0, 20, 4) for x in range(0, 30, 4)])
    found = proposals(masks, np.linspace(0.9, 0.6, len(masks)).tolist())
    image = np.zeros((20, 30, 3), dtype=np.uint8)

    def shown(picture: np.ndarray) -> int:
        return int((picture[masks.any(0)].reshape(-1, 3).any(1)).sum()) // 4

    objects = found.objects()
    assert (len(objects), shown(objects.draw(image))) == (40, 40)
    assert shown(objects.draw(image, top=3)) < 40
    assert shown(found.draw(image)) < 40
