"""Figures of a run: as lines of JSON in ``metrics.jsonl``, as tensorboard events, and as a line of text on a bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn
from torch.utils.tensorboard import SummaryWriter


class Log:
    """Writer for the figures of one run.

    Args:
        resumed_at: lines of later iterations are dropped; the run was stopped before it saved them.
    """

    def __init__(self, out: Path, resumed_at: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)["iteration"] <= resumed_at]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self.writer = SummaryWriter(out, purge_step=resumed_at + 1)

    def write(self, iteration: int, seconds: float, values: Mapping[str, float]) -> None:
        """Log some figures."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"iteration": iteration, "seconds": round(seconds, 1), **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)
        self.writer.flush()

    def text(self, name: str, value: str) -> None:
        """Log a text, as a tensorboard event alone."""
        self.writer.add_text(name, value)


@contextmanager
def show_progress(visible: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar; call the result with the fraction that is done and a line of text."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), disable=not visible
    ) as bar:
        task = bar.add_task("training", total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)
