"""The checkpoint that the package ships, on real photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
import torch
from safetensors import safe_open

from instancefcn.classifier.checkpoint import SHIPPED, load_classifier
from instancefcn.classifier.segmenter import Segmenter
from instancefcn.data.open import open_source
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.training.initial_weights import initial_network
from instancefcn.training.recipe import load_recipe
from instancefcn.training.validation import validate
from oracles import box_iou


@pytest.fixture(scope="module")
def proposer() -> Proposer:
    return Proposer.from_checkpoint()


def test_it_is_small_and_in_half_precision() -> None:
    assert SHIPPED_CHECKPOINT.stat().st_size <= 20_000_000
    with safe_open(SHIPPED_CHECKPOINT, framework="pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert {str(dtype) for dtype in dtypes} == {"torch.float16"}
    assert load_checkpoint(SHIPPED_CHECKPOINT).training["iteration"] > 1000


def test_it_finds_the_cup_of_coffee(proposer: Proposer) -> None:
    proposals = proposer(skimage.data.coffee(), max_proposals=20)
    cup, with_saucer = [172.0, 18.0, 410.0, 290.0], [77.0, 18.0, 480.0, 388.0]
    assert max(box_iou(cup, box) for box in proposals.boxes_xyxy.tolist()) > 0.7
    assert max(box_iou(with_saucer, box) for box in proposals.boxes_xyxy.tolist()) > 0.6


def test_training_goes_on_from_it() -> None:
    started = initial_network(load_recipe("lite"), "shipped").network.state_dict()
    shipped = load_checkpoint(SHIPPED_CHECKPOINT).weights
    assert started.keys() == shipped.keys()
    assert all(torch.equal(started[name], weights.float()) for name, weights in shipped.items())


def test_pedestrians_are_found(proposer: Proposer, shared_data: Path) -> None:
    source = open_source(f"labels:{shared_data / 'pennfudan' / 'val'}")
    few = type(source)(**{**vars(source), "all_labels": source.all_labels[:4]})  # pyright: ignore
    assert validate(proposer, [few], max_proposals=100)[source.name]["AR@100"] > 35


def test_the_classifier_of_animals_is_small_and_in_half_precision() -> None:
    path = SHIPPED / "animals.safetensors"
    assert path.stat().st_size <= 15_000_000
    checkpoint = load_classifier("animals")
    assert {str(tensor.dtype) for tensor in checkpoint.weights.values()} == {"torch.float16"}
    assert checkpoint.categories[3] == "elephant"
    assert len(checkpoint.categories) == 7


def test_animals_get_their_names(shared_data: Path) -> None:
    segmenter = Segmenter.from_checkpoints("animals")
    folder = shared_data / "animals"
    source = open_source(f"coco:{folder / 'annotations' / 'instances_val.json'},{folder / 'val'}")
    alone = [index for index in range(len(source)) if len(source.labels(index).instances) == 1][:10]
    right = 0
    for index in alone:
        segments = segmenter(source.image(index), max_segments=1)
        right += segments.category_ids.tolist() == source.labels(index).instances.category_ids.tolist()
    assert right >= 8
    image = source.image(alone[0])
    assert segmenter([image], max_segments=1) == [segmenter(image, max_segments=1)]
    for wrong in ({"max_segments": -1}, {"min_score": float("nan")}):
        with pytest.raises(ValueError, match="max_segments must be 0 or more and min_score a number"):
            segmenter(image, **wrong)
