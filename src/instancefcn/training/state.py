"""The state that a run is resumed from after it was stopped."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from instancefcn.config import to_table
from instancefcn.files import write_whole
from instancefcn.training.recipe import Recipe

STATE_FILE = "last.state"


@dataclass(frozen=True)
class TrainingState:
    """A run between two iterations. Its random numbers follow from the seed and the iteration."""

    iteration: int
    seconds: float  # of training so far, those before a resumption included
    recipe: dict[str, Any]
    network: dict[str, Any]
    averaged: dict[str, Any] | None
    optimizer: dict[str, Any]
    trunk_weights: str = ""  # where the trunk's first weights came from; "" in older states
    history: dict[str, Any] = field(default_factory=dict)  # of ``History``; none in older states
    objects: dict[str, Any] | None = None  # the ``ObjectRule`` of the checkpoint that the run started from
    best: float = -1.0  # validation AR@100 of the best checkpoint, in older states


def save_state(state: TrainingState, path: Path) -> None:
    """Write the state so that the file is always whole."""
    buffer = io.BytesIO()
    torch.save(asdict(state), buffer)
    write_whole(path, buffer.getvalue())


def find_state(out: Path, recipe: Recipe, resume: bool) -> TrainingState | None:
    """The state of the run in a folder; None if there is no run yet. Only tensors and plain values are unpickled.

    Raises:
        ValueError: ``out`` holds a run and resume is off, the run has another recipe, or the file is no such state.
    """
    path = out / STATE_FILE
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out} holds a run already: go on with --resume, or give another --out")
    try:
        state = TrainingState(**torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch.load raises errors of many kinds for a file that it cannot read
        raise ValueError(
            f"{path}: not a training state ({error}); start anew without --resume, in another folder"
        ) from error
    if state.recipe != to_table(recipe):
        raise ValueError(f"{out} was trained with another recipe: give that one, or another --out")
    return state
