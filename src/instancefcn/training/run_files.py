"""The files that a run keeps in its folder: whole at every moment, and what is safe in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from instancefcn.inference.checkpoint import Checkpoint, save_checkpoint
from instancefcn.training.state import STATE_FILE, TrainingState, save_state

LAST, BEST = "last.safetensors", "best.safetensors"


def refuse_checkpoints(out: Path) -> None:
    """Stop where a folder without a run has checkpoints, which a training would write over.

    Raises:
        ValueError: it has; names one.
    """
    for path in (out / BEST, out / LAST):
        if path.exists():
            raise ValueError(f"{path} would be written over, and there is no run to go on with: give another --out")


def refuse_run(out: Path) -> None:
    """Stop where a folder has a run of ``train``, whose log another command would write over.

    Raises:
        ValueError: it has.
    """
    if (out / STATE_FILE).exists():
        raise ValueError(
            f"{out} holds a run of `instancefcn train`, whose metrics.jsonl would be lost: give another --out"
        )


class RunFiles:
    """Checkpoints and the state of one run.

    Args:
        saved_at: the iteration of the state that is there; None where there is none.
    """

    def __init__(self, out: Path, saved_at: int | None = None) -> None:
        self.out, self.saved_at = out, saved_at

    def save(self, checkpoint: Checkpoint, state: TrainingState, names: Collection[str]) -> None:
        """Write a checkpoint under some names, as the best, too, where there is none yet; then the state.

        Killed in between, the state is older than the checkpoint: the run goes on from the state, and saves anew.

        Raises:
            OSError: a file can't be written; names it, and what is safe.
        """
        with self.saying_what_is_safe():
            for name in (LAST, BEST):
                if name in names or not (self.out / name).exists():
                    save_checkpoint(checkpoint, self.out / name)
            save_state(state, self.out / STATE_FILE)
        self.saved_at = state.iteration

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint as the best alone; the same errors as ``save``."""
        with self.saying_what_is_safe():
            save_checkpoint(checkpoint, self.out / BEST)

    def last_good(self) -> str:
        """A sentence on what is safe."""
        if self.saved_at is None:
            return "Nothing was saved yet"
        return f"The last good checkpoint is {self.out / LAST}, after iteration {self.saved_at}"

    def kept(self) -> str:
        """What a run that was stopped has kept."""
        if self.saved_at is None:
            return f"nothing was trained yet, so no weights are in {self.out}"
        return f"training is saved after iteration {self.saved_at} in {self.out}"

    @contextmanager
    def saying_what_is_safe(self) -> Iterator[None]:
        """Add to an error of the disk what is safe, and how to go on."""
        try:
            yield
        except OSError as error:
            how = "start again" if self.saved_at is None else "go on with --resume"
            text = f"{error.strerror}. {self.last_good()}: make room, then {how}"
            raise OSError(error.errno, text, error.filename) from error
