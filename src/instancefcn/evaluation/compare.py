"""Confidence intervals of the differences between two proposal files: a paired bootstrap over images.

Images are drawn with replacement, the same ones for both files, and every measure is computed from the drawn images.
The interval lies between percentiles of the differences (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13). Images are drawn, not instances, since the instances of one image are not independent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from instancefcn.evaluation.average_recall import ImageRecall, PerImage

DRAWS = 2000  # how many times all images are drawn
CONFIDENCE = 0.95
# With instances of a measure; with fewer, nothing is called decided. Percentiles of few images lie too close together:
# of one image the interval has no width at all. docs/formats.md has what that was measured to cost.
MIN_IMAGES = 20
_DRAWS_AT_ONCE = 100  # bounds the memory: draws * images * 8 bytes


@dataclass(frozen=True)
class Difference:
    """One measure of two files, in percent, and the interval of ``second - first``, in percentage points.

    NaN without instances.
    """

    first: float
    second: float
    low: float
    high: float
    images: int  # that have an instance of the measure

    @property
    def difference(self) -> float:
        """Percentage points by which the second file is better."""
        return self.second - self.first

    @property
    def enough(self) -> bool:
        """Whether there are as many images with instances as an interval needs to decide anything."""
        return self.images >= MIN_IMAGES

    @property
    def decided(self) -> bool:
        """Whether there are enough images, and the interval excludes zero."""
        return self.enough and (self.low > 0 or self.high < 0)


def compare(
    first: ImageRecall,
    second: ImageRecall,
    *,
    generator: np.random.Generator,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
) -> dict[str, Difference]:
    """The difference in each of ``ImageRecall.measures``, with its bootstrap interval.

    Args:
        first, second: recall on the same images, in the same order, with the same instances.
        draws: how many times ``generator`` draws all images.

    Raises:
        ValueError: the two are not of the same images and instances, or there is no image.
    """
    if first.image_ids != second.image_ids or not np.array_equal(first.instances, second.instances):
        raise ValueError("the two files were evaluated on different annotations; evaluate both on the same")
    a, b = first.measures(), second.measures()
    low, high = bootstrap(
        lambda times_drawn: _percent(b.values(), times_drawn) - _percent(a.values(), times_drawn),
        len(first.image_ids),
        generator,
        draws,
        confidence,
    )
    images = {name: int(np.count_nonzero(measure.instances)) for name, measure in a.items()}
    return {
        name: Difference(a[name].percent(), b[name].percent(), float(low[index]), float(high[index]), images[name])
        for index, name in enumerate(a)
    }


def bootstrap(
    difference: Callable[[Int[np.ndarray, "d i"]], Float[np.ndarray, "d q"]],
    images: int,
    generator: np.random.Generator,
    draws: int,
    confidence: float,
) -> Float[np.ndarray, "2 q"]:
    """Both ends of the interval of each measure of ``difference``; NaN where no drawing has that measure.

    Args:
        difference: computes the measures of each drawing, given how often it contains each image.

    Raises:
        ValueError: there is no image.
    """
    if images == 0:
        raise ValueError("there is no image to compare on")
    sizes = [min(_DRAWS_AT_ONCE, draws - start) for start in range(0, draws, _DRAWS_AT_ONCE)]
    chances = np.full(images, 1 / images)
    found = np.concatenate([difference(generator.multinomial(images, chances, size)) for size in sizes])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.nanquantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)


def _percent(measures: Collection[PerImage], weights: np.ndarray) -> Float[np.ndarray, "draws q"]:
    """Each measure under each weighting of the images; NaN where the drawn images have no instance."""
    found = weights @ np.stack([measure.found for measure in measures], axis=1)
    instances = weights @ np.stack([measure.instances for measure in measures], axis=1)
    return 100 * np.divide(found, instances, out=np.full(found.shape, np.nan), where=instances > 0)
