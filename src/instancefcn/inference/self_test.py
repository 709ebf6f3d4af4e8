"""A self-test: a picture that is made on the spot, whose shapes the shipped network is known to find."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import ious
from instancefcn.proposals import Proposals

HEIGHT, WIDTH = 360, 480
# Boxes, xyxy, of ellipses, and their colours: what a proposal of the shipped network fits within ``MIN_IOU``.
SHAPES: dict[tuple[int, int, int, int], tuple[int, int, int]] = {
    (60, 50, 160, 150): (180, 40, 40),
    (280, 30, 390, 150): (40, 70, 150),
    (70, 210, 200, 330): (40, 120, 60),
    (290, 200, 410, 320): (230, 150, 30),
}
MIN_IOU = 0.8
PROPOSALS = 100


@dataclass(frozen=True)
class SelfTest:
    """What proposing in the picture gave."""

    first_seconds: float  # of the first image: loops are compiled, or read from the disk
    seconds: float  # of the next one
    ious: list[float]  # of each shape's box with the box of the proposal that fits best

    @property
    def found(self) -> int:
        """Number of shapes that a proposal fits."""
        return sum(iou >= MIN_IOU for iou in self.ious)

    @property
    def passed(self) -> bool:
        """Whether all are found."""
        return self.found == len(SHAPES)


def made_picture() -> UInt8[np.ndarray, "h w 3"]:
    """Four ellipses of different colours on a grey ground that gets darker downwards, RGB."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ground = np.stack([205 - 0.08 * y, 200 - 0.06 * y + 0.02 * x, 190 - 0.05 * x], axis=-1)
    image = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for (left, top, right, bottom), colour in SHAPES.items():
        draw.ellipse((left, top, right - 1, bottom - 1), fill=colour)
    return np.array(image)


def run_self_test(proposer: Callable[..., Proposals]) -> SelfTest:
    """Propose in the picture twice, and compare with the boxes of its shapes.

    Args:
        proposer: of the shipped network; others may find nothing in such a picture, and be sound.
    """
    picture, times = made_picture(), [time.perf_counter()]
    proposer(picture, max_proposals=PROPOSALS)
    times.append(time.perf_counter())
    proposals = proposer(picture, max_proposals=PROPOSALS)
    times.append(time.perf_counter())
    overlaps = ious(xyxy_to_xywh(np.array([*SHAPES], dtype=float)), xyxy_to_xywh(proposals.boxes_xyxy))
    return SelfTest(times[1] - times[0], times[2] - times[1], overlaps.max(axis=1, initial=0.0).tolist())
