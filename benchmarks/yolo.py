"""Ultralytics' YOLO segmentation, from random weights: what a person might take instead.

Settings are its own (docs.ultralytics.com/usage/cfg): the smallest network, views of 640 pixels, 16 a step, mosaic and
its other augmentation, AdamW at the rate that its "auto" takes for one class, the epoch with the best score on the
images that are kept out. Differing: the least score is 0.001, as for its own validation, so that AR counts what is
there. Its weights from COCO come from a hub, so there are none here.

    pip install ultralytics
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from instancefcn.data.source import Source
from instancefcn.export.polygons import to_polygons
from instancefcn.export.yolo import filled, join
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.inference.proposer import MIN_SCORE
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.training.calibration import fit_rule

NETWORK = "yolo11n-seg.yaml"
RATE = 0.002
LEAST_SCORE = 0.001


class YoloProposer:
    """Proposes as ``instancefcn.Proposer`` does, as far as measuring asks; ``model`` is an ``ultralytics.YOLO``."""

    rule: ObjectRule | None = None  # how its masks become objects, once one was chosen

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], *, max_proposals: int = 100) -> Proposals:
        """Masks, best first."""
        (height, width), masks, scores = image.shape[:2], np.zeros((0, *image.shape[:2]), dtype=bool), np.zeros(0)
        if max_proposals:
            (found,) = self.model.predict(
                np.ascontiguousarray(image[..., ::-1]),  # blue, green, red
                conf=LEAST_SCORE, max_det=max_proposals, retina_masks=True, device="cpu", verbose=False,
            )  # fmt: skip
            if found.masks is not None:
                masks, scores = found.masks.data.numpy() > 0.5, found.boxes.conf.double().numpy()
        order = np.argsort(-scores, kind="stable")
        order = order[masks[order].any((1, 2))]
        rles = [encode(masks[one]) for one in order]
        return Proposals(rles, tight_boxes(rles), scores[order], height, width, rule=self.rule)

    def objects(self, image: UInt8[np.ndarray, "h w 3"]) -> Proposals:
        """Those above the threshold; none before one was chosen."""
        return self(image).objects() if self.rule else self(image, max_proposals=0)

    def choose_rule(self, sources: Sequence[Source]) -> None:
        """Choose the threshold, and what of several masks of an object stays, as training of ours does."""
        samples = [sample for source in sources for sample in source]
        self.rule = fit_rule([(self(sample.image).at_least(MIN_SCORE), sample.instances) for sample in samples])


def train_yolo(
    training: Sequence[Source],
    kept: Sequence[Source],
    minutes: float,
    rate: float,
    seed: int,
    folder: Path,
    report: Callable[[str], None] = print,
) -> tuple[YoloProposer, int]:
    """Train for so many minutes; also the number of iterations. ``folder`` is for its files."""
    os.environ["YOLO_CONFIG_DIR"], os.environ["YOLO_OFFLINE"] = str(folder), "true"  # else it asks hosts, and stays
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    iterations = 0

    def count(trainer: Any) -> None:
        nonlocal iterations
        iterations += 1
        if iterations % 20 == 0:
            report(f"iteration {iterations}")

    model = YOLO(NETWORK, task="segment", verbose=False)
    model.add_callback("on_train_batch_end", count)
    model.train(
        data=write_data_set(folder / "data", training, kept), time=minutes / 60, optimizer="AdamW", lr0=rate,
        momentum=0.9, warmup_bias_lr=0.0, pretrained=False, amp=False, device="cpu", workers=0, seed=seed, plots=False,
        project=str(folder), name="run", verbose=False,
    )  # fmt: skip
    return YoloProposer(YOLO(folder / "run" / "weights" / "best.pt", task="segment")), iterations


def write_data_set(folder: Path, training: Sequence[Source], kept: Sequence[Source]) -> Path:
    """Write images and their polygons as Ultralytics reads them, without crowds; the path of ``data.yaml``."""
    for split, sources in (("train", training), ("val", kept)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index, sample in enumerate(sample for source in sources for sample in source):
            Image.fromarray(sample.image).save(images / f"{index}.png")
            size, (wanted, _) = sample.image.shape[1::-1], sample.instances.divided()
            rings = [join(filled(to_polygons(rle, 0.0))) / size for rle in wanted]
            lines = [" ".join(["0", *(f"{number:.6f}" for number in ring.ravel())]) for ring in rings]
            (labels / f"{index}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    table = {"path": str(folder.absolute()), "train": "images/train", "val": "images/val", "names": {"0": "object"}}
    path.write_text(json.dumps(table))
    return path
