"""mAP^r image by image, for bootstrap intervals of differences in average precision.

A result is judged against the instances of its own image alone. So drawing images changes how often each result counts,
not how it is judged, and a bootstrap over images is cheap (``evaluation/compare.py`` has its rules).
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
    """The judged results of a set of images: category by category, best score first."""

    instances: Int[np.ndarray, "i c"]  # number of labelled instances of each image and category, without crowds
    images: Int[np.ndarray, "n"]  # position of each result's image
    categories: Int[np.ndarray, "n"]  # position of each result's category, ascending
    right: Bool[np.ndarray, "n t"]  # at MAP_R_THRESHOLDS
    wrong: Bool[np.ndarray, "n t"]  # a result that a crowd covers is neither right nor wrong

    @classmethod
    def of(cls, categories: Sequence[CategoryRegions]) -> ImagePrecision:
        """Judge the results of every category; there is at least one."""
        judged = [
            [true_and_false_positives(category.ground_truth, category.proposals, limit) for limit in MAP_R_THRESHOLDS]
            for category in categories
        ]
        right, wrong = (
            np.concatenate([np.stack([at[kind] for at in thresholds], axis=1) for thresholds in judged]).astype(bool)
            for kind in (0, 1)
        )
        instances = [[int((~image.crowd).sum()) for image in category.ground_truth] for category in categories]
        images = [ranked_images(category.proposals) for category in categories]
        numbers = np.repeat(np.arange(len(categories)), [len(ranked) for ranked in images])
        return cls(np.array(instances, dtype=np.int64).T, np.concatenate(images), numbers, right, wrong)

    def percent(self, times_drawn: Int[np.ndarray, "d i"] | None = None) -> Float[np.ndarray, "d m"]:
        """``PRECISION_MEASURES`` for each drawing of the images.

        NaN where a drawing has no instance. A category without instances is left out of the mean.

        Args:
            times_drawn: how often each drawing has each image; None for one drawing of every image once.
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
) -> dict[str, Difference]:
    """Difference of ``PRECISION_MEASURES`` between two methods, with paired bootstrap intervals.

    Args:
        first, second: of the same images, one for each seed; means over seeds are compared.
        generator: draws the images, the same ones for both.

    Raises:
        ValueError: the images or instances differ, or there is no image.
    """
    instances = first[0].instances
    if not all(np.array_equal(one.instances, instances) for one in (*first, *second)):
        raise ValueError("the two were evaluated on different annotations; evaluate both on the same")

    def mean(seeds: Sequence[ImagePrecision], drawn: Int[np.ndarray, "d i"] | None) -> Float[np.ndarray, "d m"]:
        return np.mean([one.percent(drawn) for one in seeds], axis=0)

    low, high = bootstrap(
        lambda drawn: mean(second, drawn) - mean(first, drawn), len(instances), generator, PRECISION_DRAWS, CONFIDENCE
    )
    a, b = mean(first, None)[0], mean(second, None)[0]
    images = int(np.count_nonzero(instances.any(1)))
    return {
        name: Difference(float(a[index]), float(b[index]), float(low[index]), float(high[index]), images)
        for index, name in enumerate(PRECISION_MEASURES)
    }
