"""Nothing to learn, numbers that are none, a full disk, images that vanish: told of, with what to do."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instancefcn import container
from instancefcn.data.source import Problem, Source
from instancefcn.files import write_whole
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.structures import Sample
from instancefcn.training import learner, log, state, trainer
from instancefcn.training.learnable import check_learnable
from instancefcn.training.learner import Learner
from instancefcn.training.loop import train
from instancefcn.training.state import STATE_FILE, read_state
from synthetic import SyntheticScenes
from tiny import TINY, scenes

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(
    TINY,
    network=replace(TINY.network, backbone="test_efficientnet"),
    augmentation=replace(TINY.augmentation, copy_paste=0.0),
)


def run(out: Path, source: Source | None = None, recipe: Any = RECIPE, **options: Any) -> list[str]:
    """Train for four iterations; what was told."""
    told: list[str] = []
    settings = {"init": "random", "device": "cpu", "workers": 0, "report": told.append} | options
    train(recipe, [scenes() if source is None else source], out, **settings)
    return told


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_list_of_sources_is_told_of(tmp_path: Path) -> None:
    source: Any = scenes()
    for given in (source, "labels:mine", ["labels:mine"]):
        with pytest.raises(TypeError, match="sources must be a list of what open_source gives"):
            train(RECIPE, given, tmp_path)
        with pytest.raises(TypeError, match="validation must be a list"):
            train(RECIPE, [source], tmp_path, validation=given)
    recipe: Any = "lite"
    with pytest.raises(TypeError, match="recipe must be what load_recipe gives, not 'lite'"):
        train(recipe, [source], tmp_path)
    with pytest.raises(ValueError, match="there are no sources to train on"):
        train(RECIPE, [], tmp_path)


class Marked(SyntheticScenes):
    """Scenes of which every instance is marked."""

    crowd, ignore, empty = False, False, False

    def labels(self, index: int) -> Any:
        labels = super().labels(index)
        instances = labels.instances
        if self.empty:
            instances = replace(instances, **{name: value[:0] for name, value in vars(instances).items()})
        marks = {name: np.full(len(instances), getattr(self, name)) for name in ("crowd", "ignore")}
        if self.crowd and self.ignore:  # one of either, in turn
            marks["crowd"][::2], marks["ignore"][1::2] = False, False
        return replace(labels, instances=replace(instances, **marks))


def marked(**marks: bool) -> Marked:
    source = Marked(2, height=64, width=80)
    for name, value in marks.items():
        setattr(source, name, value)
    return source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (scenes(0), "no image to train on"),
        (marked(empty=True), "nothing to learn: no instance is labelled in 2 images"),
        (
            marked(crowd=True),
            r"all \d+ instances are crowds \(CVAT writes iscrowd 1 for every mask\): set ",
        ),
        (marked(ignore=True), r"all \d+ instances are crowds or marked as not to be judged"),
        (marked(crowd=True, ignore=True), r"all \d+ instances are crowds or marked as not to be judged"),
    ],
)
def test_nothing_to_learn_is_refused_at_once(source: Source, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{source.name}: .*{message}"):
        run(tmp_path / "run", source)
    assert not (tmp_path / "run").exists()
    check_learnable([source, scenes(1)])  # there is something in the other


def test_the_problem_that_may_be_the_reason_is_named() -> None:
    source = marked(empty=True)
    source.problems = [Problem("a.json", 7, "bbox of no area"), Problem("a.json", 8, "bbox of no area")]
    with pytest.raises(ValueError, match=r"2 problems were skipped .*, the first: a.json: annotation 7: bbox of no"):
        check_learnable([source])


def test_a_loss_that_is_nan_names_images_checkpoint_and_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)
    calls, compute = iter(range(9)), learner.compute_losses

    def compute_losses(*arguments: Any) -> Any:
        found = compute(*arguments)
        return {name: loss * torch.nan for name, loss in found.items()} if next(calls) == 2 else found

    monkeypatch.setattr(learner, "compute_losses", compute_losses)
    with pytest.raises(ValueError, match="the loss became nan") as caught:
        run(tmp_path)
    text = str(caught.value)
    assert "(objectness nan, mask nan, dice nan, quality nan) in iteration 3, in a batch of 00000" in text
    assert f"The last good checkpoint is {tmp_path / 'last.safetensors'}, after iteration 2." in text
    assert "`instancefcn validate`" in text
    assert "a lower optimization.learning_rate than 0.002" in text
    assert (read_state(tmp_path / STATE_FILE).iteration, iteration_of(tmp_path)) == (2, 2)


@pytest.mark.parametrize("clip_norm", [0.0, 10.0])
def test_a_gradient_that_is_infinite_is_told_of_before_it_spoils_the_weights(clip_norm: float, tmp_path: Path) -> None:
    recipe = replace(RECIPE, optimization=replace(RECIPE.optimization, clip_norm=clip_norm, precision="bf16"))
    plain_step = Learner.step

    def step(self: Learner, batch: Any, rate: float) -> Any:
        weight = next(p for p in self.network.parameters() if p.requires_grad)
        weight.register_hook(lambda gradient: gradient * torch.inf)
        return plain_step(self, batch, rate)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Learner, "step", step)
        with pytest.raises(
            ValueError, match="the gradient became infinite or NaN in iteration 1, in a batch"
        ) as caught:
            run(tmp_path, recipe=recipe)
    assert "Nothing was saved yet" in str(caught.value)
    assert "--precision fp32" in str(caught.value)
    assert ("optimization.clip_norm = 10" in str(caught.value)) == (clip_norm == 0)


def test_weights_that_are_nan_never_take_the_place_of_good_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)
    plain_step = Learner.step

    def step(self: Learner, batch: Any, rate: float) -> Any:
        losses = plain_step(self, batch, rate)
        if (tmp_path / STATE_FILE).exists():
            with torch.no_grad():
                next(self.network.parameters()).fill_(torch.nan)
        return losses

    monkeypatch.setattr(Learner, "step", step)
    with pytest.raises(ValueError, match="the weights became infinite or NaN"):
        run(tmp_path)
    assert (read_state(tmp_path / STATE_FILE).iteration, iteration_of(tmp_path)) == (1, 1)


def iteration_of(out: Path) -> int:
    return load_checkpoint(out / "last.safetensors").training["iteration"]


@pytest.mark.parametrize("name", ["last.safetensors", "last.state", "best.safetensors"])
def test_a_full_disk_names_the_file_and_what_is_safe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)

    def write(path: Path, content: bytes | str) -> None:
        if path.name == name and path.exists():  # full since it was to be written for the second time
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_whole(path, content)

    with monkeypatch.context() as patched:
        for module in (container, log, state):
            patched.setattr(module, "write_whole", write)
        with pytest.raises(OSError, match="No space left on device") as caught:
            run(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).endswith(
        f"No space left on device. The last good checkpoint is {tmp_path / 'last.safetensors'}, after iteration "
        f"1: make room, then go on with --resume: {str(tmp_path / name)!r}"
    )
    assert read_state(tmp_path / STATE_FILE).iteration == 1
    load_checkpoint(tmp_path / "last.safetensors")
    run(tmp_path, resume=True)
    assert iteration_of(tmp_path) == 4


def test_a_log_on_a_full_disk_names_its_file(tmp_path: Path) -> None:
    own = log.Log(tmp_path, 0)
    own.path = Path("/dev/full")
    if not own.path.exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        own.write(1, 1.0, {"loss": 1.0})


class Vanishing(SyntheticScenes):
    """Scenes of which the second is gone."""

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise ValueError("images/b.png: no such file")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_vanished_is_told_of_once(workers: int, tmp_path: Path) -> None:
    told = run(tmp_path, Vanishing(2, height=64, width=80), workers=workers)
    lost = [line for line in told if "b.png" in line]
    assert lost == ["warning: left out of training, another image is taken: images/b.png: no such file"]


def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        run(tmp_path / name, validation=[scenes(2, seed=5)])
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    lines = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in "ab"
    ]
    assert lines[0] == lines[1] != []
