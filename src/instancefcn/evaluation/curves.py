"""Recall-against-IoU curves (the paper's Figures 6 and 7), drawn with matplotlib's Agg, without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from instancefcn.evaluation.matching import MAX_PROPOSALS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE_THRESHOLDS = np.linspace(0.5, 1, 51)
_COLORS = ("#6ea8d8", "#2a6fb0", "#0c2f57")  # one hue, darker with N: the lines are steps of one quantity


def draw_curves(curves: Float[np.ndarray, "n t"], average_recalls: list[float], title: str) -> Figure:
    """Figure of one line for each N of ``MAX_PROPOSALS``.

    Args:
        curves: recall in percent over ``CURVE_THRESHOLDS``; NaN leaves a line out.
        average_recalls: Hosang's AR of each line, for its label: the area beneath it.
        title: printed above.
    """
    # The figure is made without pyplot, which would keep it alive and pick a backend for the whole process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for n, recall, average, color in zip(MAX_PROPOSALS, curves, average_recalls, _COLORS, strict=True):
        label = f"N = {n:,}" if np.isnan(average) else f"N = {n:,} (Hosang AR {average:.1f})"
        axes.plot(CURVE_THRESHOLDS, recall, color=color, linewidth=2, label=label)
    axes.set(xlim=(0.5, 1), ylim=(0, 100), xlabel="IoU at least", ylabel="Instances found (%)")
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="best", frameon=False)  # in the order in which the lines lie
    return figure


def render(figure: Figure, file_format: Literal["png", "svg"]) -> bytes:
    """The figure as a file; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "instancefcn"}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type")) if file_format == "svg" else {}
        figure.savefig(buffer, format=file_format, dpi=150, metadata=metadata)
    return buffer.getvalue()
