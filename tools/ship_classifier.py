"""Make a trained classifier one that the package ships: half precision, found by its name.

python tools/ship_classifier.py runs/animals/classifier.safetensors animals
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from instancefcn.classifier.checkpoint import SHIPPED, check_proposals, load_classifier, load_proposer, save_classifier
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT

MAX_BYTES = 15_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()

    checkpoint = load_classifier(arguments.classifier)
    check_proposals(checkpoint, load_proposer(SHIPPED_CHECKPOINT)[1], str(arguments.classifier))
    out = SHIPPED / f"{arguments.name}.safetensors"
    save_classifier(checkpoint, out, torch.float16)
    size = out.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{out} has {size} bytes; a package should not ship more than {MAX_BYTES}")
    print(f"{out}: {size / 1e6:.1f} MB, {', '.join(checkpoint.categories.values())}")


if __name__ == "__main__":
    main()
