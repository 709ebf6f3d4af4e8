"""Score-map sheets: each map is in its place and cut to the image, each tile where its window takes it from."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import oracles
from inference.scenes import plain
from instancefcn.drawing import PALETTE
from instancefcn.evaluation.curves import render
from instancefcn.inference.proposer import Proposer, Windows, as_tensor, best_windows
from instancefcn.inference.tiles import Tile
from instancefcn.model.assembling import tile_edges
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.structures import ScoreMaps
from instancefcn.viz.score_maps import choose_size, choose_windows, draw_sheet, window_side
from pictures import photograph

HEIGHT, WIDTH = 60, 90  # pixels of the image
PHOTOGRAPH = photograph(HEIGHT, WIDTH)


def windows_of(instance: torch.Tensor, objectness: torch.Tensor, m: int = 6, density: int = 1) -> Windows:
    """Windows of maps at stride 10, of an image that was not resized."""
    maps = ScoreMaps(instance[None], objectness[None], None, 10, m, density)
    return best_windows(maps, Tile.whole((HEIGHT, WIDTH)), (1.0, 1.0), plain())


def two_squares() -> Windows:
    """k = 2: objects on cells 1 to 2 and 5 to 6 of the rows 1 to 2, and windows of 4 cells around them."""
    instance = torch.full((4, 7, 10), -9.0)
    for left in (1, 5):
        instance[:, 1:3, left : left + 2] = 9
    objectness = torch.full((7, 10), -9.0)
    objectness[2, 2], objectness[2, 6], objectness[2, 5], objectness[5, 5] = 3, 2, 1.5, 1  # one beside, one empty
    return windows_of(instance, objectness, m=4)


@cache
def drawn(figure: Figure) -> np.ndarray:
    """The picture of a figure, which stays as it is from then on."""
    return np.asarray(Image.open(io.BytesIO(render(figure, "png"))).convert("RGB"))


def colour_at(figure: Figure, axes: Axes, x: float, y: float) -> np.ndarray:
    """The colour with which a place of the image is drawn on a panel."""
    picture = drawn(figure)
    column, row = axes.transData.transform((x, y)) * 150 / figure.dpi
    return picture[-1 - int(row), int(column)]


def test_a_panel_for_each_map_in_row_major_order() -> None:
    levels = torch.linspace(-4, 4, 9)
    windows = windows_of(levels[:, None, None].expand(-1, 7, 10).clone(), torch.zeros(7, 10))
    figure = draw_sheet(PHOTOGRAPH, windows, choose_windows(windows, HEIGHT, WIDTH, plain(), 0))
    colours = [colour_at(figure, axes, 45, 30).astype(int).sum() for axes in figure.axes[1:]]
    assert len(colours) == 9
    assert (np.diff(colours) < 0).all()  # from light to dark
    left, top = np.array([axes.get_position().corners()[1] for axes in figure.axes[1:]]).reshape(3, 3, 2).T
    assert (np.diff(left, axis=0) > 0).all()
    assert (np.diff(top, axis=1) < 0).all()


@pytest.mark.parametrize("density", [1, 2])
def test_panels_show_each_cell_where_it_lies_in_the_image_and_no_padding(density: int) -> None:
    cells = torch.full((4, 8 * density, 12 * density), 20.0)  # padding is foreground
    cells[:, : 6 * density, : 9 * density] = -20
    cells[2, 1 * density, 4 * density] = 20
    windows = windows_of(cells, torch.zeros(8, 12), density=density)
    figure = draw_sheet(PHOTOGRAPH, windows, choose_windows(windows, HEIGHT, WIDTH, plain(), 0))
    side = 10 // density  # the dark cell spans [40, 40 + side) x [10, 10 + side)
    for index, axes in enumerate(figure.axes[1:]):
        assert axes.get_xlim() == (0, WIDTH)
        assert axes.get_ylim() == (HEIGHT, 0)
        for x, y in ((41, 11), (39 + side, 9 + side), (38, 12), (42 + side, 12), (42, 8), (42, 12 + side), (88, 58)):
            inside = index == 2 and 40 <= x < 40 + side and 10 <= y < 10 + side
            assert (colour_at(figure, axes, x, y)[0] < 128) == inside


def test_tiles_of_a_window() -> None:
    assert tile_edges(21, 5).tolist() == [0, 5, 9, 13, 17, 21]
    assert tile_edges(4, 2).tolist() == [0, 2, 4]


def test_the_best_windows_that_show_different_objects_are_chosen() -> None:
    windows = two_squares()
    shown = choose_windows(windows, HEIGHT, WIDTH, plain(), 5)
    # Not the one beside, not the empty one.
    assert shown.window_boxes.tolist() == [[0, 0, 40, 40], [40, 0, 80, 40]]
    assert shown.tight_boxes.tolist() == [[10, 10, 30, 30], [50, 10, 70, 30]]
    assert len(choose_windows(windows, HEIGHT, WIDTH, plain(), 1)) == 1


def test_masks_are_what_assembling_says() -> None:
    generator = torch.Generator().manual_seed(3)
    windows = windows_of(torch.randn(9, 14, 20, generator=generator), torch.randn(7, 10, generator=generator), 5, 2)
    shown = choose_windows(windows, HEIGHT, WIDTH, plain(), 4)
    corners = torch.from_numpy(shown.window_boxes[:, [1, 0]] / 5).round().long()
    expected = oracles.assemble(
        windows.score_maps.instance, torch.zeros(len(shown), dtype=torch.long), corners, windows.score_maps.m * 2
    )
    assert len(shown) > 1
    np.testing.assert_array_equal(np.stack([shown.logits(index) for index in range(len(shown))]), expected)


def test_a_sheet_shows_every_window_in_its_colour() -> None:
    windows, image = two_squares(), PHOTOGRAPH // 8  # dark, so that no pixel of it has a window's colour
    both = choose_windows(windows, HEIGHT, WIDTH, plain(), 2)
    sheets = [drawn(draw_sheet(image, windows, both[:count])) for count in range(3)]
    for count, sheet in enumerate(sheets):
        for index in range(2):
            assert (sheet == PALETTE[index]).all(-1).any() == (index < count)
    np.testing.assert_array_equal(sheets[2], drawn(draw_sheet(image, windows, both)))
    assert image.max() < 32  # not drawn on


def test_tiles_lie_where_the_mask_was_read() -> None:
    windows = two_squares()
    shown = choose_windows(windows, HEIGHT, WIDTH, plain(), 1)
    assert len(shown) == 1
    for index, axes in enumerate(draw_sheet(PHOTOGRAPH, windows, shown).axes[1:5]):
        (line,) = axes.lines
        left, top, right, bottom = (np.array([*line.get_xydata().min(0), *line.get_xydata().max(0)]) / 10).astype(int)
        tile = shown.logits(0).reshape(2, 2, 2, 2)[index // 2, :, index % 2]
        np.testing.assert_array_equal(windows.score_maps.instance[0, index, top:bottom, left:right], tile)


def test_sizes_of_the_papers_network_come_from_its_scales() -> None:
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(kind="single", channels=16, window_sizes=(21,), finest_window_sizes=())
    ).eval()
    proposer = Proposer(network, plain(shorter_sides=(60.0, 120.0), candidates=3))
    groups = proposer.windows(as_tensor(PHOTOGRAPH))
    assert [window_side(group) for group in groups] == pytest.approx([168, 84])  # 8 * 21, of the image or twice it
    assert choose_size(groups, 100.0) is groups[1]
    assert choose_size(groups, 130.0) is groups[0]


@pytest.mark.parametrize("kind", ["single", "pyramid"])
def test_any_network_has_its_sheet(kind: str) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(channels=16)
    if kind == "single":
        config = replace(config, kind="single", window_sizes=(21,), finest_window_sizes=())
    network = build_network(config).eval()
    proposer = Proposer(network, plain(shorter_sides=(64.0,), candidates=20))
    groups = proposer.windows(as_tensor(PHOTOGRAPH))
    assert len(groups) == len(network.window_sizes)
    best = choose_size(groups)
    assert best.scores.max() == max(group.scores.max() for group in groups)
    shown = choose_windows(best, HEIGHT, WIDTH, proposer.config, 3)
    sheet = render(draw_sheet(PHOTOGRAPH, best, shown), "png")
    assert Image.open(io.BytesIO(sheet)).width > 1000
    assert sheet == render(draw_sheet(PHOTOGRAPH, best, shown), "png")
