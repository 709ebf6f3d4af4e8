"""The state that a run is resumed from after it was stopped: written, read and checked. Nothing is unpickled."""

from __future__ import annotations

import io
import math
import types
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from instancefcn.config import to_table
from instancefcn.files import write_whole
from instancefcn.training.recipe import Recipe

STATE_FILE = "last.state"
ANEW = "start anew, in another folder"


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
    data: dict[str, Any] | None = None  # of ``Fingerprint``; none in older states
    due: bool = False  # a validation of these weights was to follow
    logged: int | None = None  # lines of metrics.jsonl that the state knows of; None in older states


def save_state(state: TrainingState, path: Path) -> None:
    """Write the state so that the file is always whole."""
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    write_whole(path, buffer.getvalue())


def find_state(out: Path, recipe: Recipe, resume: bool) -> TrainingState | None:
    """The state of the run in a folder; None if there is no run yet. Only tensors and plain values are read.

    Raises:
        ValueError: ``out`` holds a run and resume is off, the run has another recipe, or the file is no such state.
    """
    path = out / STATE_FILE
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out} holds a run already: go on with --resume, or give another --out")
    state = read_state(path)
    if state.recipe != to_table(recipe):
        raise ValueError(f"{out} was trained with another recipe: give that one, or another --out")
    return state


def read_state(path: Path) -> TrainingState:
    """Read a state, and check the type of each of its values; those inside of tables are the trainer's to check.

    Raises:
        ValueError: the file is no such state; names the file, and what is wrong with it.
    """
    if not _is_stored_zip(path):  # torch.load also takes a bare pickle
        raise ValueError(
            f"{path}: not a training state, or cut off; a file of another kind, such as a renamed pickle, is not read: "
            f"{ANEW}"
        )
    try:
        table = torch.load(path, weights_only=True, map_location="cpu")
        _check(table)
        return TrainingState(**table)
    except Exception as error:  # torch.load raises errors of many kinds for a file that it cannot read
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path}: not a training state ({reason}): {ANEW}") from error


def _check(table: Any) -> None:
    """Compare what was read with the types of ``TrainingState``.

    Raises:
        ValueError: a value has another type, or is a number that none can be; names it.
    """
    hints = get_type_hints(TrainingState)
    if not isinstance(table, dict):
        raise ValueError(f"it holds {_short(table)}")
    for name, value in table.items():
        if name not in hints:
            raise ValueError(f"it has an unknown value {_short(name)}")
        least = -1 if name == "best" else 0
        is_wrong_number = isinstance(value, int | float) and not least <= value < math.inf
        if not _is_a(value, hints[name]) or is_wrong_number:
            raise ValueError(f"{name} is {_short(value)}")


def _is_stored_zip(path: Path) -> bool:
    """Whether a file is what ``torch.save`` writes: a zip file whose parts take no more room than they have in it."""
    try:
        with zipfile.ZipFile(path) as file:
            return all(part.compress_type == zipfile.ZIP_STORED for part in file.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def check_optimizer(saved: dict[str, Any], built: torch.optim.Optimizer) -> None:
    """Compare an optimizer's saved state with one that was built for the same recipe and network.

    ``Optimizer.load_state_dict`` compares the number of parameters alone, so a wrong value would fail a step later.

    Raises:
        ValueError: says what differs.
    """
    groups, values = saved.get("param_groups"), saved.get("state")
    own = built.param_groups
    if not isinstance(groups, list) or not isinstance(values, dict) or len(groups) != len(own):
        raise ValueError("its optimizer has other groups of parameters")
    parameters: dict[int, Tensor] = {}
    for group, one in zip(groups, own, strict=True):
        numbers = group.get("params") if isinstance(group, dict) else None
        if not isinstance(numbers, list) or len(numbers) != len(one["params"]):
            raise ValueError("its optimizer has other groups of parameters")
        for key in (group.keys() & one.keys()) - {"params", "lr"}:  # the rate is set at each step
            if type(group[key]) is not type(one[key]) or group[key] != one[key]:
                raise ValueError(f"its optimizer's {key} is {_short(group[key])}, not {one[key]}")
        parameters |= {number: p for number, p in zip(numbers, one["params"], strict=True) if isinstance(number, int)}
    for number, entries in values.items():
        if number not in parameters or not isinstance(entries, dict):
            raise ValueError(f"its optimizer has no parameter {_short(number)}")
        for name, value in entries.items():
            shapes = (torch.Size(), parameters[number].shape)
            if not isinstance(value, Tensor) or value.shape not in shapes or not value.isfinite().all():
                raise ValueError(f"its optimizer's {_short(name)} of parameter {number} does not fit")


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value has the type of an annotation: a class, a dict, or one of several."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_a(value, one) for one in get_args(hint))
    kind = get_origin(hint) or hint
    return isinstance(value, int | float if kind is float else kind) and (kind is bool or not isinstance(value, bool))


def _short(value: Any) -> str:
    """A value for a message: never a whole tensor or table."""
    plain = isinstance(value, int | float | str | None) and len(repr(value)) < 60
    return repr(value) if plain else type(value).__name__
