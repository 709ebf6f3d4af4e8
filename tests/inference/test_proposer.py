from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import oracles
from inference.scenes import plain
from instancefcn.data.resizing import network_input
from instancefcn.geometry.rle import Rle, decode, from_counts
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import (
    Proposer,
    Windows,
    as_tensor,
    best_windows,
    keep_best,
    ranked_masks,
)
from instancefcn.inference.tiles import Tile
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.structures import ScoreMaps
from pictures import photograph

ANYWHERE, ROW = Tile.whole((72, 72)), Tile.whole((8, 16))


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
    for rle, mask_logits, window in zip(paste(masks, height, width), logits, windows, strict=True):
        expected = oracles.paste(torch.from_numpy(mask_logits), window.tolist(), 0.1, height, width).numpy()
        pasted = np.zeros((height, width), dtype=bool) if rle is None else decode(rle)
        assert rle is None or pasted.any()
        # A pixel on the very threshold may fall on either side in single precision.
        assert (pasted != expected).sum() <= 1


@pytest.mark.parametrize("turned", [0, 1, 2, 3])
def test_an_object_reaches_each_border_of_the_image_alike(turned: int) -> None:
    cells = np.full((8, 8), -20.0, dtype=np.float32)  # the two outer rows lie beyond an image of 48 pixels
    cells[3:6, 3:6] = 5.0
    corners = {0: (0, 0), 1: (0, -16), 2: (-16, -16), 3: (-16, 0)}[turned]  # x, y
    windows = np.array([[*corners, corners[0] + 64.0, corners[1] + 64.0]])
    logits = np.rot90(cells, turned)
    masks = WindowMasks.of(np.ones(1), np.ascontiguousarray(logits).ravel(), np.array([8]), windows, 0.0)
    (rle,) = paste(masks, 48, 48)
    assert rle is not None
    mask = np.rot90(decode(rle), -turned)
    assert mask[-1, -1]
    assert mask[-1].sum() == mask[:, -1].sum() == mask[-2].sum() == 22


def flat_maps(objectness: torch.Tensor, quality: torch.Tensor | None = None) -> ScoreMaps:
    height, width = objectness.shape
    return ScoreMaps(
        torch.zeros(1, 4, height, width), objectness[None], quality[None] if quality is not None else None, 8, 5
    )


def test_windows_are_ranked_by_score_and_padding_has_none() -> None:
    objectness = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    objectness[:, 5:] = 100.0  # beyond the image
    windows = best_windows(flat_maps(objectness), Tile.whole((48, 40)), (1.0, 1.0), plain(candidates=10))
    expected = objectness[:, :5].flatten().sigmoid().sort(descending=True).values[:10]
    assert torch.equal(windows.scores, expected)
    y, x = windows.positions_yx.unbind(1)
    assert torch.equal(objectness[y, x].sigmoid(), windows.scores)


def test_quality_changes_the_rank() -> None:
    objectness, quality = torch.tensor([[2.0, 1.0]]), torch.tensor([[-3.0, 3.0]])
    for power, first in ((0.0, 0), (1.0, 1)):
        windows = best_windows(
            flat_maps(objectness, quality), Tile.whole((8, 16)), (1.0, 1.0), plain(quality_power=power)
        )
        assert windows.positions_yx[0].tolist() == [0, first]


def test_quality_acts_by_its_power() -> None:
    objectness, quality = torch.tensor([[0.5, 1.5]]), torch.tensor([[1.0, -0.5]])
    for power in (0.5, 1.0, 2.0):
        windows = best_windows(
            flat_maps(objectness, quality), Tile.whole((8, 16)), (1.0, 1.0), plain(quality_power=power)
        )
        expected = (objectness.sigmoid() * quality.sigmoid() ** power)[0].sort(descending=True).values
        torch.testing.assert_close(windows.scores, expected)


@pytest.mark.usefixtures("unchecked")
def test_a_precision_that_is_none_is_refused(proposer: Proposer) -> None:
    for name in ("bfloat16", "fp16", None):
        with pytest.raises(ValueError, match=f"precision is {name!r}; it must be one of 'auto', 'fp32', 'bf16'"):
            Proposer(proposer.network, proposer.config, precision=name)  # pyright: ignore[reportArgumentType]


def test_an_image_that_memory_is_too_small_for(proposer: Proposer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error that commands take for this image's alone, and not for the run's."""
    monkeypatch.setattr(proposer.network, "forward", lambda _: torch.empty(1 << 60))
    with pytest.raises(MemoryError, match="not enough memory for this image"):
        proposer(np.zeros((64, 64, 3), dtype=np.uint8))


def test_stability_acts_by_its_power() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = ScoreMaps(torch.randn(1, 4, 8, 8, generator=generator), torch.zeros(1, 8, 8), None, 8, 5)
    unweighted, *powers = (
        ranked_masks([best_windows(maps, Tile.whole((64, 64)), (1.0, 1.0), config)], config)[0]
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
    together = paste(masks, 31, 37)
    assert together == [rle for index in range(40) for rle in paste(masks[[index]], 31, 37)]
    assert [rle is None for rle in together] == [index % 7 == 0 for index in range(40)]
    assert paste(masks[:0], 31, 37) == []


def test_a_mask_of_the_whole_image_is_two_runs() -> None:
    one = WindowMasks.of(
        np.ones(1), np.ones(1, dtype=np.float32), np.ones(1, dtype=int), np.array([[0.0, 0.0, 8.0, 6.0]]), 0.0
    )
    assert paste(one, 6, 8) == [from_counts([0, 48], 6, 8)]


def test_the_best_of_all_scales_are_kept() -> None:
    maps = flat_maps(torch.zeros(1, 3))
    groups = [
        Windows(maps, (1.0, 1.0), torch.zeros(3, 2, dtype=torch.long), torch.tensor([0.9, 0.5, 0.1]), ANYWHERE),
        Windows(maps, (1.0, 1.0), torch.zeros(2, 2, dtype=torch.long), torch.tensor([0.8, 0.2]), ANYWHERE),
    ]
    kept = keep_best(groups, 3)
    assert [score for group in kept for score in group.scores.tolist()] == pytest.approx([0.9, 0.5, 0.8])


def test_masks_lie_where_their_windows_say() -> None:
    # One window of 5 cells on stride 8, centred on row 4 and column 3; its middle cell is foreground.
    instance = torch.full((1, 1, 9, 9), -5.0)
    instance[0, 0, 4, 3] = 5.0
    maps = ScoreMaps(instance, torch.zeros(1, 9, 9), None, stride=8, m=5)
    windows = Windows(maps, (2.0, 2.0), torch.tensor([[4, 3], [0, 8]]), torch.tensor([0.9, 0.8]), ANYWHERE)
    masks, chosen = ranked_masks([windows], plain())
    assert chosen.tolist() == [True, False]  # the other is empty
    assert masks.scores.tolist() == pytest.approx([0.9])
    assert masks.window_boxes.tolist() == [[4, 8, 24, 28]]  # columns 1 to 5 and rows 2 to 6, times 8, over 2
    assert masks.tight_boxes.tolist() == [[12, 16, 16, 20]]


@pytest.fixture(scope="module")
def proposer() -> Proposer:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=16)).eval()
    for layer in (*network.mask_head.predict, *network.mask_head.predict_finest):
        torch.nn.init.normal_(layer.weight, std=1.0)  # masks with some shape
    for layer in (network.score_head.predict, network.score_head.predict_finest):
        torch.nn.init.normal_(layer.weight, std=0.3)  # and scores that differ
    return Proposer(network, plain(shorter_sides=(96.0,), candidates=50), device="cpu")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (40, 60), (130, 100)])
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


def test_objects_are_those_among_all_candidates(proposer: Proposer) -> None:
    image = photograph(60, 80)
    candidates = proposer(image, max_proposals=10_000)
    middle = float(np.median(candidates.scores))
    ruled = Proposer(
        proposer.network,
        proposer.config,
        device="cpu",
        rule=ObjectRule(middle, scores=(0.0, 1.0), chances=(0.0, 0.5)),
    )
    expected = replace(candidates, rule=ruled.rule).objects()
    assert 1 < len(expected) < len(candidates)
    assert ruled.objects(image) == expected
    assert ruled.objects(image, middle / 4) == replace(candidates, rule=ruled.rule).objects(middle / 4)
    assert proposer.objects(image, middle, exclusive=True) == candidates.objects(middle, exclusive=True)
    with pytest.raises(ValueError, match=r"give objects\(threshold"):
        proposer.objects(image)


def test_those_behind_take_the_places_of_masks_without_a_pixel(
    proposer: Proposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, places = photograph(80, 100), (0, 2, 3, 11)  # in the order of proposing; 11 is among those that come after
    everything = proposer(image, max_proposals=20)
    seen = iter(range(100))

    def paste_some(masks: WindowMasks, height: int, width: int) -> list[Rle | None]:
        return [None if next(seen) in places else rle for rle in paste(masks, height, width)]

    monkeypatch.setattr("instancefcn.inference.proposer.paste", paste_some)
    left = [place for place in range(14) if place not in places]
    assert proposer(image, max_proposals=10) == everything[left]


def test_half_precision_proposes_about_the_same(proposer: Proposer) -> None:
    image = photograph(90, 70)
    half = Proposer(proposer.network, proposer.config, device="cpu", precision="bf16")
    assert 0 < abs(half(image).scores[0] - proposer(image).scores[0]) < 0.02


def test_every_run_gives_the_same(proposer: Proposer) -> None:
    image = photograph(90, 70)
    first, second = proposer(image), proposer(Image.fromarray(image))
    assert first.rles == second.rles
    assert (first.scores == second.scores).all()


@pytest.mark.parametrize(
    "image", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4,)), np.array("a.jpg")]
)
def test_an_array_that_is_no_image_is_refused(proposer: Proposer, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image must be an array of numbers"):
        proposer(image)


def test_a_path_is_read(proposer: Proposer, tmp_path: Path) -> None:
    image = photograph(60, 80)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert proposer(tmp_path / "a.png") == proposer(str(tmp_path / "a.png")) == proposer(image)
    with pytest.raises(ValueError, match=r"b\.png: no such file"):
        proposer(tmp_path / "b.png")


def test_a_list_of_images_gives_a_list(proposer: Proposer) -> None:
    images = [photograph(60, 80), photograph(40, 50)]
    assert proposer(images, max_proposals=7) == [proposer(image, max_proposals=7) for image in images]
    assert proposer([]) == []
    assert proposer.objects(images, 0.1) == [proposer.objects(image, 0.1) for image in images]
    assert proposer.objects(images, 0.1, exclusive=True) == [
        proposer.objects(image, 0.1, exclusive=True) for image in images
    ]


@pytest.mark.parametrize("options", [{"max_proposals": -1}, {"min_score": float("nan")}])
def test_options_out_of_range_are_refused(proposer: Proposer, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        proposer(photograph(40, 50), **options)


def test_a_network_in_training_proposes_as_in_evaluation(proposer: Proposer) -> None:
    """Else batch norms that learn their statistics would go by those of the one image."""
    assert not Proposer(proposer.network.train(), proposer.config).network.training


def test_a_pickled_proposer_proposes_the_same(proposer: Proposer) -> None:
    image = photograph(60, 80)
    again = pickle.loads(pickle.dumps(Proposer(proposer.network, proposer.config, device="cpu", precision="bf16")))
    assert (again.config, again.device, again.precision) == (proposer.config, torch.device("cpu"), "bf16")
    assert pickle.loads(pickle.dumps(proposer))(image) == proposer(image)


def test_several_threads_may_call_it(proposer: Proposer) -> None:
    images = [np.roll(photograph(70, 90), 10 * index, axis=1) for index in range(12)]
    alone = [proposer(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(proposer, images)) == alone


def test_padding_has_the_value_that_training_pads_with() -> None:
    pixels = torch.full((3, 40, 50), 9, dtype=torch.uint8)
    batch = network_input(pixels, (40, 50), 64, torch.device("cpu"))
    assert batch.shape == (1, 3, 64, 64)
    assert (batch[..., :40, :50] == 9).all()
    assert batch[..., 40:, :].unique().tolist() == batch[..., :, 50:].unique().tolist() == [127]


BASE = plain(shorter_sides=(96.0, 300.0), longest_side=256.0, candidates=30, nms_candidates=60)


@pytest.mark.parametrize(
    "keys",
    [
        {"shorter_sides": (64.0,)},
        {"image_scales": (0.7,)},
        {"overview": 40.0},
        {"longest_side": 70.0},
        {"tiles": True},
        {"candidates": 5},
        {"quality_power": 3.0},
        {"stability_power": 2.0},
        {"blend_tiles": True},
        {"mask_threshold": 0.6},
        {"nms_threshold": 0.3},
        {"soft_nms_threshold": 0.2},
        {"nms_candidates": 9},
        {"vote_threshold": 0.3},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_every_key_changes_what_is_proposed(proposer: Proposer, keys: dict[str, Any]) -> None:
    image = photograph(80, 100)
    base = Proposer(proposer.network, BASE, device="cpu")(image, max_proposals=1000)
    changed = Proposer(proposer.network, replace(BASE, **keys), device="cpu")(image, max_proposals=1000)
    assert changed != base


def test_every_key_is_among_them() -> None:
    (mark,) = (mark for mark in test_every_key_changes_what_is_proposed.pytestmark if mark.name == "parametrize")
    assert {next(iter(keys)) for keys in mark.args[1]} == {key.name for key in fields(InferenceConfig)}


def test_factors_of_the_image_as_it_is_take_the_place_of_shorter_sides(proposer: Proposer) -> None:
    config = plain(image_scales=(0.5, 2.0), shorter_sides=(96.0,))
    groups = Proposer(proposer.network, config, device="cpu").windows(as_tensor(photograph(50, 100)))
    assert [group.image_scale for group in groups[:: len(proposer.network.window_sizes)]] == [(0.5, 0.5), (2.0, 2.0)]


def test_the_overview_adds_large_windows_alone(proposer: Proposer) -> None:
    network, image = proposer.network, as_tensor(photograph(50, 100))

    def look(overview: float) -> list[tuple[tuple[float, float], int, int]]:
        config = plain(shorter_sides=(100.0,), overview=overview)
        groups = Proposer(network, config, device="cpu").windows(image)
        return [(group.image_scale, group.score_maps.stride, group.score_maps.m) for group in groups]

    usual = [((2.0, 2.0), stride, m) for stride, m, _ in network.window_sizes]
    large = [((1.0, 1.0), stride, m) for stride, m, _ in network.window_sizes if stride * m >= 45]  # 0.9 times 50
    assert 0 < len(large) < len(usual)
    assert look(0.0) == usual
    assert look(50.0) == usual + large
    assert look(100.0) == usual  # nothing is looked at twice
    assert look(5000.0) == usual  # no window is as large as that


def test_equal_scales_are_looked_at_once(proposer: Proposer) -> None:
    config = plain(shorter_sides=(50.0, 150.0, 200.0), longest_side=160.0)
    groups = Proposer(proposer.network, config, device="cpu").windows(as_tensor(photograph(50, 100)))
    assert [group.image_scale for group in groups[:: len(proposer.network.window_sizes)]] == [(1.0, 1.0), (1.6, 1.6)]
