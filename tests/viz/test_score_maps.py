"""Score-map sheets: each map is in its place and cut to the image, each tile where its window takes it from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import oracles
from inference.scenes import plain
from instancefcn.drawing import PALETTE
from instancefcn.geometry.rle import decode
from instancefcn.inference.proposer import Proposer, Windows, as_tensor, best_windows
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.structures import ScoreMaps
from instancefcn.viz.best_windows import choose_size, choose_windows, window_side
from instancefcn.viz.panels import colour_map, title
from instancefcn.viz.score_maps import draw_sheet, score_map_panels, tile_edges
from pictures import photograph

HEIGHT, WIDTH = 60, 90  # pixels of the image
PHOTOGRAPH = photograph(HEIGHT, WIDTH)


def windows_of(instance: torch.Tensor, objectness: torch.Tensor, m: int = 6, density: int = 1) -> Windows:
    """Windows of maps at stride 10, of an image that was not resized."""
    maps = ScoreMaps(instance[None], objectness[None], None, 10, m, density)
    return best_windows(maps, (HEIGHT, WIDTH), (1.0, 1.0), plain())


def two_squares() -> Windows:
    """k = 2: objects on cells 1 to 2 and 5 to 6 of the rows 1 to 2, and windows of 4 cells around them."""
    instance = torch.full((4, 7, 10), -9.0)
    for left in (1, 5):
        instance[:, 1:3, left : left + 2] = 9
    objectness = torch.full((7, 10), -9.0)
    objectness[2, 2], objectness[2, 6], objectness[2, 5], objectness[5, 5] = 3, 2, 1.5, 1  # one beside, one empty
    return windows_of(instance, objectness, m=4)


def test_a_panel_for_each_map_in_row_major_order() -> None:
    k = 3
    levels = torch.linspace(-4, 4, k * k)
    windows = windows_of(levels[:, None, None].expand(-1, 7, 10).clone(), torch.zeros(7, 10))
    panels = score_map_panels(windows, (HEIGHT, WIDTH), (300, 450))
    assert len(panels) == k * k
    for panel, level in zip(panels, levels, strict=True):
        expected = colour_map(np.array([[level.sigmoid().item()]]))[0, 0]
        np.testing.assert_allclose(panel, np.broadcast_to(expected, panel.shape), atol=1)
    sheet = draw_sheet(PHOTOGRAPH, windows, [])
    centres = [panel[panel.shape[0] // 2, panel.shape[1] // 2] for panel in panels]
    assert all((np.abs(sheet.astype(int) - colour).sum(-1) <= 3).any() for colour in centres)


@pytest.mark.parametrize("density", [1, 2])
def test_panels_show_each_cell_where_it_lies_in_the_image_and_no_padding(density: int) -> None:
    cells = torch.full((4, 8 * density, 12 * density), 20.0)  # padding is foreground
    cells[:, : 6 * density, : 9 * density] = -20
    cells[2, 1 * density, 4 * density] = 20
    windows = windows_of(cells, torch.zeros(8, 12), density=density)
    panels = score_map_panels(windows, (HEIGHT, WIDTH), (2 * 60 + 4 + 4, 2 * 90 + 4 + 4))  # frames and a gap
    assert {panel.shape for panel in panels} == {(60, 90, 3)}  # a pixel of the image each
    dark = np.array([(panel < 128).all(-1) for panel in panels])
    expected = np.zeros_like(dark)
    expected[2, 10 : 10 + 10 // density, 40 : 40 + 10 // density] = True
    np.testing.assert_array_equal(dark, expected)


def test_colours_darken_from_white() -> None:
    colours = colour_map(np.linspace(0, 1, 50)[None])[0].astype(int).sum(-1)
    assert colours[0] == 3 * 255
    assert (np.diff(colours) < 0).all()


def test_tiles_of_a_window() -> None:
    assert tile_edges(21, 5).tolist() == [0, 5, 9, 13, 17, 21]
    assert tile_edges(4, 2).tolist() == [0, 2, 4]


def test_the_best_windows_that_show_different_objects_are_chosen() -> None:
    windows = two_squares()
    shown = choose_windows(windows, HEIGHT, WIDTH, plain(), 5)
    assert [window.corner_yx for window in shown] == [(0, 0), (0, 4)]  # not the one beside, not the empty one
    assert [window.window_box.tolist() for window in shown] == [[0, 0, 40, 40], [40, 0, 80, 40]]
    assert decode(shown[0].rle)[15, 15]
    assert not decode(shown[0].rle)[15, 55]
    assert len(choose_windows(windows, HEIGHT, WIDTH, plain(), 1)) == 1


def test_masks_are_what_assembling_says() -> None:
    generator = torch.Generator().manual_seed(3)
    windows = windows_of(torch.randn(9, 14, 20, generator=generator), torch.randn(7, 10, generator=generator), 5, 2)
    shown = choose_windows(windows, HEIGHT, WIDTH, plain(), 4, max_iou=1.0)
    corners = torch.tensor([window.corner_yx for window in shown])
    expected = oracles.assemble(
        windows.score_maps.instance, torch.zeros(len(shown), dtype=torch.long), corners, windows.score_maps.m * 2
    )
    np.testing.assert_array_equal(np.stack([window.mask_logits for window in shown]), expected)
    positions = windows.positions_yx[: len(shown)]
    assert torch.equal(corners, (positions - 2) * 2)


def test_a_sheet_shows_every_window_in_its_colour() -> None:
    windows, image = two_squares(), PHOTOGRAPH // 8  # dark, so that no pixel of it has a window's colour
    both = choose_windows(windows, HEIGHT, WIDTH, plain(), 2)
    sheets = [draw_sheet(image, windows, both[:count]) for count in range(3)]
    for count, sheet in enumerate(sheets):
        for index in range(2):
            assert (sheet == PALETTE[index]).all(-1).any() == (index < count)
    np.testing.assert_array_equal(sheets[2], draw_sheet(image, windows, both))
    assert image.max() < 32  # not drawn on


def test_tiles_lie_where_the_mask_was_read() -> None:
    windows = two_squares()
    (window,) = choose_windows(windows, HEIGHT, WIDTH, plain(), 1)
    empty, drawn = draw_sheet(PHOTOGRAPH, windows, []), draw_sheet(PHOTOGRAPH, windows, [window])
    grid = np.s_[: empty.shape[0], empty.shape[1] // 2 :]
    y, x = np.nonzero((drawn[grid] == PALETTE[0]).all(-1) & (empty[grid] != PALETTE[0]).any(-1))
    panel = empty.shape[1] // 4  # about; the four tiles lie at the upper left of their maps, the window being there
    assert len(np.unique(np.stack([y // panel, x // panel]), axis=1).T) == 4


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
    sheet = draw_sheet(PHOTOGRAPH, best, shown)
    assert sheet.shape[1] > 1000
    np.testing.assert_array_equal(sheet, draw_sheet(PHOTOGRAPH, best, shown))


def test_a_title_longer_than_its_picture_is_not_cut() -> None:
    picture = np.zeros((10, 20, 3), dtype=np.uint8)
    short, long = title(picture, "a mask"), title(picture, "a mask and the photograph")
    assert long.shape[1] > short.shape[1] > 20
    assert (long[-10:, :20] == 0).all()
    assert (long[-10:, 20:] == 255).all()
