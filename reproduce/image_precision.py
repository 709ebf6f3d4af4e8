"""mAP^r image by image, so that images can be drawn: how sure a difference in average precision is.

A result is judged against the instances of its own image alone, so judging stays as it is whichever images are drawn;
only how often each result counts changes. So a bootstrap over images is cheap (``compare.py`` has its rules).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.evaluation.average_precision import (
    MAP_R_THRESHOLDS,
    Variant,
    ranked_images,
    true_and_false_positives,
    weighted_average_precision,
)
from instancefcn.evaluation.compare import CONFIDENCE, Difference, bootstrap
from instancefcn.evaluation.results import CategoryRegions

PRECISION_DRAWS = 200
_VARIANTS: tuple[Variant, ...] = ("11-point", "area")
PRECISION_MEASURES = tuple(f"mAP^r@{threshold} {variant}" for variant in _VARIANTS for threshold in MAP_R_THRESHOLDS)


@dataclass(frozen=True)
class ImagePrecision:
    """All results of a set of images, judged: category by category, of each the best score first."""

    instances: Int[np.ndarray, "i c"]  # labelled ones of each image and category, crowds aside
    images: Int[np.ndarray, "n"]  # position of each result's image
    categories: Int[np.ndarray, "n"]  # position of its category, ascending
    right: Bool[np.ndarray, "n t"]  # at MAP_R_THRESHOLDS
    wrong: Bool[np.ndarray, "n t"]  # neither is what a crowd covers

    @classmethod
    def of(cls, categories: Sequence[CategoryRegions]) -> ImagePrecision:
        """Judge the results of every category; there is at least one."""
        judged = [
            [true_and_false_positives(of.ground_truth, of.proposals, limit) for limit in MAP_R_THRESHOLDS]
            for of in categories
        ]
        images = [ranked_images(of.proposals) for of in categories]
        right, wrong = (
            np.concatenate([np.stack([at[kind] for at in of], axis=1) for of in judged]).astype(bool) for kind in (0, 1)
        )
        return cls(
            np.array([[int((~image.crowd).sum()) for image in of.ground_truth] for of in categories], dtype=np.int64).T,
            np.concatenate(images),
            np.repeat(np.arange(len(categories)), [len(of) for of in images]),
            right,
            wrong,
        )

    def percent(self, times_drawn: Int[np.ndarray, "d i"] | None = None) -> Float[np.ndarray, "d m"]:
        """Every one of ``PRECISION_MEASURES`` for each drawing of the images; by default each image is there once.

        NaN where what was drawn has no instance; a category without any is left out of the mean.
        """
        drawn = np.ones((1, len(self.instances)), dtype=np.int64) if times_drawn is None else times_drawn
        there = drawn @ self.instances  # [d, c]
        sums = np.zeros((len(drawn), len(PRECISION_MEASURES)))
        for category, instances in enumerate(there.T):
            own = slice(*np.searchsorted(self.categories, [category, category + 1]))
            times = drawn[:, self.images[own]]
            values = [
                weighted_average_precision(self.right[own, t], self.wrong[own, t], times, instances, variant)
                for variant in _VARIANTS
                for t in range(len(MAP_R_THRESHOLDS))
            ]
            sums += np.nan_to_num(np.stack(values, axis=1))
        known = (there > 0).sum(axis=1, keepdims=True)
        return 100 * np.divide(sums, known, out=np.full(sums.shape, np.nan), where=known > 0)


def compare_precision(
    first: Sequence[ImagePrecision],
    second: Sequence[ImagePrecision],
    *,
    generator: np.random.Generator,
    draws: int = PRECISION_DRAWS,
    confidence: float = CONFIDENCE,
) -> dict[str, Difference]:
    """The difference in each of ``PRECISION_MEASURES`` between two methods, with its paired bootstrap interval.

    Args:
        first, second: of the same images, one of each seed; what is compared is the mean over seeds.
        generator: draws the images, the same for all.

    Raises:
        ValueError: they are not of the same images and instances, or there is no image.
    """
    instances = first[0].instances
    if not all(np.array_equal(one.instances, instances) for one in (*first, *second)):
        raise ValueError("the two were evaluated on different annotations; evaluate both on the same")

    def mean(of: Sequence[ImagePrecision], drawn: Int[np.ndarray, "d i"] | None) -> Float[np.ndarray, "d m"]:
        return np.mean([one.percent(drawn) for one in of], axis=0)

    low, high = bootstrap(
        lambda drawn: mean(second, drawn) - mean(first, drawn), len(instances), generator, draws, confidence
    )
    a, b = mean(first, None)[0], mean(second, None)[0]
    return {
        name: Difference(float(a[index]), float(b[index]), float(low[index]), float(high[index]))
        for index, name in enumerate(PRECISION_MEASURES)
    }
