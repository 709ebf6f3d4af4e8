from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.classifier.config import NamingConfig
from instancefcn.classifier.voting import name_proposals
from instancefcn.geometry.rle import decode, encode, tight_boxes
from instancefcn.geometry.runs import Edges
from instancefcn.proposals import Proposals, Segments

HEIGHT, WIDTH = 24, 32


def propose(masks: np.ndarray) -> tuple[Proposals, Edges]:
    rles = [encode(mask) for mask in masks]
    found = Proposals(rles, tight_boxes(rles), np.linspace(1, 0.1, len(masks)), HEIGHT, WIDTH)
    return found, Edges.of(rles, HEIGHT, WIDTH)


def random_masks(rng: np.random.Generator, n: int) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    centers, radii = rng.normal((12, 16), 3, (n, 2)), rng.uniform(3, 9, (n, 2))
    distance = ((y - centers[:, 0, None, None]) / radii[:, 0, None, None]) ** 2
    return distance + ((x - centers[:, 1, None, None]) / radii[:, 1, None, None]) ** 2 <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_it_equals_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, 12)
    proposals, edges = propose(masks)
    scores = rng.random((12, 2)).astype(np.float32)
    segments = name_proposals(proposals, edges, scores, {5: "a", 90: "b"}, NamingConfig(), min_score=0.2)
    boxes = proposals.boxes_xyxy.tolist()
    expected = []
    for category, category_id in enumerate((5, 90)):
        of = scores[:, category].tolist()
        for index in oracles.non_maximum_suppression(boxes, of, 0.3):
            if of[index] < 0.2:
                continue
            voters = [i for i in range(12) if oracles.box_iou(boxes[index], boxes[i]) >= 0.5]
            average = sum(of[i] * masks[i].astype(float) for i in voters) / sum(of[i] for i in voters)
            expected.append((of[index], category_id, average >= 0.4))
    expected.sort(key=lambda segment: -segment[0])
    assert segments.category_ids.tolist() == [category_id for _, category_id, _ in expected]
    assert segments.scores.tolist() == pytest.approx([score for score, _, _ in expected])
    for rle, (_, _, mask) in zip(segments.rles, expected, strict=True):
        assert (decode(rle) != mask).sum() <= 1  # a pixel on the very threshold


def test_without_voting_masks_are_the_proposals() -> None:
    masks = random_masks(np.random.default_rng(0), 6)
    proposals, edges = propose(masks)
    scores = np.eye(6, 3, dtype=np.float32)
    segments = name_proposals(proposals, edges, scores, {1: "a", 2: "b", 3: "c"}, NamingConfig(vote_threshold=0.0))
    assert [rle["counts"] for rle in segments.rles] == [rle["counts"] for rle in proposals.rles[:3]]
    assert segments.category_ids.tolist() == [1, 2, 3]


def test_categories_do_not_suppress_each_other() -> None:
    mask = random_masks(np.random.default_rng(1), 1)
    proposals, edges = propose(np.concatenate([mask, mask]))
    scores = np.array([[0.6, 0.3], [0.5, 0.4]], dtype=np.float32)
    segments = name_proposals(proposals, edges, scores, {1: "a", 2: "b"}, NamingConfig())
    assert segments.scores.tolist() == pytest.approx([0.6, 0.4])
    assert segments.category_ids.tolist() == [1, 2]


def test_the_best_come_first_and_no_more_than_asked_for() -> None:
    left, right = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    left[:, :8], right[:, 20:] = True, True
    proposals, edges = propose(np.stack([left, right]))
    scores = np.array([[0.3], [0.9]], dtype=np.float32)
    both = name_proposals(proposals, edges, scores, {4: "d"}, NamingConfig())
    assert both.scores.tolist() == pytest.approx([0.9, 0.3])
    assert both.boxes_xyxy[0].tolist() == [20, 0, 32, HEIGHT]
    best = name_proposals(proposals, edges, scores, {4: "d"}, NamingConfig(), max_segments=1)
    assert [rle["counts"] for rle in best.rles] == [both.rles[0]["counts"]]
    assert len(both.at_least(0.5)) == 1
    assert both.at_least(0.5).category_ids.tolist() == [4]


def test_no_proposals_are_no_segments() -> None:
    proposals, edges = propose(np.zeros((0, HEIGHT, WIDTH), dtype=bool))
    segments = name_proposals(
        proposals, edges, np.zeros((0, 3), dtype=np.float32), {1: "a", 2: "b", 3: "c"}, NamingConfig()
    )
    assert isinstance(segments, Segments)
    assert len(segments) == len(segments.category_ids) == 0
    assert torch.from_numpy(segments.boxes_xyxy).shape == (0, 4)
