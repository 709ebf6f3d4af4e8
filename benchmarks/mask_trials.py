"""What was tried on masks and is not in the package: COCO mask AR with and without.

    python benchmarks/mask_trials.py --data coco:ANNOTATIONS.json,IMAGES_DIR [--checkpoint FILE]

Seams: a mask pixel is interpolated between the score maps of the four nearest cells, not read from the map of its own,
so that the tiles of a mask leave no seams. Both without stability and soft suppression, which came later.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from instancefcn.data import open_source
from instancefcn.inference import proposer as proposer_module
from instancefcn.inference.proposer import Proposer
from instancefcn.model.assembling import OUTSIDE_LOGIT
from instancefcn.structures import ScoreMaps
from instancefcn.training.validation import validation_recall


def assemble_without_seams(
    score_maps: ScoreMaps, image_index: Int[Tensor, "n"], positions_yx: Int[Tensor, "n 2"]
) -> Float[Tensor, "n dm dm"]:
    """``assembling.assemble_windows``, bilinear between the maps of neighbouring cells."""
    instance, m = score_maps.instance, score_maps.m * score_maps.density
    _, k2, height, width = instance.shape
    k = math.isqrt(k2)
    place = ((torch.arange(m) + 0.5) * k / m - 0.5).clamp(0, k - 1)
    cell = place.floor().long().clamp(max=k - 2)
    share = place - cell
    corners = (positions_yx - score_maps.m // 2) * score_maps.density
    rows, columns = (corners[:, axis, None] + torch.arange(m) for axis in (0, 1))
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    logits = torch.zeros(len(corners), m, m)
    for down, weight_y in ((0, 1 - share), (1, share)):
        for right, weight_x in ((0, 1 - share), (1, share)):
            channel = (cell + down)[:, None] * k + cell + right
            logits += weight_y[:, None] * weight_x * instance[image_index[:, None, None], channel, rows, columns]
    return logits.masked_fill(~inside, OUTSIDE_LOGIT)


def write_without_seams(
    score_maps: Sequence[ScoreMaps],
    positions_yx: Sequence[Int[Tensor, "_ 2"]],
    masks: Sequence[Float32[np.ndarray, "_ _ _"]],
) -> None:
    """The same in the place of ``assembling.write_masks``."""
    for maps, positions, out in zip(score_maps, positions_yx, masks, strict=True):
        out[:] = assemble_without_seams(maps, torch.zeros_like(positions[:, 0]), positions).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as for `instancefcn validate`")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    arguments = parser.parse_args()

    proposer = Proposer.from_checkpoint(arguments.checkpoint)
    proposer.config = replace(proposer.config, stability_power=0.0, soft_nms_threshold=0.0)
    source = open_source(arguments.data)
    for label in ("as it is", "without seams"):
        if label == "without seams":
            proposer_module.write_masks = write_without_seams
        recall = validation_recall(proposer, [source])[source.name]
        print("  ".join(f"{key} {recall[key]:5.1f}" for key in ("AR@10", "AR@100", "AR@1000")), f" {label}", flush=True)


if __name__ == "__main__":
    main()
