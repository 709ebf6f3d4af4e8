"""Overlays: every object shown is to be seen, and the rest of the photograph is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

import oracles
from colours import smallest_difference
from instancefcn import drawing
from instancefcn.drawing import PALETTE, choose_distinct
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.proposals import Proposals, Segments
from memory import megabytes_for
from pictures import photograph, rectangle

PHOTOGRAPH = photograph()


def proposals_of(*masks: np.ndarray) -> Proposals:
    rles = [encode(mask) for mask in masks]
    scores = np.linspace(1, 0, len(masks), endpoint=False)
    height, width = masks[0].shape
    return Proposals(rles, tight_boxes(rles), scores, height, width)


def tint(pixel: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.rint(0.5 * pixel + 0.5 * colour)


def test_without_proposals_the_photograph_is_as_it_was() -> None:
    empty = Proposals([], np.zeros((0, 4)), np.zeros(0), 120, 160)
    drawn = empty.draw(PHOTOGRAPH)
    np.testing.assert_array_equal(drawn, PHOTOGRAPH)
    assert drawn is not PHOTOGRAPH


def test_the_photograph_itself_is_not_drawn_on() -> None:
    before = PHOTOGRAPH.copy()
    proposals_of(rectangle(10, 10, 60, 60)).draw(PHOTOGRAPH)
    np.testing.assert_array_equal(PHOTOGRAPH, before)


def test_inside_is_tinted_border_is_lined_outside_is_left() -> None:
    drawn = proposals_of(rectangle(20, 30, 80, 110)).draw(PHOTOGRAPH)
    np.testing.assert_array_equal(drawn[50, 70], tint(PHOTOGRAPH[50, 70], PALETTE[0]))
    np.testing.assert_allclose(drawn[50, 30], PALETTE[0], atol=80)  # on the line: its colour, nearly
    outside = ~rectangle(10, 20, 90, 120)
    np.testing.assert_array_equal(drawn[outside], PHOTOGRAPH[outside])


def test_a_large_mask_hides_no_small_one_whichever_is_better() -> None:
    large, small = rectangle(5, 5, 115, 155), rectangle(50, 60, 80, 100)
    for masks, colour in (((large, small), PALETTE[1]), ((small, large), PALETTE[0])):
        drawn = proposals_of(*masks).draw(PHOTOGRAPH)
        np.testing.assert_array_equal(drawn[65, 80], tint(PHOTOGRAPH[65, 80], colour))  # not mixed with the large one's


def test_masks_at_the_border_and_of_one_pixel_are_drawn() -> None:
    drawn = proposals_of(rectangle(0, 0, 120, 160), rectangle(119, 159, 120, 160)).draw(PHOTOGRAPH)
    np.testing.assert_array_equal(drawn[60, 80], tint(PHOTOGRAPH[60, 80], PALETTE[0]))
    assert (drawn[119, 159] != PHOTOGRAPH[119, 159]).any()


def test_at_most_top_are_drawn() -> None:
    masks = [rectangle(10, 20 * i, 30, 20 * i + 12) for i in range(6)]
    drawn = proposals_of(*masks).draw(PHOTOGRAPH, top=4)
    for i, mask in enumerate(masks):
        assert (drawn[20, 20 * i + 6] != PHOTOGRAPH[20, 20 * i + 6]).any() == (i < 4), mask


def test_of_near_duplicates_the_best_is_chosen() -> None:
    first, almost, other = rectangle(0, 0, 50, 50), rectangle(0, 2, 50, 52), rectangle(0, 80, 50, 130)
    assert choose_distinct(proposals_of(first, almost, other).rles, top=10) == [0, 2]
    assert choose_distinct(proposals_of(first, almost, other).rles, top=10, max_iou=0.95) == [0, 1, 2]
    assert choose_distinct(proposals_of(first, almost, other).rles, top=1) == [0]
    assert choose_distinct(proposals_of(first).rles, top=0) == []


def test_chosen_ones_differ_pairwise() -> None:
    rng = np.random.default_rng(1)
    masks = []
    for _ in range(40):
        top, left = rng.integers(0, 60, 2)
        masks.append(rectangle(top, left, top + rng.integers(20, 60), left + rng.integers(20, 90)))
    chosen = choose_distinct(proposals_of(*masks).rles, top=40, max_iou=0.3)

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return (a & b).sum() / (a | b).sum()

    assert all(iou(masks[i], masks[j]) <= 0.3 for i in chosen for j in chosen if i != j)
    left_out = set(range(40)) - set(chosen)
    assert all(any(iou(masks[i], masks[j]) > 0.3 for j in chosen if j < i) for i in left_out)


def test_another_images_proposals_are_refused() -> None:
    with pytest.raises(ValueError, match=r"120 x 160 pixels .* 100 x 160"):
        Proposals([], np.zeros((0, 4)), np.zeros(0), 100, 160).draw(PHOTOGRAPH)


def test_colours_are_told_apart_by_colour_blind_people_too() -> None:
    assert smallest_difference(PALETTE) > 13
    assert smallest_difference(PALETTE[:8]) > 16
    neighbours = [smallest_difference(PALETTE[index : index + 2]) for index in range(len(PALETTE) - 1)]
    assert min(neighbours) > 16
    assert np.diff(np.unique(PALETTE, axis=0), axis=0).any(1).all()


def test_names_are_written_over_the_overlay() -> None:
    image = np.full((120, 160, 3), 200, dtype=np.uint8)
    mask = rectangle(40, 120, 100, 160)  # at the rim, where a name needs to be moved inside
    plain = proposals_of(mask)

    def named(name: str) -> np.ndarray:
        columns = plain.rles, plain.boxes_xyxy, plain.scores, 120, 160
        return Segments(*columns, np.array([90]), {90: name}).draw(image)

    rows, columns = np.nonzero((named("rhesus monkey") != plain.draw(image)).any(2))
    assert columns.max() == 159
    assert rows.max() < 60  # above the mask's middle
    assert not np.array_equal(named("rhesus monkey"), named("rhesus donkey"))
    nothing = Segments([], np.zeros((0, 4)), np.zeros(0), 120, 160, np.zeros(0, dtype=int))
    np.testing.assert_array_equal(nothing.draw(image), image)


@pytest.mark.parametrize("line_width", [1.0, 2.5])
def test_tints_and_lines_are_blended_as_by_the_definition(line_width: float) -> None:
    rng = np.random.default_rng(0)
    canvas, image = rng.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    mask = rectangle(0, 12, 31, 37, size=(40, 50)) | (rng.random((40, 50)) < 0.02)
    blurred = Image.fromarray(np.uint8(255) * mask).filter(ImageFilter.GaussianBlur(line_width))
    covered = np.asarray(blurred) / 255
    tinted, lined = canvas.copy(), canvas.copy()
    drawing.tint(tinted, image, encode(mask), PALETTE[2], line_width, opacity=0.3)
    drawing.outline(lined, encode(mask), PALETTE[2], line_width)
    colour = PALETTE[2].tolist()
    np.testing.assert_array_equal(tinted, oracles.blended(canvas, image, colour, 0.3, covered))
    # A line of this width, as seen by pixels that are as wide as the distance between their centres.
    away = np.abs(covered - 0.5) * np.sqrt(2 * np.pi) * line_width
    line = np.clip(line_width / 2 + 0.5 - away, 0, 1)
    np.testing.assert_array_equal(lined, oracles.blended(canvas, canvas, colour, 1.0, line))


def test_drawing_takes_little_more_than_the_picture() -> None:
    """A mask of 12 megapixels; blending it at once took 0.96 GB, and its picture has 36 MB."""
    setup = """
import numpy as np
from instancefcn.drawing import draw_distinct
from instancefcn.geometry.rle import encode_edges
draw_distinct(np.zeros((60, 80, 3), dtype=np.uint8), [encode_edges(np.array([0, 4800]), 60, 80)], 1)
image = np.zeros((3000, 4000, 3), dtype=np.uint8)
rle = encode_edges(np.array([0, 12_000_000]), 3000, 4000)
"""
    assert megabytes_for("draw_distinct(image, [rle], 1)", setup=setup) < 250
