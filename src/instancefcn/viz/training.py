"""The course of a training: losses and validation against iterations, from its ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from instancefcn.data.polygons import number_or_nan
from instancefcn.evaluation.curves import FILE_COLORS, LIMIT_COLORS, empty_figure, in_font, style
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.training.history import AR, F1, logged_entry
from instancefcn.values import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = "metrics.jsonl"
LOSS, TOTAL = "loss_", "all together"
SMOOTHED = 10  # lines are means over a tenth of the points
LINES = ("solid", "dashed", "dotted", "dashdot")  # of the validation's sources, so that colours are not all there is

# Measures of a validation with their colours, in the order of drawing.
COLORS = {f"AR@{limit}": color for limit, color in zip(MAX_PROPOSALS[::-1], LIMIT_COLORS[::-1], strict=True)}
COLORS[F1] = FILE_COLORS[2]

Points = tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]]  # iterations, and values there


@dataclass(frozen=True)
class Course:
    """What a run has logged."""

    losses: dict[str, Points]  # by name, ``TOTAL`` first
    recall: dict[str, dict[str, Points]]  # validation in percent: by source, then by measure (``AR@100``, ``F1``)
    iterations: int
    seconds: float


def read_course(run: Path) -> Course:
    """Read the lines that a training has written; one that is cut, as the last of a run that goes on, is left out.

    Args:
        run: the folder of a training, or its ``metrics.jsonl``.

    Raises:
        ValueError: no such file, it holds neither losses nor validation, or a number that is not finite; names it.
    """
    path = run / METRICS if run.is_dir() else run
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; give a folder that `train` wrote to") from error
    losses: dict[str, list[tuple[int, float]]] = defaultdict(list)
    recall: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    last, seconds = 0, 0.0
    for number, line in enumerate(text.splitlines(), start=1):
        entry = logged_entry(line)
        if entry is None:
            continue
        iteration = entry["iteration"]
        values = {name: number_or_nan(value) for name, value in entry.items()}
        endless = next((name for name, value in values.items() if math.isinf(value)), None)
        if endless is not None:
            what = f"{endless} is {shown(entry[endless])}"
            raise ValueError(f"{path}: line {number}: {what}, not a finite number: remove the line")
        last, seconds = max(last, iteration), max(seconds, values.get("seconds", 0.0))
        parts = {name: value for name, value in values.items() if name.startswith(LOSS)}
        if parts:
            losses[TOTAL].append((iteration, sum(parts.values())))
        for name, value in parts.items():
            losses[name.removeprefix(LOSS)].append((iteration, value))
        for name, value in values.items():
            source, slash, measure = name.rpartition("/")
            if slash and measure in COLORS:
                recall[source][measure].append((iteration, value))
    if not losses and not recall:
        raise ValueError(f"{path}: has neither losses nor validation: give the folder of a run of `instancefcn train`")
    return Course(
        {name: _points(values) for name, values in losses.items()},
        {source: {name: _points(values) for name, values in of.items()} for source, of in recall.items()},
        last,
        seconds,
    )


def draw_course(course: Course, title: str) -> Figure:
    """Figure of one panel of losses and one of validation, where there is any.

    Losses are drawn as they are, thin, and as running means; validation with a ring where it is highest. (A
    checkpoint that training started from may be highest, and not be kept as the best: ``History.to_beat``.)
    """
    panels = bool(course.losses) + bool(course.recall)
    figure = empty_figure(6.4 * panels, 4.8)
    figure.suptitle(in_font(title), x=0.01, ha="left", fontsize=11, parse_math=False)
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    if course.losses:
        _draw_losses(axes.pop(0), course.losses)
    if course.recall:
        _draw_recall(axes.pop(0), course.recall)
    return figure


def highest_validation(recall: Mapping[str, Mapping[str, Points]]) -> tuple[int, float] | None:
    """Iteration of the highest F1 or AR@100, the mean over sources, and what it is; None without validation."""
    at: dict[float, list[float]] = defaultdict(list)
    for of in recall.values():
        for iteration, value in zip(*of.get(_deciding(recall), ((), ())), strict=True):
            if math.isfinite(value):
                at[iteration].append(value)
    means = {iteration: sum(values) / len(values) for iteration, values in at.items()}
    highest = max(means, key=lambda iteration: (means[iteration], -iteration), default=None)
    return None if highest is None else (int(highest), means[highest])


def _deciding(recall: Mapping[str, Mapping[str, Points]]) -> str:
    """What the best was chosen by: F1 of objects where it was measured."""
    return F1 if any(F1 in of for of in recall.values()) else AR


def running_mean(values: Float[np.ndarray, "n"], width: int) -> Float[np.ndarray, "n"]:
    """Mean of the values around each, ``width`` of them, fewer at the ends; NaN ones are left out.

    Example:
        >>> running_mean(np.array([0.0, 3.0, 6.0]), 3).tolist()
        [1.5, 3.0, 4.5]
    """
    if len(values) == 0:
        return values
    known, around = np.isfinite(values), np.ones(width)
    both = [np.convolve(part, around) for part in (np.where(known, values, 0), known.astype(float))]
    total, count = (part[(width - 1) // 2 :][: len(values)] for part in both)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _draw_losses(axes: Axes, losses: Mapping[str, Points]) -> None:
    style(axes, "Losses", "iteration", "loss")
    for (name, (iterations, values)), color in zip(losses.items(), cycle(FILE_COLORS), strict=False):
        smooth = running_mean(values, max(1, len(values) // SMOOTHED))
        axes.plot(iterations, values, color=color, linewidth=0.6, alpha=0.4)
        axes.plot(iterations, smooth, color=color, linewidth=2.4 if name == TOTAL else 1.5, label=name)
    _from_zero(axes)
    axes.legend(loc="best", frameon=False)


def _draw_recall(axes: Axes, recall: Mapping[str, Mapping[str, Points]]) -> None:
    style(axes, "Validation", "iteration", "average recall, and F1 of objects (%)")
    names: list[str] = []
    for (source, of), line in zip(recall.items(), cycle(LINES), strict=False):
        for measure, color in COLORS.items():
            if measure in of:
                axes.plot(*of[measure], color=color, linestyle=line, linewidth=2, marker=".")
                names.append(measure + (f", {in_font(source)}" if len(recall) > 1 else ""))
    highest = highest_validation(recall)
    if highest is not None:
        iteration, value = highest
        axes.plot([iteration], [value], "o", markersize=11, fillstyle="none", color=FILE_COLORS[1])
        names.append(f"highest: {_deciding(recall)} {value:.1f} at {iteration:,}")
    _from_zero(axes)
    legend = axes.legend(axes.get_lines(), [" "] * len(names), loc="best", frameon=False)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _from_zero(axes: Axes) -> None:
    """Let the scale begin at zero, and end above all that is drawn, rings included."""
    highest = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * highest if math.isfinite(highest) and highest > 0 else 1)


def _points(values: Sequence[tuple[int, float]]) -> Points:
    pairs = np.array(sorted(values, key=lambda pair: pair[0]), dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
