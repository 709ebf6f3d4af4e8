"""Figures of a run: as lines of JSON in ``metrics.jsonl``, as tensorboard events, and as a line of text on a bar."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch.utils.tensorboard import SummaryWriter

from instancefcn.files import named_errors, write_whole
from instancefcn.training.history import logged_entry

T = TypeVar("T")


class Log:
    """Writer for the figures of one run.

    Args:
        resumed_at: lines of later iterations are dropped; the run was stopped before it saved them.
        known: lines that the run's state knows of; None keeps all up to ``resumed_at``. A line that is no JSON, as the
            last one of a run that was cut off may be, is dropped.
    """

    def __init__(self, out: Path, resumed_at: int, known: int | None = None) -> None:
        self.path = out / "metrics.jsonl"
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        entries = ((line, logged_entry(line)) for line in text.splitlines()[:known])
        kept = [line for line, entry in entries if entry and entry["iteration"] <= resumed_at]
        write_whole(self.path, "".join(f"{line}\n" for line in kept))
        self.lines = len(kept)
        self.writer = SummaryWriter(out, purge_step=resumed_at + 1)

    def write(self, iteration: int, seconds: float, values: Mapping[str, float]) -> None:
        """Log some figures; one that is NaN, such as the recall of a size without objects, is null.

        Raises:
            OSError: the disk is full; names the file.
        """
        figures = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"iteration": iteration, "seconds": round(seconds, 1), **figures}, allow_nan=False)
        with named_errors(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            self.lines += 1
            for name, value in figures.items():
                if value is not None:
                    self.writer.add_scalar(name, value, iteration)
            self.writer.flush()

    def close(self) -> None:
        """End the thread that writes tensorboard's events."""
        self.writer.close()


@dataclass(frozen=True)
class Bars:
    """Progress of a run, and below it that of what its steps wait for."""

    progress: Progress
    run: TaskID

    def show(self, share: float, text: str) -> None:
        """Show the fraction of the run that is done, and a line of text."""
        self.progress.update(self.run, completed=share, description=text)

    def track(self, things: Sequence[T], text: str) -> Iterable[T]:
        """The same things, with a bar of their own while they are gone through."""
        task = self.progress.add_task(text, total=len(things))
        try:
            for thing in things:
                yield thing
                self.progress.advance(task)
        finally:
            self.progress.remove_task(task)


@contextmanager
def show_progress(visible: bool) -> Iterator[Bars]:
    """Show how far a run is."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%")
    with Progress(*columns, disable=not visible) as progress:
        yield Bars(progress, progress.add_task("training", total=1.0))
