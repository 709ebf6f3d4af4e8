"""``benchmarks/peers.py``: what every peer is given alike, and torchvision's Mask R-CNN as a proposer."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import to_tensor

import oracles
from apps.conftest import FakeProposer
from benchmarks import peers, star_convex, yolo
from benchmarks.mask_rcnn import MaskRcnnProposer, training_view
from benchmarks.peers import (
    MASK_RCNN,
    OURS,
    PEERS,
    STARTS,
    YOLO,
    Settings,
    Trained,
    command,
    labelled_images,
    measure,
    page,
    parameter_count,
    run,
    train_ours,
)
from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.geometry.rle import areas, decode, from_polygons, ious
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
    proposer.network.roi_heads.detections_per_img = 20  # a fifth of the masks, which take the time
    found = proposer(source.image(0))
    assert 0 < len(found) <= 20
    assert (found.height, found.width) == source.image(0).shape[:2]
    assert (areas(found.rles) > 0).all()
    assert (np.diff(found.scores) <= 0).all()
    middle = float(np.median(found.scores))
    proposer.rule = ObjectRule(threshold=middle, max_iou=1.0, max_filled=1.0, max_inside=ANY_NUMBER)
    good = np.flatnonzero(found.scores >= middle)
    kept = oracles.objects_among(np.stack([decode(found.rles[index]) for index in good]), 1.0, 1.0, ANY_NUMBER, INSIDE)
    assert 0 < len(kept) <= len(good)
    assert proposer.objects(source.image(0)).scores.tolist() == found.scores[good[kept]].tolist()


def test_yolos_files_hold_the_images_and_their_masks(tmp_path: Path) -> None:
    source = scenes(3)
    path = yolo.write_data_set(tmp_path, [source], [scenes(1, seed=9)])
    assert json.loads(path.read_text())["path"] == str(tmp_path)
    for index, sample in enumerate(source):
        written = np.array(Image.open(tmp_path / "images" / "train" / f"{index}.png"))
        assert np.array_equal(written, sample.image)
        (height, width), lines = (
            sample.image.shape[:2],
            (tmp_path / f"labels/train/{index}.txt").read_text().splitlines(),
        )
        assert len(lines) == len(sample.instances.rles)
        for line, rle in zip(lines, sample.instances.rles, strict=True):
            name, *numbers = line.split()
            ring = np.array(numbers, dtype=float).reshape(-1, 2) * (width, height)
            drawn = from_polygons([ring.ravel().tolist()], height, width)
            assert name == "0"
            assert ious([drawn], [rle])[0, 0] > 0.9
    assert len(list((tmp_path / "labels" / "val").iterdir())) == 1


def test_yolos_masks_are_proposals_best_first() -> None:
    masks = np.zeros((4, 6, 8), dtype=np.float32)
    masks[0, 1:3, 1:4], masks[1, 4:, 5:], masks[3, 0, 0] = 1, 1, 1  # the third is empty
    asked: list[Any] = []

    class Model:
        def predict(self, image: np.ndarray, **options: Any) -> list[Any]:
            asked.append((image, options["max_det"]))
            conf = torch.tensor([0.2, 0.9, 0.8, 0.4])
            return [
                SimpleNamespace(masks=SimpleNamespace(data=torch.from_numpy(masks)), boxes=SimpleNamespace(conf=conf))
            ]

    proposer, image = yolo.YoloProposer(Model()), np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    found = proposer(image, max_proposals=7)
    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert np.array_equal(np.stack(list(found.masks())), masks[[1, 3, 0]] == 1)
    (given, most) = asked.pop()
    assert np.array_equal(given[..., ::-1], image)  # it takes blue first
    assert most == 7
    assert len(proposer.objects(image)) == 0  # no threshold was chosen
    assert not asked
    proposer.rule = ObjectRule(threshold=0.3, max_iou=1.0, max_filled=1.0, max_inside=ANY_NUMBER)
    assert proposer.objects(image).scores.tolist() == pytest.approx([0.9, 0.4])
    proposer.model.predict = lambda *_, **__: [SimpleNamespace(masks=None)]
    assert len(proposer(image)) == 0


def test_star_convex_polygons_are_proposals_and_labels_are_objects() -> None:
    # y and x of pixels' centres: of two rows of three pixels
    squares = [np.array([[top, top, top + 2, top + 2], [0, 3, 3, 0]]) - 0.5 for top in (0, 5)]

    class Model:
        def predict_instances(self, image: np.ndarray, prob_thresh: float | None = None) -> tuple[np.ndarray, Any]:
            assert image.dtype == np.float32
            labels = np.zeros(image.shape[:2], dtype=np.int32)
            labels[0:2, 0:3], labels[5:7, 0:3] = 1, 2
            scores = np.array([0.3, 0.8]) if prob_thresh is None else np.array([0.1, 0.8])
            return labels, {"coord": np.stack(squares), "prob": scores}

    proposer, image = star_convex.StarConvexProposer(Model()), scenes()[0].image
    found, objects = proposer(image), proposer.objects(image)
    assert found.scores.tolist() == [0.8, 0.1]
    assert objects.scores.tolist() == [0.8, 0.3]
    assert found.boxes_xyxy.tolist() == [[0, 5, 3, 7], [0, 0, 3, 2]]
    assert objects.boxes_xyxy.tolist() == found.boxes_xyxy.tolist()
    assert found.areas.tolist() == objects.areas.tolist() == [6, 6]
    assert len(proposer(image, max_proposals=1)) == 1


def test_star_convex_learns_from_label_maps_and_turned_views() -> None:
    images, labels = star_convex.images_and_labels([scenes(2)])
    for sample, image, of_image in zip(scenes(2), images, labels, strict=True):
        for number, rle in enumerate(sample.instances.rles, 1):
            mask = decode(rle)
            later = sum(decode(other) for other in sample.instances.rles[number:]) > 0
            assert np.array_equal(of_image == number, mask & ~later)
        assert np.percentile(image, (1, 99.8), axis=(0, 1)) == pytest.approx(np.repeat([[0], [1]], 3, 1), abs=1e-5)
    seen = set()
    for _ in range(60):
        turned, of_turned = star_convex.changed(images[0], labels[0])
        assert turned.shape[:2] == of_turned.shape
        seen.add(of_turned.tobytes())
    assert len(seen) == 8  # four turns, mirrored or not


def test_every_peer_gets_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, list[int]] = {}  # sums of pixels

    def noting(settings: Settings, labelled: Source, report: Any) -> Trained:
        given[settings.peer] = [int(sample.image.sum()) for sample in labelled]
        return Trained(FakeProposer(), 7, parameter_count(nn.Linear(3, 2)))

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


def test_peers_start_from_what_they_have(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Settings] = []

    def note(settings: Settings, root: str) -> Any:
        asked.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(peers, "run", note)
    assert set(STARTS) == set(PEERS)
    for peer in PEERS:
        monkeypatch.setattr("sys.argv", ["peers", "--peer", peer, "--domain", "corn", "--seed", "99"])
        with pytest.raises(KeyboardInterrupt):
            peers.main()
    assert [settings.init for settings in asked] == [STARTS[peer][0] for peer in PEERS]
    monkeypatch.setattr("sys.argv", ["peers", "--peer", YOLO, "--domain", "corn", "--init", "shipped"])
    with pytest.raises(SystemExit):
        peers.main()
    assert "--peer yolo starts from --init random alone" in capsys.readouterr().err
