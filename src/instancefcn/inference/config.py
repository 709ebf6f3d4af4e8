"""Keys of a recipe's ``[inference]`` table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from instancefcn.config import check_values

OVERVIEW_WINDOW = 0.9  # of the overview's shorter side, at least, that windows of the overview have
MIN_TILE = 256  # pixels: several positions of the coarsest level, and room for what neighbours share


@dataclass(frozen=True)
class InferenceConfig:
    """How to propose. The defaults are the ``lite`` preset's; a checkpoint carries every key.

    Raises:
        ValueError: a value out of range; names the key.
    """

    shorter_sides: tuple[float, ...] = (480.0,)  # pixels that the image is resized to, one pass each
    image_scales: tuple[float, ...] = ()  # instead of shorter_sides: factors of the image as it is, one pass each
    overview: float = 192.0  # pixels of the shorter side in one more pass, for what fills the image; 0 for none
    longest_side: float = 1333.0  # pixels; what is longer is resized to less, in training, too, or cut into such tiles
    tiles: bool = False  # cut into overlapping tiles what would be longer than longest_side, and look at the whole once
    candidates: int = 1000  # windows kept by score, before assembling, of each ScoreMaps of each scale
    quality_power: float = 0.5  # rank by objectness times quality to this power; 0 for objectness alone (paper)
    stability_power: float = 1.0  # and times the mask's stability to this power (WindowMasks.stability); 0 in the paper
    blend_tiles: bool = True  # interpolate between the score maps of neighbouring cells; the paper copies tiles
    mask_threshold: float = 0.37  # on the logistic of the mask logits
    nms_threshold: float = 0.8  # IoU of tight boxes above which the worse of two is suppressed
    soft_nms_threshold: float = 0.4  # IoU of tight boxes above which the worse survivor falls in rank; 0 for never
    nms_candidates: int = 3500  # best windows of all that suppression looks at
    vote_threshold: float = 0.8  # IoU of tight boxes from which candidates are averaged into a survivor; 0 for never

    def __post_init__(self) -> None:
        if not 0 < self.mask_threshold < 1:
            raise ValueError(f"inference.mask_threshold is {self.mask_threshold}; it must lie between 0 and 1")
        if not self.shorter_sides:
            raise ValueError("inference.shorter_sides must name one side at least")
        if self.tiles and self.longest_side < MIN_TILE:
            raise ValueError(
                f"inference.longest_side is {self.longest_side}; with inference.tiles, {MIN_TILE} at least"
            )
        check_values(
            self,
            "inference",
            shorter_sides=(1, 100_000),
            image_scales=(1e-6, 1000),
            overview=(0, 100_000),
            longest_side=(1, 1e9),
            candidates=(1, 10_000_000),
            quality_power=(0, 1000),
            stability_power=(0, 1000),
            nms_threshold=(0, 1),
            soft_nms_threshold=(0, 1),
            nms_candidates=(1, 10_000_000),
            vote_threshold=(0, 1),
        )

    def sides_of(self, height: int, width: int) -> tuple[float, ...]:
        """The shorter sides that an image of this size is resized to, before ``longest_side``."""
        return tuple(scale * min(height, width) for scale in self.image_scales) or self.shorter_sides

    @property
    def overview_window(self) -> float:
        """Pixels of a side that windows of the overview have at least; smaller ones are left to the other passes."""
        return OVERVIEW_WINDOW * self.overview if self.overview else math.inf

    @property
    def longest_resized(self) -> float:
        """Pixels of the longer side that an image is resized to at most; infinite where what is longer is cut."""
        return math.inf if self.tiles else self.longest_side

    @property
    def threshold_logit(self) -> float:
        """``mask_threshold`` as a logit."""
        return math.log(self.mask_threshold / (1 - self.mask_threshold))
