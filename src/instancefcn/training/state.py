"""What a run needs beside its weights to go on after it was killed."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from instancefcn.files import write_whole


@dataclass(frozen=True)
class TrainingState:
    """A run between two iterations. Its randomness is a function of the seed and the iteration, so it is here too."""

    iteration: int
    seconds: float  # trained so far, all resumptions together
    best: float  # validation AR@100 of the best checkpoint
    recipe: dict[str, Any]
    network: dict[str, Any]
    averaged: dict[str, Any] | None
    optimizer: dict[str, Any]


def save_state(state: TrainingState, path: Path) -> None:
    """Write the state so that the file is always whole."""
    buffer = io.BytesIO()
    torch.save(asdict(state), buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path) -> TrainingState:
    """Read a state; only tensors and plain values are unpickled.

    Raises:
        ValueError: the file is not a training state.
    """
    try:
        return TrainingState(**torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch.load raises errors of many kinds for a file that it cannot read
        raise ValueError(
            f"{path}: not a training state ({error}); start anew without --resume, in another folder"
        ) from error
