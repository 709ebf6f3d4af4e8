"""Tiles: they cover the image, each window has one, and what they propose is what the whole image would."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from inference.scenes import plain, squares
from instancefcn.geometry.rle import area
from instancefcn.inference import proposer as proposer_file
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import Proposer, as_tensor, ranked_masks
from instancefcn.inference.suppression import suppress
from instancefcn.inference.tiles import Tile, cut, joined, settled, sizes_in_one_pass, sizes_in_tiles
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.network import Network
from instancefcn.structures import ScoreMaps, WindowSize
from pictures import photograph

MULTIPLE = 64


CELLS = torch.tensor([1.0, 0.8, 1.2, 0.9])[:, None, None]  # windows differ in what they say of a pixel
SIZES = WindowSize(8, 10), WindowSize(16, 5)


class Local(Network):
    """A network whose maps show the image itself: a bright square is an object, wherever the border is."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.size_multiple, self.window_sizes = MULTIPLE, list(SIZES)

    def forward(self, pixels: Tensor) -> list[ScoreMaps]:
        maps = []
        for stride, m, _ in SIZES:
            bright = F.avg_pool2d(pixels.mean(1, keepdim=True), stride) / 16 - 8
            around, radius = bright + 8, 16 // stride  # twice that is as far as a core is from the border of its tile
            for _ in range(2):  # highest amid an object
                around = F.avg_pool2d(around, 2 * radius + 1, stride=1, padding=radius)
            maps.append(ScoreMaps(bright * CELLS, around[:, 0] - 4, None, stride, m))
        return maps


def squares_at(*corners_and_sides: tuple[int, int, int], height: int = 500, width: int = 700) -> np.ndarray:
    """White squares (left, top, side) on black."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for left, top, side in corners_and_sides:
        image[top : top + side, left : left + side] = 255
    return image


def local(**keys: Any) -> Proposer:
    return Proposer(Local().eval(), plain(**keys), device="cpu")


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from([256.0, 300.0, 512.0, 1333.0]),
    st.sampled_from([16, 64]),
)
def test_cores_cover_the_image_once_and_neighbours_share_enough(
    height: int, width: int, side: float, multiple: int
) -> None:
    tiles = cut((height, width), side, multiple)
    covered = np.zeros((-(-height // multiple), -(-width // multiple)), dtype=int)  # positions of the coarsest level
    for tile in tiles:
        left, top, right, bottom = tile.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert left % multiple == top % multiple == 0
        assert max(tile.size) <= side
        x0, y0, x1, y1 = tile.core
        covered[-(-y0 // multiple) : -(-y1 // multiple), -(-x0 // multiple) : -(-x1 // multiple)] += 1
        for edge, core, end in ((left, x0, 0), (top, y0, 0), (right, x1, width), (bottom, y1, height)):
            # A core ends at the border of the image, or half of what is shared before that of its tile.
            assert edge == core == end or abs(edge - core) >= 0.25 * (side // multiple * multiple) / 2 - 1
    assert (covered == 1).all()


def test_a_literal() -> None:
    assert cut((200, 500), 256.0, 64) == [
        Tile((0, 0, 256, 200), (0, 0, 192, 200)),
        Tile((128, 0, 384, 200), (192, 0, 320, 200)),
        Tile((256, 0, 500, 200), (320, 0, 500, 200)),
    ]
    assert cut((256, 250), 256.0, 64) == [Tile.whole((256, 250))]


def test_what_is_too_long_for_one_pass_goes_into_tiles_and_the_whole_is_looked_at_once() -> None:
    config = plain(shorter_sides=(200.0, 400.0, 800.0), longest_side=512.0)
    assert sizes_in_tiles(400, 600, config) == []
    assert sizes_in_one_pass(400, 600, config) == [(200, 300), (341, 512)]  # what is longer is shrunk, once
    tiled = replace(config, tiles=True)
    assert sizes_in_tiles(400, 600, tiled) == [(400, 600), (800, 1200)]
    assert sizes_in_one_pass(400, 600, tiled) == [(200, 300)]
    only_large = replace(tiled, shorter_sides=(400.0, 800.0))
    assert sizes_in_one_pass(400, 600, only_large) == [(341, 512)]
    assert sizes_in_tiles(400, 600, only_large) == [(400, 600), (800, 1200)]
    assert sizes_in_tiles(1, 900, only_large) == [(33, 30_000)]  # not 720,000 long


@pytest.mark.parametrize("keys", [{}, {"vote_threshold": 0.5, "soft_nms_threshold": 0.4}])
def test_where_one_tile_covers_the_image_nothing_changes(keys: dict[str, float]) -> None:
    image = photograph(200, 250)
    for sides in ((200.0,), (128.0, 200.0)):
        config = plain(shorter_sides=sides, longest_side=256.0, **keys)
        expected = local(shorter_sides=sides, longest_side=256.0, **keys)(image)
        assert Proposer(Local().eval(), replace(config, tiles=True), device="cpu")(image) == expected
        assert len(expected) > 5


def test_masks_from_tiles_are_those_of_the_image_in_one_pass() -> None:
    # Squares within tiles, on the seams of several, and at the border; tiles of 256 share 64 pixels or more.
    places = [(42, 45, 43), (117, 62, 43), (237, 41, 43), (361, 203, 37), (251, 250, 45), (0, 301, 37), (661, 461, 37)]
    image = squares_at(*places)
    keys = {"shorter_sides": (500.0,), "candidates": 300, "nms_candidates": 3000}
    whole, tiled = local(**keys, longest_side=2000.0)(image), local(**keys, longest_side=256.0, tiles=True)(image)
    assert len(whole) > len(places)
    for left, top, side in places:
        at = [proposals[proposals.masks()[:, top + side // 2, left + side // 2]] for proposals in (whole, tiled)]
        assert at[0].rles[0] == at[1].rles[0]
        assert at[0].scores[0] == pytest.approx(at[1].scores[0], rel=1e-5)


def test_a_mask_that_comes_within_a_cell_of_an_inner_border_is_left_out() -> None:
    # Masks of cells of 10 pixels, from their column to 30 pixels on, from row 10 to 50; two network pixels a pixel.
    left_tile, right_tile = Tile((0, 0, 200, 100), (0, 0, 180, 100)), Tile((160, 0, 400, 100), (180, 0, 400, 100))
    masks = squares((0, 0.9), (60, 0.8), (61, 0.7), (89, 0.6), (90, 0.5), (170, 0.4))
    assert left_tile.holds(masks, (2.0, 2.0)).tolist() == [True, True, False, False, False, False]
    assert right_tile.holds(masks, (2.0, 2.0)).tolist() == [False, False, False, False, True, True]
    upper = Tile((0, 0, 400, 119), (0, 0, 400, 110))
    assert not upper.holds(masks, (2.0, 2.0)).any()  # from 59.5 on there is another tile
    assert Tile.whole((100, 400)).holds(masks, (2.0, 2.0)).all()


@pytest.mark.parametrize("keys", [{}, {"vote_threshold": 0.5, "soft_nms_threshold": 0.4}])
def test_tiles_without_foreground_and_none_wanted_give_nothing(keys: dict[str, float]) -> None:
    proposer = local(shorter_sides=(500.0,), longest_side=256.0, tiles=True, **keys)
    assert len(proposer(squares_at(), max_proposals=10)) == 0
    found = proposer(squares_at((42, 45, 43)), max_proposals=0)
    assert (len(found), found.height, found.width) == (0, 500, 700)


def test_what_no_tile_holds_is_found_in_the_whole() -> None:
    image = squares_at((100, 100, 300), (500, 50, 40))  # 300 pixels are longer than what tiles share
    proposer = local(shorter_sides=(125.0, 500.0), longest_side=256.0, tiles=True)
    proposals = proposer(image, max_proposals=1000)
    assert max(area(rle) for rle in proposals.rles) > 0.8 * 300**2


def test_masks_of_tiles_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[WindowMasks]] = []
    alive: list[int] = []

    def ranked_and_noted(*arguments: Any) -> Any:
        alive.append(sum(masks() is not None for masks in made))
        masks, chosen = ranked_masks(*arguments)
        made.append(weakref.ref(masks))
        return masks, chosen

    monkeypatch.setattr(proposer_file, "ranked_masks", ranked_and_noted)
    local(shorter_sides=(125.0, 500.0), longest_side=256.0, tiles=True)(squares_at((100, 100, 30), (500, 50, 40)))
    assert len(alive) > 4
    assert max(alive) == 1  # those of one tile, until those of the next are there


def test_tiles_lie_where_their_pixels_do() -> None:
    proposer = local(shorter_sides=(500.0,), longest_side=256.0, tiles=True)
    best = proposer(squares_at((560, 400, 40)), max_proposals=1)
    assert np.abs(best.boxes_xyxy[0] - [560, 400, 600, 440]).max() <= 8  # a position


VOTING: dict[str, Any] = {
    "shorter_sides": (125.0, 500.0),
    "longest_side": 256.0,
    "tiles": True,
    "vote_threshold": 0.5,
    "candidates": 60,
}


def test_a_tile_gives_as_many_masks_as_are_wanted() -> None:
    """The best of them, so that memory does not grow with the number of tiles."""
    image, proposer = as_tensor(squares_at((100, 100, 30), (500, 50, 40))), local(**VOTING)
    part = next(proposer.parts(image))
    masks = proposer.masks_of(proposer.windows_of(part))
    sizes = [len(settled(masks, 500, 700, proposer.config, wanted)) for wanted in (2, 5)]
    assert len(masks) > 5
    assert sizes == [2, 5]


def test_masks_of_tiles_vote_once() -> None:
    """In their tile; what is left of several tiles is suppressed, and no more averaged."""
    image, proposer = squares_at((100, 100, 30), (250, 60, 40), (500, 50, 40)), local(**VOTING)
    pixels, config, wanted = as_tensor(image), proposer.config, 40
    whole = proposer.masks_of(proposer.windows(pixels))
    tiles = [proposer.masks_of(proposer.windows_of(part)) for part in proposer.parts(pixels)]
    masks = joined([settled(one, 500, 700, config, wanted) for one in (whole, *tiles)])
    survivors, _ = suppress(masks, 500, 700, replace(config, vote_threshold=0.0), wanted)
    expected = [rle for rle in paste(masks[survivors[:wanted]], 500, 700) if rle is not None]
    found = proposer(image, max_proposals=wanted)
    assert found.rles == expected[: len(found)]
    assert len(found) > 10
    twice = [rle for rle in paste(vote(masks, survivors[:wanted], 500, 700, config), 500, 700) if rle is not None]
    assert found.rles != twice[: len(found)]
