"""``benchmarks/peers.py``: what every peer is given alike, and torchvision's Mask R-CNN as a proposer."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.functional import to_tensor

import oracles
from apps.conftest import FakeProposer
from benchmarks import peers
from benchmarks.mask_rcnn import MaskRcnnProposer, training_view
from benchmarks.peers import (
    MASK_RCNN,
    OURS,
    PEERS,
    Settings,
    Trained,
    command,
    labelled_images,
    measure,
    page,
    run,
    train_ours,
)
from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.geometry.rle import areas, decode
from instancefcn.objects import ANY_NUMBER, INSIDE, ObjectRule
from tiny import TINY, scenes


@pytest.mark.usefixtures("one_thread")
def test_ours_trains_as_the_command_does_and_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "load_recipe", lambda name: {"lite": TINY}[name])
    source = Selection([(scenes(), index) for index in range(4)], "labelled")
    trained = train_ours(Settings(OURS, "corn", minutes=0.02, init="random"), source, report=str)
    assert trained.iterations > 0
    found = measure(trained, source)  # without a rule, of which four images are too few
    assert set(found) == {"AR@10", "AR@100", "F1@0.5", "F1@0.75", "accepted", "seconds_an_image"}
    assert found["F1@0.5"] == 0


def test_a_view_has_boxes_tight_around_its_masks() -> None:
    sample = scenes()[0]
    as_it_is, seen = to_tensor(sample.image), set()
    for seed in range(6):
        image, target = training_view(sample, np.random.default_rng(seed))
        mirrored = not torch.equal(image, as_it_is)
        assert torch.equal(image, as_it_is.flip(2) if mirrored else as_it_is)
        masks = np.stack([decode(rle) for rle in sample.instances.rles])
        assert np.array_equal(target["masks"].numpy(), masks[..., ::-1] if mirrored else masks)
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        seen.add(mirrored)
    assert seen == {True, False}


@pytest.mark.usefixtures("one_thread")
def test_mask_rcnn_learns_and_proposes_in_the_images_frame() -> None:
    torch.manual_seed(0)
    source, proposer = Selection([(scenes(), index) for index in range(4)], "labelled"), MaskRcnnProposer(side=96)
    assert len(proposer.objects(source.image(0))) == 0  # no threshold was chosen
    before = {name: weight.clone() for name, weight in proposer.network.named_parameters()}
    assert proposer.train(source, minutes=0.02, rate=0.01, seed=0, report=str) > 0
    changed = {name for name, weight in proposer.network.named_parameters() if not torch.equal(weight, before[name])}
    assert any("mask_head" in name for name in changed)
    assert any("backbone.body" in name for name in changed)
    frozen = {name for name, weight in proposer.network.named_parameters() if not weight.requires_grad}
    assert frozen
    assert not frozen & changed
    found = proposer(source.image(0))
    assert 0 < len(found) <= 100
    assert (found.height, found.width) == source.image(0).shape[:2]
    assert (areas(found.rles) > 0).all()
    assert (np.diff(found.scores) <= 0).all()
    middle = float(np.median(found.scores))
    proposer.rule = ObjectRule(threshold=middle, max_iou=1.0, max_filled=1.0, max_inside=ANY_NUMBER)
    good = np.flatnonzero(found.scores >= middle)
    kept = oracles.objects_among(np.stack([decode(found.rles[index]) for index in good]), 1.0, 1.0, ANY_NUMBER, INSIDE)
    assert 0 < len(kept) <= len(good)
    assert proposer.objects(source.image(0)).scores.tolist() == found.scores[good[kept]].tolist()


def test_every_peer_gets_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, list[int]] = {}  # sums of pixels

    def noting(settings: Settings, labelled: Source, report: Any) -> Trained:
        given[settings.peer] = [int(sample.image.sum()) for sample in labelled]
        proposer = FakeProposer()
        proposer.network = nn.Linear(3, 2)  # pyright: ignore[reportAttributeAccessIssue]
        return Trained(proposer, 7)

    monkeypatch.setattr(peers, "open_source", lambda spec: scenes())
    monkeypatch.setattr(peers, "PEERS", dict.fromkeys(PEERS, noting))
    made = [run(Settings(peer, "corn", images=3), "data") for peer in (OURS, MASK_RCNN)]
    assert given[OURS] == given[MASK_RCNN]
    assert len(set(given[OURS])) == 3
    assert made[0]["settings"] == asdict(Settings(OURS, "corn", images=3))
    assert made[0]["parameters"] == 3 * 2 + 2
    assert 0 <= made[0]["found"]["AR@100"] <= 100
    first, second = (labelled_images(scenes(20), 5, seed) for seed in (0, 1))
    assert [sample.image.sum() for sample in first] != [sample.image.sum() for sample in second]


def test_the_page_has_a_row_and_a_command_for_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"AR@10": 1.0, "AR@100": 2.0, "F1@0.5": 3.0, "F1@0.75": 4.0, "accepted": 5.0, "seconds_an_image": 0.123}
    base = {"machine": {"threads": 2}, "iterations": 6, "parameters": 7_100_000, "memory_mb": 8200, "found": found}
    better = base | {"settings": asdict(Settings(OURS, "corn")), "found": found | {"F1@0.5": 30.0}}
    text = page([base | {"settings": asdict(replace(Settings(MASK_RCNN, "corn"), times_rate=2.0))}, better])
    rows = [line for line in text.splitlines() if line.startswith(("| ours", "| mask"))]
    assert rows == [
        "| ours | imagenet | 20 | 1 | 0 | 1.0 | 2.0 | 30.0 | 4.0 | 5.0 | 0.12 | 7.1 | 8.2 | 6 | 2 |",
        "| mask-rcnn | imagenet | 20 | 2 | 0 | 1.0 | 2.0 | 3.0 | 4.0 | 5.0 | 0.12 | 7.1 | 8.2 | 6 | 2 |",
    ]
    line = command(Settings(MASK_RCNN, "corn", times_rate=2.0))
    assert line in text
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "run", lambda settings, root: better | {"settings": asdict(settings)})
    monkeypatch.setattr("sys.argv", line.split()[2:])
    peers.main()
    (path,) = (tmp_path / peers.RUNS).iterdir()
    assert Settings(**json.loads(path.read_text())["settings"]) == Settings(MASK_RCNN, "corn", times_rate=2.0)
    with pytest.raises(SystemExit, match="is there already"):
        peers.main()
