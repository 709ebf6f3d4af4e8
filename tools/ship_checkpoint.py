"""Make a trained checkpoint the one that the package ships: half precision, with the recipe's table for proposing.

python tools/ship_checkpoint.py runs/lite/best.safetensors --recipe lite
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from instancefcn.config import to_table
from instancefcn.inference.proposer import SHIPPED_CHECKPOINT
from instancefcn.model.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.training.recipe import load_recipe

MAX_BYTES = 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recipe", default="lite")
    parser.add_argument("--out", type=Path, default=SHIPPED_CHECKPOINT)
    arguments = parser.parse_args()

    checkpoint = load_checkpoint(arguments.checkpoint)
    checkpoint = replace(checkpoint, inference=to_table(load_recipe(arguments.recipe).inference))
    arguments.out.parent.mkdir(exist_ok=True)
    save_checkpoint(checkpoint, arguments.out, dtype=torch.float16)
    size = arguments.out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{arguments.out} has {size} bytes; a package should not ship more than {MAX_BYTES}")
    print(f"{arguments.out}: {size / 1e6:.1f} MB, {checkpoint.training['iteration']} iterations")


if __name__ == "__main__":
    main()
