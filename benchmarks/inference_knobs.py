"""What each knob of proposing gives: COCO mask AR and seconds an image, one knob off its value at a time.

    python benchmarks/inference_knobs.py --data coco:ANNOTATIONS.json,IMAGES_DIR [--checkpoint FILE] [--knob NAME ...]

Turn knobs on validation data only.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from instancefcn.data import open_source
from instancefcn.inference.proposer import Proposer
from instancefcn.training.validation import validation_recall

KNOBS: dict[str, list[Any]] = {
    "shorter_sides": [(416.0,), (480.0,), (576.0,), (640.0,), (768.0,), (320.0, 640.0)],
    "quality_power": [0.0, 0.5, 2.0],
    "mask_threshold": [0.3, 0.4, 0.6],
    "nms_overlap": ["mask"],
    "nms_threshold": [0.7, 0.9],
    "candidates": [300, 3000],
    "nms_candidates": [2000, 5000],
    "vote_threshold": [0.6, 0.7, 0.8],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as for `instancefcn validate`")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--knob", action="append", choices=sorted(KNOBS), help="only this one; may be given again")
    arguments = parser.parse_args()

    proposer = Proposer.from_checkpoint(arguments.checkpoint)
    source, base = open_source(arguments.data), proposer.config
    print(f"{arguments.data}: {len(source)} images; {base}")
    trials = [("as it is", None)]
    trials += [
        (name, value) for name in arguments.knob or KNOBS for value in KNOBS[name] if value != getattr(base, name)
    ]
    for name, value in trials:
        proposer.config = base if value is None else replace(base, **{name: value})
        started = time.perf_counter()
        recall = validation_recall(proposer, [source])[source.name]
        seconds = (time.perf_counter() - started) / len(source)
        figures = "  ".join(f"{key} {recall[key]:5.1f}" for key in ("AR@10", "AR@100", "AR@1000"))
        sizes = " ".join(f"{recall[f'AR@1000_{size}']:.1f}" for size in ("small", "medium", "large"))
        print(f"{name:15} {value!s:16} {figures}  (small, medium, large {sizes})  {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
