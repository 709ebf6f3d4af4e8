"""Local coherence: what windows share, which windows are looked at, and networks whose agreement is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.scenes import plain
from instancefcn.files import read_json
from instancefcn.geometry.windows import window_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.model.network import Network
from reproduce import coherence
from reproduce.coherence import SHIFTS, measure_coherence, shared, suited_windows
from reproduce.experiments import make_row, reproduce
from reproduce.networks import ExperimentNetwork, build_network
from reproduce.runner import Runner
from reproduce.settings import Settings
from reproduce.tests.conftest import SMALL
from synthetic import SyntheticScenes

pytestmark = pytest.mark.usefixtures("one_thread")


def of(network: Network, **keys: Any) -> Proposer:
    return Proposer(network.eval(), plain(**keys))


def small(**keys: Any) -> Network:
    torch.manual_seed(0)
    config: dict[str, Any] = {"kind": "single", "backbone": "test_efficientnet", "channels": 8, "window_sizes": (7,)}
    return build_network(ExperimentNetwork(**(config | {"finest_window_sizes": ()} | keys)))


@pytest.mark.parametrize(("down", "right"), [(0, 2), (0, -2), (3, 0), (-3, 0)])
def test_windows_of_one_picture_agree_where_they_overlap(down: int, right: int) -> None:
    picture = np.random.default_rng(0).random((20, 20)) < 0.5
    here, there = picture[None, 5:12, 5:12], picture[None, 5 + down : 12 + down, 5 + right : 12 + right]
    first, second = shared(here, there, down, right)
    assert first.shape == (1, 7 - abs(down), 7 - abs(right))
    np.testing.assert_array_equal(first, second)


def test_with_one_map_every_pixel_is_copied() -> None:
    """For k = 1 a pixel has one score, whatever the window."""
    scenes = SyntheticScenes(2, height=96, width=128)
    whole = measure_coherence(of(small(k=1), shorter_sides=(96.0, 192.0)), scenes)
    assert whole.pixels == dict.fromkeys(SHIFTS, 100)
    assert whole.objects == sum(len(scenes.labels(index).instances) for index in range(2))
    parts = measure_coherence(of(small(k=5), shorter_sides=(96.0,)), scenes)
    assert 50 < parts.pixels[4] <= parts.pixels[1] < 100
    assert parts.foreground[1] < 100


def test_an_object_is_looked_at_where_it_is_and_at_its_size() -> None:
    network, image = small(k=3), np.zeros((100, 200, 3), dtype=np.uint8)
    proposer = of(network, shorter_sides=(100.0, 200.0))
    side = network.window_sizes[0].stride * network.window_sizes[0].m
    large, little = (coherence.OBJECT_TO_WINDOW * side / scale for scale in (1, 2))
    centers = [(60.0, 50.0), (140.0, 40.0)]
    boxes = np.array(
        [[x - n / 2, y - n / 2, x + n / 2, y + n / 2] for (x, y), n in zip(centers, (large, little), strict=True)]
    )
    found = list(suited_windows(proposer, image, boxes))
    assert [len(positions) for _, positions in found] == [1, 1]
    for (maps, positions), (x, y), scale in zip(found, centers, (1, 2), strict=True):
        box = window_boxes(positions, maps.stride, maps.m)[0] / scale
        middle = (box[:2] + box[2:]) / 2
        assert abs(middle - torch.tensor([x, y])).max() <= maps.stride / 2 / scale


def test_a_row_of_table_2_keeps_its_coherence_and_the_page_reads_it(mini_tree: Path, tmp_path: Path) -> None:
    asked = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True, changes=SMALL)
    make_row("table2", "ours-k5", Runner(asked))
    folder = asked.folder / "runs" / "ours-k5-seed0"
    kept = read_json(folder / coherence.FILE)
    assert set(kept["pixels"]) == {str(shift) for shift in SHIFTS}
    (folder / "best.safetensors").unlink()
    page = reproduce("coherence", Runner(replace(asked, finished=True)))
    assert f"| ours, full images | {kept['objects']} | {kept['pixels']['1']:.1f} |" in page.read_text()
    assert "~DeepMask" not in page.read_text()
    assert not (folder / "best.safetensors").exists()
