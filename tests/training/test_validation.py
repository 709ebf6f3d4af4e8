"""F1 of objects, which the best checkpoint is chosen by: against a slow loop, and where AR sees no difference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import oracles
from instancefcn.data.source import Labels
from instancefcn.geometry.rle import decode, encode, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import ANY_NUMBER, INSIDE
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances
from instancefcn.training.history import AR, F1, History
from instancefcn.training.validation import (
    MatchedObjects,
    deciding_instances,
    deciding_measure,
    mean_over_sources,
    object_f1,
    validate,
)
from synthetic import SyntheticScenes
from tiny import scenes

SIZE = 24


def pixels(mask: np.ndarray) -> set:
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))


def random_masks(generator: np.random.Generator, count: int) -> list[np.ndarray]:
    masks = np.zeros((count, SIZE, SIZE), dtype=bool)
    for mask, (left, top) in zip(masks, generator.integers(0, SIZE - 6, (count, 2)), strict=True):
        width, height = generator.integers(4, 10, 2)
        mask[top : top + height, left : left + width] = True
    return list(masks)


def shifted(masks: list[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
    return [np.roll(mask, generator.integers(-1, 2, 2), (0, 1)) for mask in masks]


def labelled(masks: list[np.ndarray], crowds: list[np.ndarray]) -> Instances:
    rles, count = [encode(mask) for mask in [*masks, *crowds]], len(masks) + len(crowds)
    boxes = tight_boxes(rles) if rles else np.zeros((0, 4))
    none, ids = np.zeros(count, dtype=bool), np.arange(count)
    return Instances(ids, rles, boxes, np.ones(count, dtype=int), ids >= len(masks), none)


def proposed(masks: list[np.ndarray], scores: list[float]) -> Proposals:
    rles = [encode(mask) for mask in masks]
    return Proposals(rles, tight_boxes(rles), np.array(scores), SIZE, SIZE)


def slow_f1(images: list[tuple[list[np.ndarray], list[float], list[np.ndarray], list[np.ndarray]]]) -> float:
    """In percent: by each rule, at each IoU and each threshold on the score, counted from the start."""
    every_score = {score for _, scores, _, _ in images for score in scores}
    by_rule = []
    for max_iou, (max_filled, max_inside) in product((0.3, 0.4, 0.5), ((0.2, 8), (0.35, 8), (0.35, ANY_NUMBER))):
        objects = []
        for masks, scores, wanted, crowds in images:
            kept = oracles.objects_among(np.array(masks), max_iou, max_filled, max_inside, INSIDE)
            found = [(scores[index], pixels(masks[index])) for index in kept]
            objects.append((found, list(map(pixels, wanted)), list(map(pixels, crowds))))
        by_iou = []
        for iou in np.linspace(0.5, 0.95, 10):
            counts = [oracles.count_objects(objects, score, iou) for score in every_score]
            by_iou.append(max(2 * n["right"] / (2 * n["right"] + n["wrong"] + n["missed"]) for n in counts))
        by_rule.append(sum(by_iou) / len(by_iou))
    return 100 * max(by_rule)


@pytest.mark.parametrize("seed", range(4))
def test_f1_is_that_of_the_slow_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(3):
        instances = random_masks(generator, 4)
        masks = [*shifted(instances, generator), *random_masks(generator, 3)]
        order = generator.permutation(len(masks))
        scores = sorted(generator.choice(np.arange(1, 9) / 10, len(masks)).tolist(), reverse=True)
        images.append(([masks[i] for i in order], scores, instances[:3], instances[3:]))
    fast = object_f1(
        [MatchedObjects.of(proposed(masks, scores), labelled(wanted, of)) for masks, scores, wanted, of in images]
    )
    assert 20 < fast < 100
    assert fast == pytest.approx(slow_f1(images))


def test_without_an_instance_it_is_not_defined() -> None:
    mask = random_masks(np.random.default_rng(0), 1)
    assert math.isnan(object_f1([MatchedObjects.of(proposed(mask, [0.5]), labelled([], []))]))
    assert math.isnan(object_f1([]))


@dataclass(frozen=True)
class Stub(Proposer):
    """Proposes every instance of a scene, and one wrong mask with this score."""

    wrong: float

    def __call__(self, image: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        sample = next(sample for sample in scenes() if np.array_equal(sample.image, image))
        height, width = image.shape[:2]
        free = ~np.any([decode(rle) for rle in sample.instances.rles], axis=0)
        rles = [*sample.instances.rles, encode(free)]
        found = sorted(zip([0.5] * (len(rles) - 1) + [self.wrong], range(len(rles)), strict=True), reverse=True)
        chosen = [rles[index] for _, index in found]
        return Proposals(chosen, tight_boxes(chosen), np.array([score for score, _ in found]), height, width)


def test_f1_sees_wrong_candidates_before_right_ones_where_ar_does_not() -> None:
    good, bad = validate(Stub(0.1), [scenes()]), validate(Stub(0.9), [scenes()])
    name = scenes().name
    assert good[name][AR] == bad[name][AR] == 100
    assert good[name][F1] == 100
    assert 50 < bad[name][F1] < 90
    assert validate(Stub(0.001), [scenes()])[name][F1] == 100
    assert deciding_measure(good) == F1


def test_where_objects_may_be_unlabelled_recall_decides() -> None:
    source = scenes()
    source.partial = True
    figures = validate(Stub(0.9), [source])
    assert F1 not in figures[source.name]
    assert deciding_measure(figures) == AR


class Faint(Stub):
    """Proposes every instance of a scene, by a score that nothing is taken for an object by."""

    def __call__(self, image: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        found = super().__call__(image)
        return replace(found, scores=found.scores * 0.003)


def test_what_scores_too_little_for_an_object_is_none_in_f1_either() -> None:
    figures = validate(Faint(0.9), [scenes()])[scenes().name]
    assert (figures[AR], figures[F1]) == (100, 0)


class AllButTheFirst(Stub):
    """Proposes every instance of a scene but the first."""

    def __call__(self, image: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        return super().__call__(image)[:-1]


class FirstNotJudged(SyntheticScenes):
    """Scenes whose first instance is marked as not to be judged."""

    def labels(self, index: int) -> Labels:
        labels = super().labels(index)
        ignore = np.arange(len(labels.instances)) == 0
        return replace(labels, instances=replace(labels.instances, ignore=ignore))


def test_what_is_not_to_be_judged_is_no_miss() -> None:
    source = FirstNotJudged(4, height=64, width=80)
    assert validate(AllButTheFirst(0.9), [scenes()])[source.name][AR] < 90
    assert validate(AllButTheFirst(0.9), [source])[source.name][AR] == 100


def test_a_measure_is_averaged_over_the_sources_that_have_it() -> None:
    figures = {"a": {AR: 10.0, F1: 40.0}, "b": {AR: 20.0}, "c": {AR: math.nan, F1: math.nan}, "d": {AR: 60.0, F1: 80.0}}
    assert mean_over_sources(figures, AR) == 30
    assert mean_over_sources(figures, F1) == 60
    assert mean_over_sources({"c": figures["c"]}, F1) == -1
    assert deciding_measure({"b": figures["b"], "c": figures["c"]}) == AR


class FirstPartial(SyntheticScenes):
    """Scenes of which the first may have unlabelled objects."""

    def labels(self, index: int) -> Labels:
        return replace(super().labels(index), partial=index == 0)


def test_sources_count_as_their_errors_do() -> None:
    """The mean of two shares, of 4 and of 12 instances, errs as one of 2 squared / (1/4 + 1/12) = 12 does."""
    few, many = scenes(1, seed=1), FirstPartial(4, height=64, width=80, seed=2)
    counts = [[len(source.labels(index).instances) for index in range(len(source))] for source in (few, many)]
    figures = {few.name: {AR: 1.0, F1: 1.0}, many.name: {AR: 1.0, F1: 1.0}}
    assert deciding_instances([few], figures, F1) == counts[0][0]
    assert deciding_instances([many], figures, AR) == sum(counts[1])
    assert deciding_instances([many], figures, F1) == sum(counts[1][1:])  # F1 does not look at the first
    both = 4 / (1 / counts[0][0] + 1 / sum(counts[1][1:]))
    assert deciding_instances([few, many], figures, F1) == round(both) < sum(counts[1][1:])
    assert deciding_instances([few, many], {few.name: {AR: 1.0}, many.name: {AR: math.nan}}, AR) == counts[0][0]
    assert deciding_instances([few], {}, F1) == 0


def test_older_states_go_on_with_recall() -> None:
    assert History.from_table({"start": 5.0, "scores": [6.0]}).measure == AR
    with pytest.raises(ValueError, match="other types"):
        History.from_table({"measure": "accuracy"})
