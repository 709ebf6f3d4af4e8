"""Panels of a figure: pictures in the image's frame, without ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show(
    axes: Axes,
    picture: UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w"],
    place: Float[np.ndarray, "4"],
    view: Float[np.ndarray, "4"],
    **frame: Any,
) -> None:
    """Draw a photograph, or a map of values in [0, 1] from white to blue, and a line around the panel.

    Args:
        place: where the picture lies in the image's frame, xyxy.
        view: which part of that frame the panel shows, xyxy.
        frame: matplotlib's properties of the line.
    """
    left, top, right, bottom = place
    axes.imshow(picture, cmap="Blues", vmin=0, vmax=1, extent=(left, right, bottom, top))
    axes.set(xlim=(view[0], view[2]), ylim=(view[3], view[1]), xticks=[], yticks=[], anchor="S")
    axes.spines[:].set(**{"color": "#bec4cc", "linewidth": 0.7} | frame)
