from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling.next_images import (
    agreement,
    choose_next,
    farthest_first,
    flip_disagreement,
    mirror,
    pooled_features,
    uncertainty,
)
from instancefcn.model.build import build_network
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from tiny import TINY, scenes


def pixels(value: int) -> np.ndarray:
    return np.full((8, 16, 3), value, dtype=np.uint8)


class Fake(Proposer):
    """One object a pixel of value above 0 in the first row; its chance is the value, in percent."""

    def __init__(self) -> None:
        self.rule = ObjectRule(threshold=0.0)

    def objects(self, image: Any, threshold: float | None = None, *, exclusive: bool = False) -> Proposals:
        columns = np.flatnonzero(image[0, :, 0])
        masks = np.zeros((len(columns), *image.shape[:2]), dtype=bool)
        masks[np.arange(len(columns)), :, columns] = True
        scores = image[0, columns, 0] / 100
        kept = scores >= (threshold or 0)
        rles = [encode(mask) for mask in masks[kept]]
        return Proposals(rles, tight_boxes(rles), scores[kept].astype(float), *image.shape[:2])


def with_objects(**chances: int) -> np.ndarray:
    """An image with objects in columns ("c3"), of chances in percent."""
    image = pixels(0)
    for column, chance in chances.items():
        image[0, int(column[1:])] = chance
    return image


def reads(*images: np.ndarray) -> list[Any]:
    return [partial(lambda image: image, image) for image in images]


def test_uncertainty_is_the_sum_of_the_variances() -> None:
    proposer = Fake()
    assert uncertainty(proposer, with_objects(c1=50, c3=90)) == pytest.approx(0.25 + 0.09)
    assert uncertainty(proposer, with_objects(c1=100)) == 0
    assert uncertainty(proposer, pixels(0)) == 0


def test_a_flip_that_changes_nothing_agrees() -> None:
    proposer = Fake()
    assert flip_disagreement(proposer, with_objects(c1=50, c5=90)) == 0
    assert flip_disagreement(proposer, pixels(0)) == 0

    class OneSided(Fake):
        """Finds nothing in the right half."""

        def objects(self, image: Any, threshold: float | None = None, *, exclusive: bool = False) -> Proposals:
            seen = image.copy()
            seen[:, 8:] = 0
            return super().objects(seen, threshold)

    one_sided = OneSided()
    assert flip_disagreement(one_sided, with_objects(c1=50)) == 1
    assert flip_disagreement(one_sided, with_objects(c1=50, c14=50)) == 1


def test_agreement_by_hand_and_bounds() -> None:
    assert agreement(np.zeros((0, 0))) == 1
    assert agreement(np.zeros((0, 3))) == agreement(np.zeros((2, 2))) == 0
    assert agreement(np.eye(3)) == 1
    assert agreement(np.array([[0.5, 0.6], [0.0, 0.4]])) == pytest.approx(0.6 / 2)  # 0.6 first, which leaves 0
    assert agreement(np.array([[0.8], [0.9]])) == pytest.approx(0.9 / 1.5)


def test_the_mirror_of_a_mask() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 0:2] = True
    assert mirror(encode(mask)) == encode(mask[:, ::-1])


def test_the_most_doubtful_come_first() -> None:
    images = [with_objects(c1=99), with_objects(c1=50, c2=50), pixels(0), with_objects(c1=50)]
    chosen = choose_next("uncertain", reads(*images), 3, proposer=Fake())
    assert [choice.index for choice in chosen] == [1, 3, 0]
    assert [choice.value for choice in chosen] == pytest.approx([0.5, 0.25, 0.0099])


def test_random_is_seeded_and_reads_nothing() -> None:
    def unread() -> np.ndarray:
        raise AssertionError

    draws = [[choice.index for choice in choose_next("random", [unread] * 30, 10, seed=seed)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 10
    assert {choice.index for choice in choose_next("random", [unread] * 3, 10)} == {0, 1, 2}


def test_an_image_that_cannot_be_read_is_left_out_and_named() -> None:
    def broken() -> np.ndarray:
        raise ValueError("cut off")

    failed: dict[int, str] = {}
    pool = [*reads(with_objects(c1=50)), broken]
    proposer = Fake()
    chosen = choose_next(
        "uncertain", pool, 5, proposer=proposer, failed=lambda index, error: failed.update({index: str(error)})
    )
    assert [choice.index for choice in chosen] == [0]
    assert failed == {1: "cut off"}


def test_farthest_first_is_greedy_k_center() -> None:
    generator = np.random.default_rng(0)
    features, known = generator.normal(size=(12, 3)), generator.normal(size=(4, 3))
    chosen: list[int] = []
    for index, value in farthest_first(features, known, 5):  # slow twin: the definition
        centers = [*known, *features[chosen]]
        distances = [min(np.linalg.norm(point - center) for center in centers) for point in features]
        assert value == pytest.approx(max(distances)) == pytest.approx(distances[index])
        chosen.append(index)
    assert len(set(chosen)) == 5


def test_farthest_first_without_known_points_and_among_equals() -> None:
    features = np.array([[0.0], [1.0], [1.1], [5.0]])
    chosen = [index for index, _ in farthest_first(features, np.zeros((0,)), 4)]
    assert chosen[:2] == [2, 3]
    assert sorted(chosen) == [0, 1, 2, 3]
    assert sorted(index for index, _ in farthest_first(np.zeros((3, 2)), np.zeros((1, 2)), 5)) == [0, 1, 2]
    assert farthest_first(np.zeros((0, 2)), np.zeros((1, 2)), 5) == []


@pytest.fixture(scope="module")
def proposer() -> Proposer:
    torch.manual_seed(0)
    return Proposer(build_network(TINY.network).eval(), TINY.inference, device="cpu")


def test_features_tell_images_apart_whatever_their_padding(proposer: Proposer) -> None:
    first, second = (scenes(2)[index].image for index in range(2))
    features = [pooled_features(proposer, image) for image in (first, second, first.copy())]
    assert [float(np.linalg.norm(feature)) for feature in features] == pytest.approx([1, 1, 1])
    assert np.array_equal(features[0], features[2])
    assert not np.allclose(features[0], features[1], atol=1e-4)


def test_variety_shuns_what_is_labelled(proposer: Proposer) -> None:
    images = [scenes(3)[index].image for index in range(3)]
    for labelled, twin, other in permutations(range(3)):
        pool = reads(images[twin], images[labelled], images[other])
        chosen = choose_next("variety", pool, 3, proposer=proposer, labelled=reads(images[labelled]))
        assert chosen[-1].index == 1
        assert chosen[-1].value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("by", ["uncertain", "flip", "variety", "random"])
def test_nothing_is_chosen_where_nothing_is_left(by: Any, proposer: Proposer) -> None:
    labelled = reads(scenes(1)[0].image)
    assert choose_next(by, [], 3, proposer=proposer, labelled=labelled) == []


def test_a_real_network_can_be_asked_by_every_criterion(proposer: Proposer) -> None:
    proposer.rule = ObjectRule(threshold=0.1)
    pool = reads(*(scenes(3)[index].image for index in range(3)))
    for by in ("uncertain", "flip", "variety", "random"):
        assert {choice.index for choice in choose_next(by, pool, 3, proposer=proposer)} == {0, 1, 2}
