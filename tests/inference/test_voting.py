from __future__ import annotations

import numpy as np
import pytest
import torch

import oracles
from inference.scenes import plain, squares
from instancefcn.inference.pasting import paste
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks

FIRST = np.array([0])
HEIGHT, WIDTH = 60, 60


def probabilities(masks: WindowMasks, index: int) -> np.ndarray:
    return torch.from_numpy(masks.logits(index)).sigmoid().numpy()


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (29, 31)])  # of the second, windows hang over
@pytest.mark.parametrize("seed", range(5))
def test_the_average_equals_the_loop(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    sides = rng.integers(3, 9, 20)
    corners, extents = rng.uniform(0, 9, (20, 2)), rng.uniform(20, 30, (20, 1))
    windows = np.concatenate([corners, corners + extents], axis=1)
    logits = rng.normal(1, 2, (sides**2).sum()).astype(np.float32)
    masks = WindowMasks.of(rng.random(20), logits, sides, windows, 0.0)
    survivors = np.array([7, 3, 12])
    voted = vote(masks, survivors, height, width, plain(vote_threshold=0.6))
    boxes = masks.tight_boxes.tolist()
    for index, survivor in enumerate(survivors):
        left, top, right, _ = windows[survivor]
        m, cell = sides[survivor], (right - left) / sides[survivor]
        voters = [i for i in range(20) if oracles.box_iou(boxes[i], boxes[survivor]) >= 0.6]
        assert 1 < len(voters) < 20
        expected = np.zeros((m, m))
        for i in voters:
            values = torch.from_numpy(masks.logits(i)).sigmoid()
            for y in range(m):
                for x in range(m):
                    point = left + (x + 0.5) * cell, top + (y + 0.5) * cell
                    expected[y, x] += masks.scores[i] * oracles.value_at(
                        values, windows[i].tolist(), *point, (width, height)
                    )
        expected /= masks.scores[voters].sum()
        rows = sum(top + (y + 0.55) * cell <= height for y in range(m))  # those beyond the image are never pasted
        columns = sum(left + (x + 0.55) * cell <= width for x in range(m))
        np.testing.assert_allclose(probabilities(voted, index)[:rows, :columns], expected[:rows, :columns], atol=1e-5)
    assert voted.scores.tolist() == masks.scores[survivors].tolist()
    assert voted.window_boxes.tolist() == windows[survivors].tolist()


def test_by_default_nobody_votes() -> None:
    masks = squares((10, 0.9), (10, 0.4), (12, 0.3))
    voted = vote(masks, np.array([2, 0]), HEIGHT, WIDTH, plain())
    assert voted.scores.tolist() == [0.3, 0.9]
    np.testing.assert_array_equal(voted.logits(0), masks.logits(2))


@pytest.mark.parametrize("column", [10, -20])
def test_identical_masks_vote_for_themselves(column: int) -> None:
    masks = squares((column, 0.9), (column, 0.4))
    voted = vote(masks, FIRST, HEIGHT, WIDTH, plain(vote_threshold=0.5))
    assert paste(voted, HEIGHT, WIDTH) == paste(masks[FIRST], HEIGHT, WIDTH) != [None]
    # Cells that lie outside the image have no say.
    np.testing.assert_allclose(probabilities(voted, 0)[:, 2:], probabilities(masks, 0)[:, 2:], atol=1e-5)


@pytest.mark.parametrize(("own", "other", "tight"), [(0.75, 0.25, [10, 10, 40, 50]), (0.25, 0.75, [20, 10, 50, 50])])
def test_two_shifted_squares_by_hand(own: float, other: float, tight: list[float]) -> None:
    # x 10 to 40 and x 20 to 50: IoU 0.5. The other's window has no say left of 20.
    masks = squares((10, own), (20, other))
    voted = vote(masks, FIRST, HEIGHT, WIDTH, plain(vote_threshold=0.5))
    for row in probabilities(voted, 0):
        assert row.tolist() == pytest.approx([own, 1.0, 1.0, other], abs=1e-5)
    assert voted.tight_boxes.tolist() == [tight]
    alone = vote(masks, FIRST, HEIGHT, WIDTH, plain(vote_threshold=0.51))
    assert alone.tight_boxes.tolist() == [[10, 10, 40, 50]]


@pytest.mark.parametrize("turned", [0, 1, 2, 3])
def test_a_coarse_voter_reaches_each_border_of_the_image_alike(turned: int) -> None:
    # An object that the border cuts. What lies beyond is background to both windows: four rows of the fine one's 16,
    # and one of the coarse one's four.
    fine, coarse = np.full((16, 16), -20.0), np.full((4, 4), -20.0)
    fine[4:12, 4:12] = coarse[1:3, 1:3] = 20.0
    corners = [(0, 0), (0, -16), (-16, -16), (-16, 0)][turned]  # x, y; the image has 48 pixels a side
    windows = np.array([[*corners, corners[0] + 64.0, corners[1] + 64.0]] * 2)
    logits = np.concatenate([np.rot90(cells, turned).ravel() for cells in (fine, coarse)]).astype(np.float32)
    masks = WindowMasks.of(np.array([0.3, 0.7]), logits, np.array([16, 4]), windows, 0.0)
    voted = vote(masks, FIRST, 48, 48, plain(vote_threshold=0.5))
    square = np.rot90(probabilities(voted, 0), -turned)[:12, :12]  # in the image
    np.testing.assert_allclose(square[6:12, 6:10], [[1.0, 1.0, 1.0, 1.0]] * 6, atol=1e-5)


def test_a_window_without_score_keeps_its_mask() -> None:
    masks = squares((10, 0.0), (10, 0.0))
    voted = vote(masks, FIRST, HEIGHT, WIDTH, plain(vote_threshold=0.5))
    np.testing.assert_allclose(probabilities(voted, 0), probabilities(masks, 0), atol=1e-5)


def test_nobody_survives() -> None:
    assert len(vote(squares((10, 0.5)), FIRST[:0], HEIGHT, WIDTH, plain(vote_threshold=0.5))) == 0
