"""Make a trained checkpoint the shipped one: in half precision, proposing as the recipe says.

    python tools/ship_checkpoint.py [EARLIER.safetensors] runs/lite/last.safetensors --recipe lite \
        --objects coco:../shared/data/coco-mini/annotations/instances_val.json,../shared/data/coco-mini/val

Several checkpoints give the mean of their weights; one that is named twice counts twice. Where each went on from the
one before, the mean is often better than any of them (model soups, Wortsman et al., ICML 2022). ``--objects`` names the
labelled images on which the object rule is chosen; without it the last checkpoint's stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from instancefcn.data.open import open_source
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint, save_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.training.calibration import choose_rule
from instancefcn.training.recipe import load_recipe

MAX_BYTES = 20_000_000
ALIKE = 0.25  # ``ObjectRule.alike``: what is shipped meets things that it was not trained on (docs/objects.md)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--recipe", default="lite")
    parser.add_argument("--objects", metavar="SPEC", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=SHIPPED_CHECKPOINT)
    arguments = parser.parse_args()

    checkpoints = [load_checkpoint(path) for path in arguments.checkpoints]
    checkpoint = replace(
        checkpoints[-1],
        weights=average([checkpoint.weights for checkpoint in checkpoints]),
        inference=load_recipe(arguments.recipe).inference,
    )
    if arguments.objects:
        proposer = Proposer(checkpoint.build(), checkpoint.inference)
        checkpoint = replace(
            checkpoint, objects=choose_rule(proposer, [open_source(spec) for spec in arguments.objects])
        )
    if checkpoint.objects is not None:
        checkpoint = replace(checkpoint, objects=replace(checkpoint.objects, alike=ALIKE))
    print(f"objects: {checkpoint.objects}")
    arguments.out.parent.mkdir(exist_ok=True)
    save_checkpoint(checkpoint, arguments.out, dtype=torch.float16)
    size = arguments.out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{arguments.out} has {size} bytes; a package should not ship more than {MAX_BYTES}")
    print(f"{arguments.out}: {size / 1e6:.1f} MB, {checkpoint.training['iteration']} iterations")


def average(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each weight over the checkpoints that have it; the last one may have more than the others.

    Whole numbers, which count batches, are the last one's.
    """
    if unknown := {name for other in weights for name in other} - weights[-1].keys():
        raise SystemExit(f"the last checkpoint lacks {len(unknown)} tensors of the others, as {min(unknown)}")
    return {
        name: torch.stack([other[name].float() for other in weights if name in other]).mean(0)
        if last.is_floating_point()
        else last
        for name, last in weights[-1].items()
    }


if __name__ == "__main__":
    main()
