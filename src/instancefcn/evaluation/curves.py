"""Recall-against-IoU curves (the paper's Figures 6 and 7), drawn with matplotlib's Agg, without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.names import fewer_given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_THRESHOLDS = np.linspace(0.5, 1, 51)
LIMIT_COLORS = ("#6ea8d8", "#2a6fb0", "#0c2f57")  # one hue, darker with N: the lines are steps of one quantity

# After Okabe and Ito, "Color Universal Design" (2008): colour-blind people tell them apart, as they do the steps above.
FILE_COLORS = ("#2a6fb0", "#d55e00", "#009e73", "#cc79a7", "#1c2430", "#e69f00", "#56b4e9", "#8c6d31")
_LETTERS_A_LINE = 130  # of a file's name, in the legend


def draw_curves(
    curves: Float[np.ndarray, "n t"], average_recalls: list[float], title: str, given: Mapping[str, int]
) -> Figure:
    """Figure of one file: one line for each N of ``MAX_PROPOSALS``.

    Args:
        curves: recall in percent over ``CURVE_THRESHOLDS``; NaN leaves a line out.
        average_recalls: Hosang's AR by best IoU of each line, for its label: twice the area beneath it.
        given: the most proposals of an image for each N (``names.fewer_given``).
    """
    figure = empty_figure(6.4, 4.8)
    axes = figure.add_subplot()
    _style_recall(axes, title)
    for n, recall, average, color in zip(MAX_PROPOSALS, curves, average_recalls, LIMIT_COLORS, strict=True):
        label = f"N = {n:,}{fewer_given(n, given)}"
        label += "" if np.isnan(average) else f", AR by best IoU {average:.1f}"
        axes.plot(CURVE_THRESHOLDS, recall, color=color, linewidth=2, label=label)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="best", frameon=False)  # from the top line to the bottom one
    return figure


def draw_recall_panels(curves: Mapping[str, Float[np.ndarray, "n t"]], title: str) -> Figure:
    """Figure of one panel for each N of ``MAX_PROPOSALS``, with a line for each file: the paper's Figures 6 and 7.

    Args:
        curves: by the file's name, as in ``draw_curves``; no more than there are ``FILE_COLORS``, which colour-blind
            people tell apart (after Okabe and Ito). Letters that the font lacks are drawn as U+FFFD.
    """
    from matplotlib.lines import Line2D

    lines = [fill(in_font(name), _LETTERS_A_LINE) for name in curves]
    figure = empty_figure(11.0, 4.1 + 0.2 * sum(name.count("\n") + 1 for name in lines))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    panels = figure.subplots(1, len(MAX_PROPOSALS), sharey=True, gridspec_kw={"wspace": 0.08})
    for index, (axes, n) in enumerate(zip(panels, MAX_PROPOSALS, strict=True)):
        _style_recall(axes, f"N = {n:,}")
        if index:  # the first panel's label and ticks serve all
            axes.set_ylabel("")
            axes.tick_params(left=False)
        for recalls, color in zip(curves.values(), FILE_COLORS, strict=False):
            axes.plot(CURVE_THRESHOLDS, recalls[index], color=color, linewidth=2)
    handles = [Line2D([], [], color=color, linewidth=3, label="file") for color in FILE_COLORS[: len(curves)]]
    legend = figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=9)
    for text, name in zip(legend.get_texts(), lines, strict=True):  # a label that starts with _ would be left out
        text.set_parse_math(False)
        text.set_text(name)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """A figure made without pyplot, which would keep it alive and choose a backend for the whole process."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _style_recall(axes: Axes, title: str) -> None:
    style(axes, title, "IoU at least", "Instances found (%)")
    axes.set(xlim=(0.5, 1), ylim=(0, 100))


def style(axes: Axes, title: str, x: str, y: str) -> None:
    """Give a chart its title and labels, quiet lines and no box."""
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def in_font(text: str) -> str:
    """The text with U+FFFD for every character that the figure's font lacks, line breaks included."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return "".join(letter if ord(letter) in known else "\N{REPLACEMENT CHARACTER}" for letter in text)


def render(figure: Figure, file_format: Literal["png", "svg"]) -> bytes:
    """Encode the figure as a file; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "instancefcn"}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type")) if file_format == "svg" else {}
        figure.savefig(buffer, format=file_format, dpi=150, metadata=metadata)
    return buffer.getvalue()
