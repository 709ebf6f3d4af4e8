"""What proposals find and miss: found objects are the PHOTOGRAPH, tinted; missed ones white in red."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from colours import smallest_difference
from instancefcn.evaluation.curves import render
from instancefcn.evaluation.results import GroundTruth, ScoredRegions
from instancefcn.geometry.rle import decode, encode
from instancefcn.viz.best_proposals import FOUND_COLOURS, MISSED_COLOUR, draw_beside, draw_best, find_best
from pictures import HEIGHT, WIDTH, photograph, rectangle


def labelled(*masks: np.ndarray, crowd: tuple[int, ...] = ()) -> GroundTruth:
    areas = np.array([mask.sum() for mask in masks], dtype=float)
    is_crowd = np.isin(np.arange(len(masks)), crowd)
    return GroundTruth(1, HEIGHT, WIDTH, [encode(mask) for mask in masks], areas, is_crowd)


def ranked(*masks: np.ndarray) -> ScoredRegions:
    return ScoredRegions([encode(mask) for mask in masks], np.linspace(1, 0, len(masks), endpoint=False))


def is_red(picture: np.ndarray) -> np.ndarray:
    return (picture == MISSED_COLOUR).all(-1)


PHOTOGRAPH = photograph() // 2 + 20  # neither white nor red
FOUND, MISSED = rectangle(20, 20, 60, 60), rectangle(70, 90, 110, 150)


def test_of_each_instance_the_best_proposal_is_taken() -> None:
    worse, better, half = rectangle(20, 20, 60, 70), rectangle(20, 20, 60, 61), rectangle(70, 90, 110, 115)
    best = find_best(labelled(FOUND, rectangle(0, 0, 120, 160), MISSED, crowd=(1,)), ranked(worse, half, better))
    assert best.ious == pytest.approx([40 / 41, 25 / 60])
    assert best.missed == 1
    np.testing.assert_array_equal(decode(best.rles[0]), better)
    np.testing.assert_array_equal(decode(best.rles[1]), half)


@pytest.mark.parametrize("proposals", [(), (rectangle(0, 0, 5, 5),)])
def test_what_nothing_touches_is_missed(
    proposals: tuple[np.ndarray, ...],
) -> None:
    best = find_best(labelled(FOUND, MISSED), ranked(*proposals))
    assert best.missed == 2
    picture = draw_best(PHOTOGRAPH, best)
    np.testing.assert_array_equal(is_red(picture) | (picture == 255).all(-1), True)


def test_an_iou_of_a_half_is_found() -> None:
    half = rectangle(20, 20, 40, 60)
    best = find_best(labelled(FOUND), ranked(half))
    assert best.ious.tolist() == [0.5]
    assert best.missed == 0
    assert not is_red(draw_best(PHOTOGRAPH, best)).any()


def test_found_is_tinted_missed_is_white_in_red_and_the_rest_is_white() -> None:
    picture = draw_best(PHOTOGRAPH, find_best(labelled(FOUND, MISSED), ranked(FOUND)))
    np.testing.assert_array_equal(picture[40, 40], np.rint(0.5 * PHOTOGRAPH[40, 40] + 0.5 * FOUND_COLOURS[0]))
    np.testing.assert_array_equal(picture[MISSED], 255)
    red = is_red(picture)
    ring = rectangle(68, 88, 112, 152) & ~MISSED
    np.testing.assert_array_equal(red, ring)  # 1.5 pixels, rounded up
    np.testing.assert_array_equal(picture[:10], 255)


def test_a_missed_object_is_seen_however_thin_and_whatever_lies_over_it() -> None:
    thin = rectangle(30, 5, 31, 155)  # through the found one
    red = is_red(draw_best(PHOTOGRAPH, find_best(labelled(FOUND, thin), ranked(FOUND))))
    assert red[29, 5:155].all()
    assert red[31, 5:155].all()


def test_a_found_object_keeps_its_colour_whatever_else_is_found() -> None:
    instances = labelled(MISSED, FOUND)
    for proposals in (ranked(FOUND), ranked(MISSED, FOUND)):
        picture = draw_best(PHOTOGRAPH, find_best(instances, proposals))
        np.testing.assert_array_equal(picture[40, 40], np.rint(0.5 * PHOTOGRAPH[40, 40] + 0.5 * FOUND_COLOURS[1]))


def test_no_colour_is_taken_for_the_red_of_missed_objects() -> None:
    assert np.abs(FOUND_COLOURS - MISSED_COLOUR).sum(-1).min() > 150


def test_each_file_has_a_panel_beside_the_photograph() -> None:
    all_found = find_best(labelled(FOUND, MISSED), ranked(FOUND, MISSED))
    none = find_best(labelled(FOUND, MISSED), ranked())
    before = PHOTOGRAPH.copy()
    one, two, again = (
        np.asarray(Image.open(io.BytesIO(render(draw_beside(PHOTOGRAPH, best), "png"))).convert("RGB"))
        for best in ({"a": none}, {"a": none, "b": all_found}, {"a": none})
    )
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(PHOTOGRAPH, before)
    assert two.shape[1] > 1.4 * one.shape[1]
    reddish = (two[..., 0] > 200) & (two[..., 1:] < 40).all(-1)
    columns = np.flatnonzero(reddish.any(0))
    assert two.shape[1] / 3 < columns.min()
    assert columns.max() < two.shape[1] * 2 / 3


def test_found_colours_differ_from_that_of_missed_ones_for_colour_blind_people_too() -> None:
    assert min(smallest_difference([colour, MISSED_COLOUR]) for colour in FOUND_COLOURS) > 30
