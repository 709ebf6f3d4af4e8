from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import oracles
from inference.scenes import plain
from instancefcn.geometry.rle import Rle, decode, from_counts
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import (
    Proposer,
    Windows,
    best_windows,
    keep_best,
    ranked_masks,
    resized_sizes,
)
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.structures import Proposals, ScoreMaps


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_paste_equals_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m, height, width = 3, int(rng.integers(1, 12)), 17, 23
    logits = rng.normal(size=(n, m, m)).astype(np.float32)
    cell = rng.uniform(0.4, 4, (n, 2))
    corners = rng.uniform(-10, 15, (n, 2))
    hanging = corners < 0
    corners[hanging] = (np.rint(corners / cell) * cell)[hanging]  # score maps begin at the image's border
    windows = np.concatenate([corners, corners + m * cell], axis=1)
    masks = WindowMasks.of(np.ones(n), logits.ravel(), np.full(n, m), windows, 0.1)
    for rle, mask_logits, window in zip(paste(masks, 0.1, height, width), logits, windows, strict=True):
        expected = oracles.paste(torch.from_numpy(mask_logits), window.tolist(), 0.1, height, width).numpy()
        pasted = np.zeros((height, width), dtype=bool) if rle is None else decode(rle)
        assert rle is None or pasted.any()
        # A pixel on the very threshold may fall on either side in single precision.
        assert (pasted != expected).sum() <= 1


def flat_maps(objectness: torch.Tensor, quality: torch.Tensor | None = None) -> ScoreMaps:
    height, width = objectness.shape
    return ScoreMaps(
        torch.zeros(1, 4, height, width), objectness[None], quality[None] if quality is not None else None, 8, 5
    )


def test_windows_are_ranked_by_score_and_padding_has_none() -> None:
    objectness = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    objectness[:, 5:] = 100.0  # beyond the image
    windows = best_windows(flat_maps(objectness), (48, 40), (1.0, 1.0), plain(candidates=10))
    expected = objectness[:, :5].flatten().sigmoid().sort(descending=True).values[:10]
    assert torch.equal(windows.scores, expected)
    y, x = windows.positions_yx.unbind(1)
    assert torch.equal(objectness[y, x].sigmoid(), windows.scores)


def test_quality_changes_the_rank() -> None:
    objectness, quality = torch.tensor([[2.0, 1.0]]), torch.tensor([[-3.0, 3.0]])
    for power, first in ((0.0, 0), (1.0, 1)):
        windows = best_windows(flat_maps(objectness, quality), (8, 16), (1.0, 1.0), plain(quality_power=power))
        assert windows.positions_yx[0].tolist() == [0, first]


def test_stability_acts_by_its_power() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = ScoreMaps(torch.randn(1, 4, 8, 8, generator=generator), torch.zeros(1, 8, 8), None, 8, 5)
    unweighted, *powers = (
        ranked_masks([best_windows(maps, (64, 64), (1.0, 1.0), config)], config)
        for config in (plain(stability_power=power) for power in (0.0, 1.0, 2.0))
    )
    assert 0 <= unweighted.stability.min() < unweighted.stability.max() < 1
    for power, masks in enumerate(powers, start=1):
        np.testing.assert_allclose(masks.scores, unweighted.scores * unweighted.stability**power)


def test_many_masks_are_pasted_in_order() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 6, 6)).astype(np.float32)
    logits[::7] = -1  # empty ones between the others
    corners = rng.integers(0, 20, (40, 2)).astype(float)
    windows = np.concatenate([corners, corners + 12], axis=1)
    masks = WindowMasks.of(np.ones(40), logits.ravel(), np.full(40, 6), windows, 0.1)
    together = paste(masks, 0.1, 31, 37)
    assert together == [rle for index in range(40) for rle in paste(masks[[index]], 0.1, 31, 37)]
    assert [rle is None for rle in together] == [index % 7 == 0 for index in range(40)]
    assert paste(masks[:0], 0.1, 31, 37) == []


def test_a_mask_of_the_whole_image_is_two_runs() -> None:
    one = WindowMasks.of(
        np.ones(1), np.ones(1, dtype=np.float32), np.ones(1, dtype=int), np.array([[0.0, 0.0, 8.0, 6.0]]), 0.0
    )
    assert paste(one, 0.0, 6, 8) == [from_counts([0, 48], 6, 8)]


def test_the_best_of_all_scales_are_kept() -> None:
    maps = flat_maps(torch.zeros(1, 3))
    groups = [
        Windows(maps, (1.0, 1.0), torch.zeros(3, 2, dtype=torch.long), torch.tensor([0.9, 0.5, 0.1])),
        Windows(maps, (1.0, 1.0), torch.zeros(2, 2, dtype=torch.long), torch.tensor([0.8, 0.2])),
    ]
    kept = keep_best(groups, 3)
    assert [score for group in kept for score in group.scores.tolist()] == pytest.approx([0.9, 0.5, 0.8])


def test_masks_lie_where_their_windows_say() -> None:
    # One window of 5 cells on stride 8, centred on row 4 and column 3; its middle cell is foreground.
    instance = torch.full((1, 1, 9, 9), -5.0)
    instance[0, 0, 4, 3] = 5.0
    maps = ScoreMaps(instance, torch.zeros(1, 9, 9), None, stride=8, m=5)
    windows = Windows(maps, (2.0, 2.0), torch.tensor([[4, 3], [0, 8]]), torch.tensor([0.9, 0.8]))
    masks = ranked_masks([windows], plain())
    assert masks.scores.tolist() == pytest.approx([0.9])  # the other is empty
    assert masks.window_boxes.tolist() == [[4, 8, 24, 28]]  # columns 1 to 5 and rows 2 to 6, times 8, over 2
    assert masks.tight_boxes.tolist() == [[12, 16, 16, 20]]


@pytest.fixture(scope="module")
def proposer() -> Proposer:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=16)).eval()
    for layer in network.mask_head.modules():
        if isinstance(layer, torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(layer.weight, std=1.0)  # masks with some shape
    return Proposer(network, plain(shorter_sides=(96.0,), candidates=50))


def photograph(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (40, 60), (200, 150)])
def test_proposals_are_in_the_images_frame(proposer: Proposer, height: int, width: int) -> None:
    proposals = proposer(photograph(height, width))
    assert isinstance(proposals, Proposals)
    assert len(proposals) > 0
    assert all(rle["size"] == [height, width] for rle in proposals.rles)
    assert (np.diff(proposals.scores) <= 0).all()
    assert ((proposals.scores >= 0) & (proposals.scores <= 1)).all()
    masks = proposals.masks()
    for mask, box in zip(masks, proposals.boxes_xyxy, strict=True):
        assert oracles.tight_box(torch.from_numpy(mask)) == box.tolist()


def test_max_proposals_and_min_score(proposer: Proposer) -> None:
    image = photograph(80, 100)
    everything = proposer(image, max_proposals=1000)
    assert len(proposer(image, max_proposals=3)) == 3
    threshold = float(everything.scores[5])
    assert len(proposer(image, max_proposals=1000, min_score=threshold)) == int((everything.scores >= threshold).sum())
    assert len(proposer(image, min_score=1.1)) == 0


def test_those_behind_take_the_places_of_masks_without_a_pixel(
    proposer: Proposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, places = photograph(80, 100), [0, 2, 3]  # in the order of proposing; and one among those that come after
    everything = proposer(image, max_proposals=20)
    asked: list[int] = []

    def paste_some(masks: WindowMasks, *frame: float) -> list[Rle | None]:
        first = sum(asked)
        asked.append(len(masks))
        return [None if place in (*places, 11) else rle for place, rle in enumerate(paste(masks, *frame), start=first)]

    monkeypatch.setattr("instancefcn.inference.proposer.paste", paste_some)
    proposals = proposer(image, max_proposals=10)
    assert asked == [10, 3, 1]
    left = [place for place in range(14) if place not in (*places, 11)]
    assert proposals.scores.tolist() == everything.scores[left].tolist()
    assert proposals.rles == [everything.rles[place] for place in left]


def test_half_precision_proposes_about_the_same(proposer: Proposer) -> None:
    image = photograph(90, 70)
    half = Proposer(proposer.network, proposer.config, precision="bf16")
    assert abs(half(image).scores[0] - proposer(image).scores[0]) < 0.02


def test_every_run_gives_the_same(proposer: Proposer) -> None:
    image = photograph(90, 70)
    first, second = proposer(image), proposer(Image.fromarray(image))
    assert first.rles == second.rles
    assert (first.scores == second.scores).all()


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
)
def test_an_array_that_is_no_rgb_image_is_refused(proposer: Proposer, image: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):
        proposer(image)


def test_sizes() -> None:
    config = plain(shorter_sides=(100.0, 400.0, 500.0), longest_side=600.0)
    assert resized_sizes(50, 100, config) == [(100, 200), (300, 600)]
    assert resized_sizes(1, 5000, config) == [(1, 600)]
