"""Score-map sheet (the paper's Figure 5): the k*k maps of an image beside it, and masks assembled from their tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from instancefcn.drawing import PALETTE, default_line_width, outline, tint
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import Windows
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import cells
from instancefcn.viz.best_windows import ShownWindow, window_side
from instancefcn.viz.panels import GAP, colour_map, column, frame, margin, resize_map, row, title

PICTURE_SIDES = 860, 760  # pixels: at most this height and width for the photograph, and for all maps together
COLUMNS = 5  # as wide as that many windows side by side, or as all of them where they are more
MAP_GAP = 4  # pixels between two maps
FRAME_WIDTH = 3  # pixels, around what is shown of a window
LINE_WIDTH = 1.5  # pixels, around its mask
_CELL_LINE = 0.35  # opacity of the lines between the cells of a window


def draw_sheet(
    image: UInt8[np.ndarray, "h w 3"], windows: Windows, shown: Sequence[ShownWindow]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Draw the photograph with its windows, the k*k score maps with the tiles that they give, and the assembled masks.

    Args:
        image: RGB.
        windows: of the size to draw; their positions are not used.
        shown: windows to draw, best first; each has a colour.
    """
    k = windows.score_maps.k
    colours = PALETTE[np.arange(len(shown)) % len(PALETTE)]
    height, width = image.shape[:2]
    scale = min(PICTURE_SIDES[0] / height, PICTURE_SIDES[1] / width)
    maps = score_map_panels(windows, (height, width), (round(height * scale), round(width * scale)))
    for window, colour in zip(shown, colours, strict=True):
        _draw_tiles(maps, windows, (height, width), window, colour)
    grid = column([row([frame(panel) for panel in line], MAP_GAP) for line in np.split(np.array(maps), k)], MAP_GAP)
    photograph = Image.fromarray(_draw_windows(image, shown, colours))
    photograph = np.asarray(photograph.resize((grid.shape[1] - 2, grid.shape[0] - 2), Image.Resampling.LANCZOS))
    side = f"windows of {window_side(windows):.0f} pixels"
    above = [
        title(frame(photograph), f"Best {side}" if shown else f"No mask in {side}"),
        title(grid, f"{k} x {k} score maps, white 0 to blue 1; each window's tiles"),
    ]
    parts = [row(above, 2 * GAP)]
    if shown:
        columns = max(len(shown), COLUMNS)
        panel_side = (parts[0].shape[1] - GAP * (columns - 1)) // columns - 2 * FRAME_WIDTH
        pictures = [
            _window_column(image, window, colour, k, panel_side) for window, colour in zip(shown, colours, strict=True)
        ]
        parts.append(title(row(pictures), "Assembled from the tiles; the mask on the photograph"))
    return margin(column(parts, 2 * GAP), 2 * GAP)


def score_map_panels(
    windows: Windows, image_size: tuple[int, int], picture_size: tuple[int, int]
) -> list[UInt8[np.ndarray, "ph pw 3"]]:
    """The k*k score maps as pictures, row-major, cut to the image; side by side they are about ``picture_size``.

    Args:
        image_size: (height, width) of the image.
        picture_size: (height, width) of all of them together, in pixels.
    """
    maps = windows.score_maps
    probabilities = maps.instance[0].float().sigmoid().cpu().numpy()
    cell_y, cell_x = _cell_sides(windows)
    extent = image_size[0] / cell_y, image_size[1] / cell_x
    height, width = (max(1, (side - MAP_GAP * (maps.k - 1)) // maps.k - 2) for side in picture_size)
    return [colour_map(resize_map(one, extent, (height, width)).clip(0, 1)) for one in probabilities]


def _cell_sides(windows: Windows) -> tuple[float, float]:
    """Image pixels per cell of the score maps, in y and in x."""
    scale_x, scale_y = windows.image_scale
    cell = windows.score_maps.stride / windows.score_maps.density
    return cell / scale_y, cell / scale_x


def tile_edges(m: int, k: int) -> Int[np.ndarray, "edges"]:
    """Starts of a window's k tiles along an axis, in cells from its corner, and the end of the last."""
    return np.searchsorted(cells(m, k).numpy(), np.arange(k + 1))


def _draw_tiles(
    panels: list[UInt8[np.ndarray, "ph pw 3"]],
    windows: Windows,
    image_size: tuple[int, int],
    window: ShownWindow,
    colour: Int[np.ndarray, "3"],
) -> None:
    """Draw a box around the tile that the window takes from each map; in place."""
    maps = windows.score_maps
    edges = tile_edges(maps.m * maps.density, maps.k)
    cell_y, cell_x = _cell_sides(windows)
    for index, panel in enumerate(panels):
        y, x = divmod(index, maps.k)
        picture = Image.fromarray(panel)
        to_panel_y, to_panel_x = cell_y * panel.shape[0] / image_size[0], cell_x * panel.shape[1] / image_size[1]
        top, bottom = ((window.corner_yx[0] + edges[[y, y + 1]]) * to_panel_y).tolist()
        left, right = ((window.corner_yx[1] + edges[[x, x + 1]]) * to_panel_x).tolist()
        ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=_as_tuple(colour))
        panels[index] = np.asarray(picture)


def _draw_windows(
    image: UInt8[np.ndarray, "h w 3"], shown: Sequence[ShownWindow], colours: Int[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the image with a box of each window, the best one's on top."""
    picture = Image.fromarray(image)
    line_width = max(1, round(1.3 * default_line_width(*image.shape[:2])))
    for window, colour in reversed(list(zip(shown, colours, strict=True))):
        left, top, right, bottom = window.window_box.tolist()
        ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=_as_tuple(colour), width=line_width)
    return np.asarray(picture)


def _window_column(
    image: UInt8[np.ndarray, "h w 3"], window: ShownWindow, colour: Int[np.ndarray, "3"], k: int, side: int
) -> UInt8[np.ndarray, "_ _ 3"]:
    """The assembled mask of a window with its cells marked, above the part of the photograph with the mask drawn."""
    soft = colour_map(_probabilities(window.mask_logits))
    assembled = np.asarray(Image.fromarray(soft).resize((side, side), Image.Resampling.NEAREST)).astype(float)
    for edge in tile_edges(len(soft), k)[1:-1] * side // len(soft):
        for line in (assembled[edge], assembled[:, edge]):
            line += _CELL_LINE * (colour - line)
    pictures = [np.rint(assembled).astype(np.uint8), _mask_on_photograph(image, window, colour, side)]
    framed = [frame(picture, colour.tolist(), FRAME_WIDTH) for picture in pictures]
    return title(column(framed, MAP_GAP), f"score {window.score:.2f}", size=16)


def _mask_on_photograph(
    image: UInt8[np.ndarray, "h w 3"], window: ShownWindow, colour: Int[np.ndarray, "3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The part of the photograph in a window, white beyond the border, with the mask at the panel's size."""
    left, top, right, bottom = window.window_box.tolist()
    pad = int(max(0, -left, -top, right - image.shape[1], bottom - image.shape[0])) + 1
    padded = Image.fromarray(np.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=255))
    box = (left + pad, top + pad, right + pad, bottom + pad)
    crop = np.array(padded.resize((side, side), Image.Resampling.BICUBIC, box=box))
    on_panel = WindowMasks.of(
        np.array([window.score]),
        window.mask_logits.ravel(),
        np.array([len(window.mask_logits)]),
        np.array([[0.0, 0.0, side, side]]),
        window.threshold_logit,
    )
    (rle,) = paste(on_panel, side, side)
    if rle is not None:
        tint(crop, crop.copy(), rle, colour, LINE_WIDTH)
        outline(crop, rle, colour, LINE_WIDTH)
    return crop


def _probabilities(logits: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"]:
    return torch.from_numpy(logits).sigmoid().numpy()


def _as_tuple(colour: Int[np.ndarray, "3"]) -> tuple[int, int, int]:
    red, green, blue = colour.tolist()
    return red, green, blue
