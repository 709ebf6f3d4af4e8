"""Whether a claim of the paper holds here, from the interval of a difference and the differences of single seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.matching import MAX_PROPOSALS
from reproduce.image_precision import ImagePrecision, compare_precision
from reproduce.methods import Claim
from reproduce.recall import pool

Verdict = Literal["held", "not held", "not decidable"]
# As Hosang's public code measures, one to one: the paper's tables are taken to have this measure.
MEASURES = tuple(f"hosang/AR_hosang@{n}" for n in MAX_PROPOSALS)


@dataclass(frozen=True)
class Finding:
    """How much more a claim's first row finds than its second, by one measure, in points, with its interval."""

    claim: str
    test: str
    measure: str
    difference: Difference  # of means over seeds; its ``second`` is the claim's first row
    of_seeds: tuple[float, ...]
    verdict: Verdict


def judge_recall(claim: Claim, first: Sequence[ImageRecall], second: Sequence[ImageRecall], test: str) -> list[Finding]:
    """Judge a claim about two rows by Hosang's AR, one to one, at each number of proposals.

    Args:
        first, second: recalls of each row on the same images, seed by seed. One recall is compared with every seed of
            the other; of two rows with several, the seeds that both have are compared.
    """
    first, second = _as_many(first, second)
    pooled = _compare(pool(second), pool(first))
    each = [_compare(theirs, ours) for ours, theirs in zip(first, second, strict=True)]
    findings = []
    for measure in MEASURES:
        of_seeds = tuple(differences[measure].difference for differences in each)
        verdict = decide(pooled[measure], of_seeds, claim.margin)
        findings.append(Finding(claim.text, test, measure, pooled[measure], of_seeds, verdict))
    return findings


def judge_precision(
    claim: Claim, first: Sequence[ImagePrecision], second: Sequence[ImagePrecision], test: str
) -> list[Finding]:
    """Judge a claim about two rows by mAP^r at each threshold, in both variants.

    Args:
        first, second: precision of each row on the same images, seed by seed.
    """
    pooled = compare_precision(second, first, generator=np.random.default_rng(0))
    each = [(ours.percent() - theirs.percent())[0] for ours, theirs in zip(first, second, strict=True)]
    findings = []
    for index, (measure, difference) in enumerate(pooled.items()):
        of_seeds = tuple(float(differences[index]) for differences in each)
        verdict = decide(difference, of_seeds, claim.margin)
        findings.append(Finding(claim.text, test, measure, difference, of_seeds, verdict))
    return findings


def judge_change(claim: str, gaps: Sequence[tuple[ImageRecall, ImageRecall]], test: str) -> list[Finding]:
    """Judge whether the gap between two methods is larger in one case than in another.

    Args:
        gaps: (better, worse) where the gap should be larger, then where it should be smaller; pooled over seeds.
    """
    (wide_better, wide_worse), (narrow_better, narrow_worse) = gaps
    # The difference of the gaps is twice one of means: (wb - ww) - (nb - nw) = 2 (mean(wb, nw) - mean(ww, nb)).
    halves = _compare(pool([wide_worse, narrow_better]), pool([wide_better, narrow_worse]))
    findings = []
    for measure in MEASURES:
        half = halves[measure]
        doubled = Difference(2 * half.first, 2 * half.second, 2 * half.low, 2 * half.high, half.images)
        verdict = decide(doubled, (doubled.difference,), 0.0)
        findings.append(Finding(claim, test, measure, doubled, (), verdict))
    return findings


def decide(difference: Difference, of_seeds: Sequence[float], margin: float) -> Verdict:
    """The verdict on a difference.

    Without a margin, the claim holds if the interval lies above zero, and fails if it lies below. With a margin, it
    holds if the interval and every seed lie within the margin, and fails if the interval lies beyond. The interval
    shows how much depends on the images, not on the seed, so seeds that contradict each other decide nothing. Neither
    do a few images (``evaluation.compare.MIN_IMAGES``).
    """
    if not difference.enough:
        return "not decidable"
    low, high = difference.low, difference.high
    if margin:
        within = -margin < low and high < margin
        held, refuted = within and all(abs(own) <= margin for own in of_seeds), low > margin or high < -margin
    else:
        held, refuted = low > 0, high < 0
        if min(of_seeds) < 0 < max(of_seeds):
            return "not decidable"
    return "held" if held else "not held" if refuted else "not decidable"


def _as_many(
    first: Sequence[ImageRecall], second: Sequence[ImageRecall]
) -> tuple[Sequence[ImageRecall], Sequence[ImageRecall]]:
    if 1 in (len(first), len(second)):
        seeds = max(len(first), len(second))
        return [*first] * (seeds // len(first)), [*second] * (seeds // len(second))
    seeds = min(len(first), len(second))
    return first[:seeds], second[:seeds]


def _compare(first: ImageRecall, second: ImageRecall) -> dict[str, Difference]:
    return compare(first, second, generator=np.random.default_rng(0))
