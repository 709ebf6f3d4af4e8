from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from instancefcn.config import to_table
from instancefcn.data.augmentation import Augmentation, augment
from instancefcn.data.training_image import TrainingImage
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.model.backbones import Backbone
from instancefcn.structures import Sample
from instancefcn.training import dataset, trainer
from instancefcn.training.coverage import coverage
from instancefcn.training.dataset import RankSampler, TrainingStream
from instancefcn.training.loop import train
from instancefcn.training.optimization import Budget, OptimizationConfig, average_weights, learning_rate
from instancefcn.training.recipe import load_recipe
from synthetic import SyntheticScenes
from tiny import TINY, scenes
from training.dying import Dying, KilledError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_leaves_a_checkpoint_that_proposes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 0.25)
    best = train(TINY, [scenes()], tmp_path, validation=[scenes()], init="random", device="cpu", workers=0)
    proposals = Proposer.from_checkpoint(best)(scenes()[0].image)
    assert proposals.height == 64
    record = load_checkpoint(best).training
    assert record["recipe"] == json.loads(json.dumps(to_table(TINY)))
    assert record["trunk_weights"] == "random"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "loss_mask" in line] == [1, 4]  # the first and the last
    assert [line["iteration"] for line in lines if "loss_mask" not in line] == [1, 2, 3, 4]
    assert all("synthetic" in key for line in lines for key in line if key.endswith("AR@100"))
    assert {path.name for path in tmp_path.iterdir()} >= {"best.safetensors", "last.safetensors", "last.state"}


@pytest.mark.parametrize(("precision", "of_products"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_run_computes_in_the_precision_of_its_recipe(
    precision: str, of_products: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def multiply(training: trainer.Trainer, stream: object, workers: int) -> None:
        with training.fabric.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == of_products
        raise KilledError

    monkeypatch.setattr(trainer.Trainer, "run", multiply)
    recipe = replace(TINY, optimization=replace(TINY.optimization, precision=precision))
    with pytest.raises(KilledError):
        train(recipe, [scenes()], tmp_path, init="random", device="cpu")


def test_resuming_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)
    recipe = replace(TINY, augmentation=replace(TINY.augmentation, copy_paste=0.0))
    train(recipe, [scenes()], tmp_path / "whole", init="random", device="cpu", workers=0)
    monkeypatch.setattr(Backbone, "weights_from", "elsewhere")
    with pytest.raises(KilledError):
        train(recipe, [Dying(4, height=64, width=80, seed=0)], tmp_path / "cut", init="random", device="cpu", workers=0)
    monkeypatch.setattr(Backbone, "weights_from", "random")  # as a resumed run begins
    with pytest.raises(ValueError, match="--resume"):
        train(recipe, [scenes()], tmp_path / "cut", init="random", device="cpu", workers=0)
    train(recipe, [scenes()], tmp_path / "cut", init="random", resume=True, device="cpu", workers=0)
    whole, cut = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert whole.training["iteration"] == cut.training["iteration"] == 4
    assert (whole.training["trunk_weights"], cut.training["trunk_weights"]) == ("random", "elsewhere")
    for name, tensor in whole.weights.items():
        assert torch.equal(tensor, cut.weights[name]), name


def test_batches_made_in_other_processes_are_the_same(tmp_path: Path) -> None:
    runs = [tmp_path / str(workers) for workers in (0, 2)]
    for run, workers in zip(runs, (0, 2), strict=True):
        train(TINY, [scenes()], run, init="random", device="cpu", workers=workers)
    alone, helped = (load_checkpoint(run / "last.safetensors").weights for run in runs)
    assert all(torch.equal(tensor, helped[name]) for name, tensor in alone.items())


def test_another_recipe_is_no_resumption(tmp_path: Path) -> None:
    train(TINY, [scenes()], tmp_path, init="random", iterations=1, device="cpu", workers=0)
    with pytest.raises(ValueError, match="another recipe"):
        train(replace(TINY, seed=1), [scenes()], tmp_path, init="random", resume=True, device="cpu", workers=0)


def test_a_checkpoint_to_start_from(tmp_path: Path) -> None:
    first = train(TINY, [scenes()], tmp_path / "a", init="random", iterations=1, device="cpu", workers=0)
    train(TINY, [scenes()], tmp_path / "b", init=str(first), iterations=1, device="cpu", workers=0)
    other = replace(TINY, network=replace(TINY.network, k=2))
    with pytest.warns(UserWarning, match="tensors fit; the others start anew"):
        train(other, [scenes()], tmp_path / "c", init=str(first), iterations=1, device="cpu", workers=0)


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image to train on"):
        train(TINY, [SyntheticScenes(0)], tmp_path, init="random", device="cpu", workers=0)


@pytest.mark.parametrize("preset", ["single", "frozen", "running"])
def test_other_networks_train(preset: str, tmp_path: Path) -> None:
    network = (
        replace(TINY.network, batch_norm=preset)
        if preset != "single"
        else replace(TINY.network, kind="single", finest_window_sizes=())
    )
    paper = load_recipe("paper")
    recipe = replace(TINY, network=network, loss=paper.loss, sampling=paper.sampling, assignment=paper.assignment)
    sgd = replace(TINY.optimization, optimizer="sgd", ema_decay=0.0, clip_norm=0.0, precision="bf16")
    whole_images = Augmentation(shorter_sides=(48.0, 64.0), draw="one_of", crop=0, copy_paste=0.0)
    recipe = replace(recipe, optimization=sgd, augmentation=whole_images)
    train(recipe, [scenes()], tmp_path, init="random", iterations=2, device="cpu", workers=0)
    weights = load_checkpoint(tmp_path / "last.safetensors").weights
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize(("crop", "tiles", "longest"), [(0, False, 100), (0, True, 640), (64, False, 64)])
def test_whole_images_are_as_long_as_in_proposing(
    crop: int, tiles: bool, longest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[TrainingImage] = []

    def seen(*arguments: Any) -> TrainingImage:
        views.append(augment(*arguments))
        return views[-1]

    monkeypatch.setattr(dataset, "augment", seen)
    inference = replace(TINY.inference, longest_side=256.0 if tiles else 100.0, tiles=tiles)
    augmentation = replace(TINY.augmentation, shorter_sides=(64.0, 64.0), crop=crop, copy_paste=0.0)
    recipe = replace(TINY, inference=inference, augmentation=augmentation)
    thin = SyntheticScenes(4, height=32, width=320)
    train(recipe, [thin], tmp_path, init="random", iterations=1, device="cpu", workers=0)
    assert {view.image.shape[2] for view in views} == {longest}
    assert views[0].scale == pytest.approx(2.0 if crop or tiles else 100 / 320)


def test_ranks_share_one_stream() -> None:
    samplers = [iter(RankSampler(start_step=3, images_per_step=4, rank=rank, world_size=2)) for rank in range(2)]
    drawn = [[next(sampler) for _ in range(4)] for sampler in samplers]
    assert sorted(drawn[0] + drawn[1]) == list(range(12, 20))


def test_the_stream_depends_on_seed_and_index_alone() -> None:
    streams = [TrainingStream([scenes()], TINY.augmentation, 1.0, seed) for seed in (0, 0, 1)]
    images = [stream[5].image for stream in streams]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


class Broken(SyntheticScenes):
    """Scenes of which only the first can be read."""

    def __getitem__(self, index: int) -> Sample:
        if index:
            raise ValueError(f"image {index} is gone")
        return super().__getitem__(index)


def test_an_unreadable_image_is_replaced_and_only_so_often() -> None:
    stream = TrainingStream([Broken(3, height=64, width=80)], replace(TINY.augmentation, copy_paste=0.0), 1.0, 0)
    views = [stream[i] for i in range(6)]
    assert [view.image.shape for view in views] == [(3, 64, 64)] * 6
    assert {view.names for view in views} == {("000001.png",)}
    assert {text for view in views for text in view.lost} == {"image 1 is gone", "image 2 is gone"}
    hopeless = TrainingStream([Broken(10**9, height=64, width=80)], TINY.augmentation, 1.0, 0)
    with pytest.raises(ValueError, match="is gone"):
        hopeless[0]


def test_schedules() -> None:
    cosine = OptimizationConfig(learning_rate=1.0, warmup_iterations=4)
    assert learning_rate(0.0, 0, cosine) == pytest.approx(0.25)
    assert learning_rate(0.5, 99, cosine) == pytest.approx(0.5)
    long_warmup = OptimizationConfig(optimizer="sgd", learning_rate=1.0, warmup_iterations=1000)
    assert [learning_rate(progress, 9, long_warmup) for progress in (0.0, 0.05, 0.1)] == pytest.approx([0.01, 0.5, 1.0])
    assert learning_rate(1.0, 99, cosine) == pytest.approx(0.0)
    step = OptimizationConfig(optimizer="sgd", learning_rate=1.0, warmup_iterations=0)
    assert [learning_rate(progress, 9, step) for progress in (0.0, 0.79, 0.8)] == pytest.approx([1, 1, 0.1])
    assert Budget(iterations=10, minutes=2.0).progress(5, seconds=30.0) == 0.25
    assert Budget(iterations=10).progress(5, seconds=30.0) == 0.5


@pytest.mark.parametrize("length", [{"iterations": 0}, {"minutes": 0.0}, {"minutes": float("nan")}])
def test_no_time_to_train_is_refused_before_anything_is_written(length: dict[str, Any], tmp_path: Path) -> None:
    name, value = next(iter(length.items()))
    with pytest.raises(ValueError, match=f"{name} must be .*, not {value:g}: leave them out"):
        train(TINY, [], tmp_path / "out", **length)
    assert not (tmp_path / "out").exists()


def test_the_average_forgets_its_start() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    averaged = average_weights(network, decay=0.9)
    torch.nn.init.constant_(network.weight, 1.0)
    averaged.update_parameters(network)
    assert averaged.module.weight.item() == pytest.approx(1.0)
    torch.nn.init.constant_(network.weight, 0.0)
    averaged.update_parameters(network)  # weight of the old: (1 + 1) / (10 + 1)
    assert averaged.module.weight.item() == pytest.approx(2 / 11)


def test_coverage_of_both_presets() -> None:
    source = SyntheticScenes(6, height=240, width=320, seed=1)
    lite, paper = (coverage(source, load_recipe(name)) for name in ("lite", "paper"))
    assert lite.instances == paper.instances > 0
    assert lite.covered + lite.tiny == lite.instances  # no gaps
    assert paper.covered < lite.covered


def test_recipes_are_strict(tmp_path: Path) -> None:
    assert load_recipe("paper").network.backbone == "vgg16"
    bad = tmp_path / "bad.toml"
    for text, message in (
        ("[network]\nkk = 5\n", "unknown key 'kk'"),
        ('[network]\nk = "five"\n', "must be int"),
        ('[assignment]\nrule = "nearest"\n', "must be one of 'deepmask'"),
        ("[network\n", "not TOML"),
        ("network = 3\n", "must be a table"),
        ("[augmentation]\ncrop = 0\n", "copy_paste needs crops"),
    ):
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_recipe(str(bad))
    with pytest.raises(ValueError, match=r"neither a file nor one of lite, paper"):
        load_recipe("lit")
