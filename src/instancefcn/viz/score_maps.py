"""Score-map sheet (the paper's Figure 5): the k*k maps of an image beside it, and masks assembled from their tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instancefcn.drawing import FILL_OPACITY, PALETTE, choose_distinct
from instancefcn.evaluation.curves import empty_figure
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import Windows, assemble_masks
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import tile_edges
from instancefcn.viz.panels import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIN_SHARE = 0.25  # of the best window's score; windows that score less show no object
MAX_HEIGHT, MAX_WIDTH = 5.7, 5.2  # inches, of the photograph, and of all maps together
COLUMNS = 5  # as wide as that many windows side by side, or as all of them where they are more


def window_side(windows: Windows) -> float:
    """Side of the windows, in pixels of the image."""
    return windows.score_maps.stride * windows.score_maps.m / math.sqrt(math.prod(windows.image_scale))


def choose_size(groups: Sequence[Windows], side: float | None = None) -> Windows:
    """The window size nearest to ``side`` by ratio; without ``side``, the size of the best window."""
    if side is None:
        return max(groups, key=lambda group: float(group.scores.max()))
    return min(groups, key=lambda group: abs(math.log(window_side(group) / side)))


@torch.inference_mode()
def choose_windows(windows: Windows, height: int, width: int, config: InferenceConfig, count: int) -> WindowMasks:
    """At most ``count`` masks of windows that show different objects of a ``height`` x ``width`` image, best first."""
    masks = assemble_masks([windows], config.threshold_logit)
    pasted = {index: rle for index, rle in enumerate(paste(masks, height, width)) if rle is not None}
    least = MIN_SHARE * max((masks.scores[index] for index in pasted), default=0)
    likely = [index for index in pasted if masks.scores[index] >= least]
    return masks[[likely[index] for index in choose_distinct([pasted[index] for index in likely], count)]]


def draw_sheet(image: UInt8[np.ndarray, "h w 3"], windows: Windows, shown: WindowMasks) -> Figure:
    """Draw the photograph with its windows, the k*k score maps with the tiles that they give, and the assembled masks.

    Args:
        image: RGB; everything is drawn in its frame.
        windows: of the size to draw; their positions are not used.
        shown: windows to draw, best first; each has a colour.
    """
    maps, (height, width) = windows.score_maps, image.shape[:2]
    inches = min(MAX_HEIGHT / height, MAX_WIDTH / width)  # of a pixel
    columns = max(len(shown), COLUMNS)
    heights = height * inches + 0.3, 4 * width * inches / columns + 0.6
    figure = empty_figure(2 * width * inches, sum(heights))
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
    left, right = above.subfigures(1, 2, squeeze=False)[0]
    size = f"windows of {window_side(windows):.0f} pixels"
    for part, title in (
        (left, f"Best {size}" if len(shown) else f"No mask in {size}"),
        (right, f"{maps.k} x {maps.k} score maps, white 0 to blue 1; each window's tiles"),
        (below, "Assembled from the tiles; the mask on the photograph" if len(shown) else ""),
    ):
        part.suptitle(title, x=0.01, ha="left", fontsize=10)

    whole = np.array([0.0, 0, width, height])
    photograph, panels = left.subplots(), right.subplots(maps.k, maps.k)
    show(photograph, image, whole, whole)
    cell = maps.stride / maps.density / np.array(windows.image_scale)  # pixels, in x and in y
    for axes, logits in zip(panels.flat, maps.instance[0].cpu(), strict=True):
        show(axes, _probabilities(logits), np.array([0, 0, *logits.shape[::-1] * cell]), whole)

    for index in reversed(range(len(shown))):  # the best one comes last, over the others
        window, logits = shown.window_boxes[index], shown.logits(index)
        colour = tuple(PALETTE[index % len(PALETTE)] / 255)
        x, y = window[:2, None] + (window[2:] - window[:2])[:, None] * tile_edges(len(logits), maps.k) / len(logits)
        _outline(photograph, x[[0, -1]], y[[0, -1]], color=colour, linewidth=2)
        for (row, column), axes in np.ndenumerate(panels):
            _outline(axes, x[column : column + 2], y[row : row + 2], color=colour, linewidth=0.8)
        assembled, on_photograph = (below.add_subplot(2, columns, 1 + index + row * columns) for row in range(2))
        assembled.set_title(f"score {shown.scores[index]:.2f}", loc="left", fontsize=9)
        show(assembled, _probabilities(torch.from_numpy(logits)), window, window, color=colour, linewidth=2)
        assembled.vlines(x[1:-1], y[0], y[-1], colors=[colour], linewidth=0.7, alpha=0.35)
        assembled.hlines(y[1:-1], x[0], x[-1], colors=[colour], linewidth=0.7, alpha=0.35)
        show(on_photograph, image, whole, window, color=colour, linewidth=2)
        centres = [np.linspace(ends[0], ends[-1], 2 * len(logits) + 1)[1::2] for ends in (x, y)]  # of cells
        on_photograph.contourf(*centres, logits, [shown.threshold_logit, np.inf], colors=[colour], alpha=FILL_OPACITY)
        on_photograph.contour(*centres, logits, [shown.threshold_logit], colors=[colour], linestyles="solid")
    return figure


def _outline(axes: Axes, x: np.ndarray, y: np.ndarray, **line: Any) -> None:
    axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], **line)


def _probabilities(logits: Float[Tensor, "h w"]) -> Float[np.ndarray, "h w"]:
    return logits.float().sigmoid().numpy()
