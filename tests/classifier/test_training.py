"""From labelled images to a file, and from the file to named masks, on networks that know nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifier.models import RECIPE, Scenes, proposal_network, train
from instancefcn.classifier import training
from instancefcn.classifier.checkpoint import load_classifier, load_proposer, save_classifier
from instancefcn.classifier.config import ClassifierConfig, ClassifierRecipe, LearningConfig
from instancefcn.classifier.segmenter import Segmenter
from instancefcn.classifier.training import class_weights, count_instances, rate_factor, train_classifier
from instancefcn.data.open import open_source
from instancefcn.inference.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.proposals import Proposals, Segments
from labelled import coco_annotation, write_coco, write_image

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = {7: "ellipse", 90: "rectangle", 4: "star"}
IDS = {1: 7, 2: 90, 3: 4}


@pytest.fixture
def proposals(tmp_path: Path) -> Path:
    return proposal_network(tmp_path / "proposals.safetensors")


def test_ids_with_gaps_come_out_as_they_went_in(tmp_path: Path, proposals: Path) -> None:
    scenes = Scenes(4, IDS, NAMES)
    path = train(RECIPE, [scenes], proposals, tmp_path / "out")
    figures = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in figures] == [1, 2]
    assert load_classifier(path).categories == dict(sorted(NAMES.items()))
    segmenter = Segmenter.from_checkpoints(path, proposals)
    segments = segmenter(scenes[0].image)
    assert len(segments)
    assert set(segments.category_ids.tolist()) <= set(NAMES)
    assert (segments.height, segments.width) == (64, 80)
    assert (np.diff(segments.scores) <= 0).all()


def test_it_learns(tmp_path: Path, proposals: Path) -> None:
    learning = LearningConfig(epochs=40, learning_rate=0.01, label_smoothing=0.0)
    recipe = replace(RECIPE, classifier=ClassifierConfig(width=32, shorter_side=128.0), learning=learning)
    train(recipe, [Scenes(4, IDS, NAMES)], proposals, tmp_path, imagenet=True)
    figures = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert figures[-1]["foreground named right"] > 0.8
    assert figures[-1]["loss"] < 0.6 * figures[0]["loss"]


def test_the_second_run_finds_the_proposals_on_disk(
    tmp_path: Path, proposals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(RECIPE, [Scenes(3, IDS, NAMES)], proposals, tmp_path / "a", cache=tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").rglob("*.*")} == {".safetensors"}
    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "__call__", None)
        again = train(RECIPE, [Scenes(3, IDS, NAMES)], proposals, tmp_path / "b", cache=tmp_path / "cache")
    one, other = load_classifier(first).weights, load_classifier(again).weights
    assert all(torch.equal(one[name], other[name]) for name in one)
    others = proposal_network(tmp_path / "others.safetensors", seed=1)
    train(RECIPE, [Scenes(3, IDS, NAMES)], others, tmp_path / "c", cache=tmp_path / "cache")
    checkpoint = load_checkpoint(proposals)
    looser = tmp_path / "looser.safetensors"  # the same weights, which propose otherwise
    save_checkpoint(replace(checkpoint, inference=replace(checkpoint.inference, nms_threshold=0.9)), looser)
    train(RECIPE, [Scenes(3, IDS, NAMES)], looser, tmp_path / "d", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.mark.parametrize("flag", ["crowd", "ignore"])
def test_a_changed_flag_of_an_instance_matches_anew(
    flag: str, tmp_path: Path, proposals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = Scenes(2, IDS, NAMES)
    train(RECIPE, [scenes], proposals, tmp_path / "a", cache=tmp_path / "cache")
    labels = scenes.labels(0)
    flagged = np.arange(len(labels.instances)) == 0
    changed = replace(labels, instances=replace(labels.instances, **{flag: flagged}))
    other = scenes.labels(1)
    monkeypatch.setattr(Scenes, "labels", lambda _, index: other if index else changed)
    train(RECIPE, [scenes], proposals, tmp_path / "b", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_trunk_is_trained_where_the_recipe_says_so(tmp_path: Path, proposals: Path, rate: float) -> None:
    short, longer = (
        load_classifier(
            train(
                replace(RECIPE, learning=replace(RECIPE.learning, trunk_learning_rate=rate, epochs=epochs)),
                [Scenes(2, IDS, NAMES)],
                proposals,
                tmp_path,
            )
        ).weights
        for epochs in (1, 2)
    )
    changed = {name.partition(".")[0] for name in short if not torch.equal(short[name], longer[name])}
    assert changed == ({"head", "trunk"} if rate else {"head"})
    assert bool(list((tmp_path / "cache").rglob("*.mirrored.*"))) == (rate == 0)


def test_a_class_that_nobody_labelled_is_named_and_left_out(tmp_path: Path, proposals: Path) -> None:
    said: list[str] = []
    scenes = Scenes(3, {1: 7, 2: 90}, NAMES)
    path = train(RECIPE, [scenes], proposals, tmp_path, report=said.append)
    assert said == ["category 'star' (4) has no instance to learn from: nothing will be named so"]
    assert load_classifier(path).categories == {7: "ellipse", 90: "rectangle"}


def test_one_class_is_enough(tmp_path: Path, proposals: Path) -> None:
    scenes = Scenes(3, {1: 3, 2: 3, 3: 3}, {3: "shape"}, empty=1)  # the first image shows no instance
    segmenter = Segmenter.from_checkpoints(train(RECIPE, [scenes], proposals, tmp_path), proposals)
    segments = segmenter(scenes[1].image)
    assert set(segments.category_ids.tolist()) == {3}


def test_an_image_with_nothing_to_learn_from_is_left_out(
    tmp_path: Path, proposals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is proposed there may be an unlabelled object. A batch of such images would have no loss."""
    monkeypatch.setattr(training, "BATCH_SIZE", 1)
    said: list[str] = []
    scenes = Scenes(3, IDS, NAMES, empty=1)  # the first image shows no instance
    scenes.partial = True
    train(RECIPE, [scenes], proposals, tmp_path, report=said.append)
    name = scenes.labels(0).file_name
    assert said[-1:] == [f"left out: {name}: only proposals that may be unlabelled objects, or lie on crowds"]


def test_nothing_labelled_is_refused(tmp_path: Path, proposals: Path) -> None:
    with pytest.raises(ValueError, match="no labelled instance to learn from in synthetic"):
        train(RECIPE, [Scenes(2, {}, NAMES)], proposals, tmp_path)


def test_an_image_without_proposals_has_no_segments(
    tmp_path: Path, proposals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = train(RECIPE, [Scenes(2, IDS, NAMES)], proposals, tmp_path)
    segmenter = Segmenter.from_checkpoints(path, proposals)

    def nothing(proposer: Proposer, image: np.ndarray, *, max_proposals: int) -> Proposals:
        return Proposals([], np.zeros((0, 4)), np.zeros(0), 64, 80)

    monkeypatch.setattr(Proposer, "__call__", nothing)
    assert len(segmenter(np.zeros((64, 80, 3), dtype=np.uint8))) == 0


def test_sources_that_contradict_each_other_are_refused() -> None:
    first = Scenes(2, {1: 7}, {7: "ellipse"})
    with pytest.raises(ValueError, match="category 7 is 'cat', but 'ellipse' in other --data"):
        count_instances([first, Scenes(2, {1: 7}, {7: "cat"})])
    with pytest.raises(ValueError, match=r"category 'ellipse' has the ids \[7, 8\]"):
        count_instances([first, Scenes(2, {1: 8}, {8: "ellipse"})])


def test_rare_classes_weigh_more() -> None:
    weights = class_weights([100, 25], 0.5)
    assert weights[2] / weights[1] == pytest.approx(2)
    assert (100 * weights[1] + 25 * weights[2]) / 125 == pytest.approx(1)
    assert class_weights([3, 30], 0.0).tolist() == pytest.approx([1, 1, 1])


def test_another_proposal_network_is_refused_with_both_names(tmp_path: Path, proposals: Path) -> None:
    path = train(RECIPE, [Scenes(2, IDS, NAMES)], proposals, tmp_path)
    other = proposal_network(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(
        ValueError, match=r"of proposals\.safetensors \(\w{12}\), not for those of other\.safetensors \(\w{12}\)"
    ):
        Segmenter.from_checkpoints(path, other)
    renamed = proposals.rename(tmp_path / "renamed.safetensors")
    Segmenter.from_checkpoints(path, renamed)


def test_half_precision_names_alike(tmp_path: Path, proposals: Path) -> None:
    scenes = Scenes(2, IDS, NAMES)
    path = train(RECIPE, [scenes], proposals, tmp_path)
    save_classifier(load_classifier(path), tmp_path / "half.safetensors", torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < path.stat().st_size
    whole, half = (
        Segmenter.from_checkpoints(file, proposals)(scenes[0].image) for file in (path, tmp_path / "half.safetensors")
    )
    np.testing.assert_allclose(half.scores[0], whole.scores[0], atol=0.02)


@pytest.mark.parametrize("name", ["zebras", "proposals.safetensors"])
def test_what_is_no_classifier_is_named(name: str, proposals: Path) -> None:
    given = proposals if name == proposals.name else name
    with pytest.raises(ValueError, match=f"{name}: (no such classifier|its format is 'instancefcn/1')"):
        load_classifier(given)


def test_given_proposals_are_named_as_its_own_are(tmp_path: Path, proposals: Path) -> None:
    scenes = Scenes(2, IDS, NAMES)
    path = train(RECIPE, [scenes], proposals, tmp_path / "out")
    segmenter, image = Segmenter.from_checkpoints(path, proposals), scenes[0].image
    own = segmenter(image)
    given = segmenter.name(image, segmenter.proposer(image, max_proposals=100))  # more than it is to name
    assert len(own) > 0
    assert (given.rles, given.category_ids.tolist()) == (own.rles, own.category_ids.tolist())
    np.testing.assert_allclose(given.scores, own.scores, rtol=1e-5)
    with pytest.raises(ValueError, match="the proposals are of an image of"):
        segmenter.name(image[:-1], segmenter.proposer(image))


def outcome(tmp_path: Path, recipe: ClassifierRecipe, proposals: Path) -> tuple[dict[str, torch.Tensor], Segments]:
    """Weights that a recipe learns, and the segments that they give."""
    scenes = Scenes(3, IDS, NAMES)
    path = train(recipe, [scenes], proposals, tmp_path)
    return dict(load_classifier(path).weights), Segmenter.from_checkpoints(path, proposals)(scenes[0].image)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Segments]:
    """The outcome of RECIPE."""
    folder = tmp_path_factory.mktemp("unchanged")
    return outcome(folder, RECIPE, proposal_network(folder / "proposals.safetensors"))


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("", "seed", 1),
        ("classifier", "trunk", "test_resnet"),
        ("classifier", "shorter_side", 96.0),
        ("classifier", "longest_side", 64.0),
        ("classifier", "width", 12),
        ("learning", "epochs", 3),
        ("learning", "optimizer", "sgd"),
        ("learning", "learning_rate", 0.01),
        ("learning", "weight_decay", 0.5),
        ("learning", "trunk_learning_rate", 0.5),
        ("learning", "class_balance", 0.0),
        ("learning", "label_smoothing", 0.5),
        ("naming", "proposals", 3),
        ("naming", "nms_threshold", 0.9),
        ("naming", "vote_threshold", 0.0),
        ("naming", "objectness_power", 0.0),
    ],
)
def test_every_key_of_a_recipe_matters(
    tmp_path: Path,
    proposals: Path,
    unchanged: tuple[dict[str, torch.Tensor], Segments],
    table: str,
    key: str,
    value: Any,
) -> None:
    change = {table: replace(getattr(RECIPE, table), **{key: value})} if table else {key: value}
    weights, segments = unchanged
    other_weights, other_segments = outcome(tmp_path, replace(RECIPE, **change), proposals)
    if table == "naming" and key != "proposals":
        same = segments.rles == other_segments.rles and np.array_equal(segments.scores, other_segments.scores)
    else:
        same = weights.keys() == other_weights.keys() and all(
            weights[name].shape == other_weights[name].shape and torch.equal(weights[name], other_weights[name])
            for name in weights
        )
    assert not same


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("classifier", "trunk", "test_resnet"),
        ("classifier", "shorter_side", 96.0),
        ("classifier", "longest_side", 64.0),
        ("learning", "trunk_learning_rate", 0.5),
        ("naming", "proposals", 3),
    ],
)
def test_what_is_kept_on_disk_is_not_taken_for_another_recipe(
    tmp_path: Path, proposals: Path, table: str, key: str, value: Any
) -> None:
    other = replace(RECIPE, **{table: replace(getattr(RECIPE, table), **{key: value})})
    for recipe in (RECIPE, other):
        train(recipe, [Scenes(1, IDS, NAMES)], proposals, tmp_path)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_is_kept_on_disk_is_not_taken_for_another_trunk_precision_or_file(tmp_path: Path, proposals: Path) -> None:
    """A frozen trunk of other weights has other maps; proposals in bf16 are others; a file may hold another image."""
    path = tmp_path / "images" / "a.png"
    write_image(path)
    spec = write_coco(tmp_path, [coco_annotation(1)], images=[{"id": 1, "file_name": "a.png"}])
    (proposer, network), cache = load_proposer(proposals), tmp_path / "cache"

    def kept(recipe: ClassifierRecipe) -> int:
        train_classifier(recipe, [open_source(spec)], proposer, network, tmp_path, cache=cache, imagenet=False)
        return len(list(cache.iterdir()))

    assert [kept(RECIPE), kept(RECIPE)] == [1, 1]
    assert kept(replace(RECIPE, seed=1)) == 2
    learning = replace(RECIPE.learning, trunk_learning_rate=0.5)
    assert [kept(replace(RECIPE, learning=learning, seed=seed)) for seed in (0, 1)] == [3, 3]
    proposer.precision = "bf16"
    assert kept(RECIPE) == 4
    os.utime(path, ns=(1, 1))
    assert kept(RECIPE) == 5


def test_a_loss_that_becomes_infinite_leaves_the_earlier_classifier(tmp_path: Path, proposals: Path) -> None:
    path = train(RECIPE, [Scenes(2, IDS, NAMES)], proposals, tmp_path)
    before = path.read_bytes()
    wild = replace(RECIPE, learning=replace(RECIPE.learning, learning_rate=1000.0, optimizer="sgd", epochs=50))
    with pytest.raises(ValueError, match=r"the loss became (inf|nan) in epoch \d+: lower learning.learning_rate"):
        train(wild, [Scenes(2, IDS, NAMES)], proposals, tmp_path)
    assert path.read_bytes() == before


def test_weights_that_become_infinite_in_the_last_step_are_not_written(
    tmp_path: Path, proposals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.AdamW.step

    def overflow(self: torch.optim.AdamW, closure: None = None) -> None:
        step(self, closure)
        self.param_groups[0]["params"][0].data[0] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", overflow)
    once = replace(RECIPE, learning=replace(RECIPE.learning, epochs=1))
    with pytest.raises(ValueError, match="weights became infinite or NaN"):
        train(once, [Scenes(2, IDS, NAMES)], proposals, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_damaged_file_on_disk_is_named(tmp_path: Path, proposals: Path) -> None:
    train(RECIPE, [Scenes(2, IDS, NAMES)], proposals, tmp_path)
    every = sorted((tmp_path / "cache").rglob("*.maps.*"))
    for damaged in every:  # one of an image with nothing to learn from is not read again
        damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(ValueError, match=f"({'|'.join(path.name for path in every)}): damaged; remove it"):
        train(RECIPE, [Scenes(2, IDS, NAMES)], proposals, tmp_path)


def test_the_rate_falls_as_the_optimizer_wants() -> None:
    shares = (0.0, 0.5, 0.74, 0.75, 1.0)
    factors = [rate_factor(share, LearningConfig(optimizer="sgd")) for share in shares]
    assert factors == [1.0, 1.0, 1.0, 0.1, 0.1]
    cosine = [rate_factor(share, LearningConfig(optimizer="adamw")) for share in (0.0, 0.5, 1.0)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0])
