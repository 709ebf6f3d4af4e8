"""COCO mask AR and seconds an image for other values of each key of ``[inference]``, one key at a time.

    python -m benchmarks.inference_knobs --data coco:ANNOTATIONS.json,IMAGES_DIR [--knob NAME]
    python -m benchmarks.inference_knobs --data coco:ANNOTATIONS.json,IMAGES_DIR --try 'nms_threshold=0.6'

Tune on validation data only.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from instancefcn.config import from_table, to_table
from instancefcn.data.open import open_source
from instancefcn.inference.config import InferenceConfig
from instancefcn.training.validation import validate
from reproduce.networks import load_proposer

KNOBS: dict[str, list[Any]] = {
    "shorter_sides": [(416.0,), (480.0,), (576.0,), (640.0,), (768.0,), (320.0, 640.0)],
    "overview": [0.0, 128.0, 160.0, 240.0],
    "quality_power": [0.0, 0.5, 2.0],
    "blend_tiles": [False, True],
    "mask_threshold": [0.3, 0.4, 0.6],
    "nms_threshold": [0.6, 0.7, 0.9],
    "soft_nms_threshold": [0.3, 0.5, 0.6],
    "candidates": [300, 3000],
    "nms_candidates": [2000, 5000],
    "vote_threshold": [0.6, 0.7, 0.9],
}


def trials(
    base: InferenceConfig, knobs: Sequence[str], settings: Sequence[str]
) -> Iterator[tuple[str, InferenceConfig]]:
    """The configuration as it is, then with each setting, then with each other value of each knob."""
    yield "as it is", base
    for setting in settings:
        table = tomllib.loads(setting.replace(";", "\n"))
        yield setting, from_table(InferenceConfig, to_table(base) | table, "--try")
    for name in knobs:
        for value in KNOBS[name]:
            if value != getattr(base, name):
                yield f"{name} = {value}", replace(base, **{name: value})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as for `instancefcn validate`")
    parser.add_argument("--checkpoint", type=Path, help="also one of reproduce; default: the shipped one")
    parser.add_argument("--knob", action="append", choices=sorted(KNOBS), help="only this one; may be given again")
    parser.add_argument("--try", action="append", dest="settings", metavar="'KEY=VALUE; ...'", help="these instead")
    arguments = parser.parse_args()

    proposer, _ = load_proposer(arguments.checkpoint, "cpu")
    source = open_source(arguments.data)
    print(f"{arguments.data}: {len(source)} images; {proposer.config}")
    knobs = arguments.knob or ([] if arguments.settings else list(KNOBS))
    for name, config in trials(proposer.config, knobs, arguments.settings or []):
        proposer.config = config
        started = time.perf_counter()
        recall = validate(proposer, [source])[source.name]
        seconds = (time.perf_counter() - started) / len(source)
        figures = "  ".join(f"{key} {recall[key]:5.1f}" for key in ("AR@10", "AR@100", "AR@1000"))
        sizes = " ".join(f"{recall[f'AR@1000_{size}']:.1f}" for size in ("small", "medium", "large"))
        print(f"{figures}  (small, medium, large {sizes})  {seconds:.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
