"""The end of a training: the rule for objects, which goes into its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from instancefcn.data.source import Source
from instancefcn.inference.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import ObjectRule
from instancefcn.structures import Track
from instancefcn.training.calibration import choose_rule


def store_rules(
    out: Path,
    validation: Sequence[Source],
    device: torch.device,
    start: ObjectRule | None = None,
    track: Track = iter,
) -> str:
    """Choose the rules of ``best`` and ``last`` in a run's folder on validation images, and store them in the files.

    A checkpoint by which nothing is found keeps the rule that it has.

    Args:
        start: the rule of the checkpoint that training started from.
        track: told of every image of a source, for a progress bar.

    Returns:
        A line that says what was chosen for the best.
    """
    chosen: dict[int, ObjectRule | None] = {}  # by iteration: the best may be the last
    for name in ("best", "last"):
        path = out / f"{name}.safetensors"
        checkpoint = load_checkpoint(path)
        iteration = checkpoint.training["iteration"]
        if iteration not in chosen:
            proposer = Proposer(checkpoint.build(), checkpoint.inference, device=device)
            chosen[iteration] = choose_rule(proposer, validation, start, track)
        rule = chosen[iteration]
        if rule is not None:
            save_checkpoint(replace(checkpoint, objects=rule), path)
    best = next(iter(chosen.values()))
    images = sum(len(source) for source in validation if not source.partial)
    if best is None:
        return f"objects: nothing was found on {images} validation images to choose a rule by"
    return f"objects: those that score {best.threshold:.3f} or more, chosen on {images} validation images"
