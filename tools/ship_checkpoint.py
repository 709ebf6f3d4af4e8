"""Make a trained checkpoint the one that the package ships: half precision, with the recipe's table for proposing.

    python tools/ship_checkpoint.py [EARLIER.safetensors] runs/lite/last.safetensors --recipe lite

Of several checkpoints the mean of their weights is shipped, which is often better than each where one went on from the
other (model soups, Wortsman et al., ICML 2022).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from instancefcn.config import to_table
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint, save_checkpoint
from instancefcn.training.recipe import load_recipe

MAX_BYTES = 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--recipe", default="lite")
    parser.add_argument("--out", type=Path, default=SHIPPED_CHECKPOINT)
    arguments = parser.parse_args()

    checkpoints = [load_checkpoint(path) for path in arguments.checkpoints]
    checkpoint = replace(
        checkpoints[-1],
        weights=average([checkpoint.weights for checkpoint in checkpoints]),
        inference=to_table(load_recipe(arguments.recipe).inference),
    )
    arguments.out.parent.mkdir(exist_ok=True)
    save_checkpoint(checkpoint, arguments.out, dtype=torch.float16)
    size = arguments.out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{arguments.out} has {size} bytes; a package should not ship more than {MAX_BYTES}")
    print(f"{arguments.out}: {size / 1e6:.1f} MB, {checkpoint.training['iteration']} iterations")


def average(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the last one's weights and those of the others that have them: blocks that it added are its own.

    Counters, which are whole numbers, are the last one's.
    """
    if unknown := {name for of_one in weights for name in of_one} - weights[-1].keys():
        raise SystemExit(f"the last checkpoint lacks {len(unknown)} tensors of the others, as {min(unknown)}")
    return {
        name: torch.stack([of_one[name].float() for of_one in weights if name in of_one]).mean(0)
        if last.is_floating_point()
        else last
        for name, last in weights[-1].items()
    }


if __name__ == "__main__":
    main()
