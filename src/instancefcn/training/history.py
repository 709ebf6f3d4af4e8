"""What a run has seen so far: its first and its last losses, and its validation scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import msgspec

from instancefcn.values import is_integer

WINDOW = 20  # iterations at the start and at the end, over which losses are averaged

Measure = Literal["AR@100", "F1"]  # of a validation, by which networks are compared
AR: Measure = "AR@100"
F1: Measure = "F1"
Losses = dict[str, float]
Figures = dict[str, dict[str, float]]  # in percent: by source, then by measure


@dataclass
class History:
    """The course of one run, which its state keeps, so that a resumed run tells of all of it."""

    start: float | None = None  # of the checkpoint that it started from, by ``measure``; None: not measured
    scores: list[float] = field(default_factory=list)  # of each validation after that
    measure: Measure = AR  # that networks are compared by; so in older states
    first: list[Losses] = field(default_factory=list)  # of the first WINDOW iterations
    last: list[Losses] = field(default_factory=list)  # of the last WINDOW iterations
    validated: int = -1  # iteration of the last validation
    recall: Figures = field(default_factory=dict)  # what it gave, F1 of objects with it
    instances: int = 0  # that a validation looks for, which say how far its score is to be trusted; 0 in older states

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> History:
        """A history that a state keeps.

        Raises:
            ValueError: an unknown key, or a value of the wrong type.
        """
        table = {key: value for key, value in table.items() if key != "standard_error"}  # in older states
        if unknown := set(table) - {one.name for one in fields(cls)}:
            raise ValueError(f"its history has unknown keys ({', '.join(map(str, unknown))})")
        try:
            history = msgspec.convert(table, cls)
        except msgspec.ValidationError as error:
            raise ValueError("its history holds values of other types") from error
        losses = [*history.first, *history.last]
        numbers = [history.start or 0.0, *history.scores]
        numbers += [loss for one in losses for loss in one.values()]
        if not all(map(math.isfinite, numbers)) or len({frozenset(one) for one in losses}) > 1:
            raise ValueError("its history holds values of other types")
        return history

    @property
    def measured(self) -> bool:
        """Whether there was a validation, of the start or later."""
        return self.start is not None or bool(self.scores)

    @property
    def all_scores(self) -> list[float]:
        """Of the start, where it was measured, and of each validation after it."""
        return self.scores if self.start is None else [self.start, *self.scores]

    @property
    def best(self) -> int:
        """Which of ``all_scores`` is the best network's: the latest that chance may have put below the highest.

        So one that is below the highest so far by more than its standard error is not. The learning rate falls, so a
        later network is seldom worse, and few images are a poor judge. The rule of one standard error is that of
        Breiman et al., Classification and Regression Trees, 1984, who take the simplest model, not the latest.
        """
        best, highest = 0, -math.inf
        for place, score in enumerate(self.all_scores):
            if score >= highest - self.standard_error(highest):
                best = place
            highest = max(highest, score)
        return best

    @property
    def best_is_start(self) -> bool:
        """Whether the checkpoint that the run started from is better than all that came after it."""
        return self.start is not None and self.best == 0

    def standard_error(self, score: float) -> float:
        """Of a score, in points; none where nobody knows of how many instances it is."""
        return standard_error(max(score, 0.0), self.instances) if self.instances else 0.0

    @property
    def rose(self) -> bool:
        """Whether a validation had a higher score than the start, or than the first where there is no start."""
        first, *others = self.all_scores or [0.0]
        return max(others, default=first) > first

    def add_losses(self, losses: Mapping[str, float]) -> None:
        """Add the losses of one iteration."""
        if len(self.first) < WINDOW:
            self.first.append(dict(losses))
        self.last = [*self.last, dict(losses)][-WINDOW:]

    def loss_means(self, iterations: int) -> tuple[Losses, Losses]:
        """Mean losses at the start and at the end of a run, by name; over its halves where it is short."""
        count = max(1, min(WINDOW, iterations // 2))
        return _mean(self.first[:count]), _mean(self.last[-count:])


def standard_error(score: float, instances: int) -> float:
    """Of a share of so many instances, in percent as the score is.

    Agresti and Coull, "Approximate is better than exact for interval estimation of binomial proportions", The American
    Statistician 1998: two found and two missed instances more, so that it is not zero at 0 and at 100.

    Example:
        >>> round(standard_error(80.0, 16), 1), round(standard_error(80.0, 1600), 1)
        (9.9, 1.0)
    """
    share = (score / 100 * instances + 2) / (instances + 4)
    return 100 * math.sqrt(share * (1 - share) / (instances + 4))


def logged_entry(line: str) -> dict[str, Any] | None:
    """What a line of ``metrics.jsonl`` says of an iteration; None if it is cut off, or none of ours."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and is_integer(entry.get("iteration")) else None


def _mean(losses: list[Losses]) -> Losses:
    return {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]} if losses else {}
