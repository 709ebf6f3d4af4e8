"""What a user relies on: best is never worse than the start, and a training that learnt nothing says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instancefcn.data.selection import Selection
from instancefcn.data.source import Labels
from instancefcn.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer
from instancefcn.model.build import build_network
from instancefcn.objects import ObjectRule
from instancefcn.training import calibration, trainer
from instancefcn.training.history import History, standard_error
from instancefcn.training.initial_weights import choose_init, initial_network
from instancefcn.training.keeping_out import divide, files_of, keep_out
from instancefcn.training.log import Bars
from instancefcn.training.loop import train
from instancefcn.training.recipe import load_recipe
from instancefcn.training.state import STATE_FILE, read_state
from instancefcn.training.summary import summarize
from synthetic import SyntheticScenes
from tiny import TINY, scenes
from training.dying import Dying, KilledError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(TINY, network=replace(TINY.network, backbone="test_efficientnet"))


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A checkpoint of the recipe's network that proposes by rules of its own."""
    torch.manual_seed(1)
    weights = build_network(RECIPE.network).state_dict()
    path = tmp_path / "start.safetensors"
    save_checkpoint(Checkpoint(RECIPE.network, replace(RECIPE.inference, candidates=7), weights, {}), path)
    return path


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Validations after every second of four iterations, with scores from this list; all must be asked for."""
    scores: list[float] = []
    monkeypatch.setattr(trainer, "validate", lambda *_, **__: {"scenes": {"AR@100": scores.pop(0)}})
    yield scores
    assert scores == []


def run(out: Path, init: Path | str, **options: Any) -> list[str]:
    """Train for four iterations with validation; what was told."""
    told: list[str] = []
    known = scenes()
    known.name = "scenes"
    settings = {"validation": [known], "device": "cpu", "workers": 0, "report": told.append} | options
    train(RECIPE, [scenes()], out, init=str(init), **settings)
    return told


def test_best_is_the_start_where_nothing_beats_it(tmp_path: Path, start: Path, scored: list[float]) -> None:
    scored += [90.0, 40.0, 50.0]
    told = run(tmp_path / "run", start)
    best, last, first = (
        load_checkpoint(p) for p in (tmp_path / "run/best.safetensors", tmp_path / "run/last.safetensors", start)
    )
    assert best.inference == first.inference != last.inference
    assert best.weights.keys() == first.weights.keys()
    assert all(torch.equal(best.weights[name], tensor) for name, tensor in first.weights.items())
    assert any(not torch.equal(last.weights[name], tensor) for name, tensor in first.weights.items())
    assert (best.training["iteration"], last.training["iteration"]) == (0, 4)
    assert best.training["validation"] == {"scenes": {"AR@100": 90.0}}
    scores = "90.0 before training, then 40.0, 50.0; best.safetensors has the weights that it started from"
    assert scores in "\n".join(told)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "scenes/AR@100" in line] == [0, 2, 4]


def test_best_is_what_beats_the_start(tmp_path: Path, start: Path, scored: list[float]) -> None:
    scored += [50.0, 51.0, 9.0]
    told = run(tmp_path / "run", start)
    assert load_checkpoint(tmp_path / "run/best.safetensors").training["iteration"] == 2
    assert any(line.startswith("warning: the network ended worse than it started") for line in told)


def test_chance_is_no_reason_to_keep_the_start(tmp_path: Path, start: Path, scored: list[float]) -> None:
    scored += [50.0, 45.0, 44.0]  # of few instances
    told = run(tmp_path / "run", start)
    assert load_checkpoint(tmp_path / "run/best.safetensors").training["iteration"] == 4
    assert any(
        "50.0 before training, then 45.0, 44.0; best.safetensors has the weights that scored 44.0" in line
        for line in told
    )
    assert not any("ended worse" in line for line in told)


@pytest.mark.parametrize(
    ("start", "scores", "instances", "best"),
    [
        (None, [30.0, 18.0], 10, 1),  # 30 may be 12.8 too high; that 18 may be 11.9 too low is not asked
        (None, [50.0], 100, 0),
        (None, [50.0, 46.0], 100, 1),  # whose standard error is 4.9 points
        (None, [50.0, 45.0], 100, 0),
        (None, [50.0, 46.0, 42.0], 100, 1),  # not below the highest of all by more than its error
        (None, [50.0, 45.0, 46.0], 100, 2),
        (None, [50.0, 46.0], 10_000, 0),
        (50.0, [46.0, 30.0], 100, 1),
        (50.0, [40.0, 30.0], 100, 0),
        (None, [50.0, 49.9], 0, 0),  # an older state, which does not know of how many instances it is
        (None, [0.0, 0.0], 100, 1),
    ],
)
def test_the_best_is_the_latest_that_chance_may_have_put_below_the_highest(
    start: float | None, scores: list[float], instances: int, best: int
) -> None:
    assert History(start, scores, instances=instances).best == best


def test_an_older_states_history_is_read() -> None:
    assert History.from_table({"start": 5.0, "scores": [6.0], "standard_error": 2.0}) == History(5.0, [6.0])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("instances", [4, 400])
def test_the_standard_error_is_that_of_many_draws(share: float, instances: int) -> None:
    smoothed = (share * instances + 2) / (instances + 4)
    draws = np.random.default_rng(0).binomial(instances + 4, smoothed, 100_000) / (instances + 4)
    assert standard_error(100 * share, instances) == pytest.approx(100 * draws.std(), rel=0.02)


def test_the_start_is_measured_by_its_own_rules_and_one_measure_decides_to_the_end(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[InferenceConfig] = []

    def measure(proposer: Proposer, *_: Any, **__: Any) -> dict[str, dict[str, float]]:
        configs.append(proposer.config)
        return {"scenes": {"AR@100": 10.0 + len(configs)} | ({"F1": 50.0} if len(configs) > 1 else {})}

    monkeypatch.setattr(trainer, "validate", measure)
    run(tmp_path / "run", start)
    assert configs == [load_checkpoint(start).inference, RECIPE.inference, RECIPE.inference]
    history = read_state(tmp_path / "run" / STATE_FILE).history
    assert (history["measure"], history["start"], history["scores"]) == ("AR@100", 11, [12, 13])


def test_weights_that_were_no_checkpoint_are_not_measured(tmp_path: Path, scored: list[float]) -> None:
    scored += [5.0, 6.0]
    run(tmp_path, "random")
    assert load_checkpoint(tmp_path / "best.safetensors").training["iteration"] == 4


def test_a_checkpoint_of_another_network_is_nothing_to_compare_with(start: Path) -> None:
    assert initial_network(RECIPE, str(start)).checkpoint is not None
    with pytest.warns(UserWarning, match="tensors fit"):
        other = initial_network(replace(RECIPE, network=replace(RECIPE.network, k=2)), str(start))
    assert other.checkpoint is None


@pytest.mark.parametrize("reads", [0, 5])  # killed before the first iteration, and after the first validation
def test_a_resumed_run_remembers_its_start(
    reads: int, tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, augmentation=replace(RECIPE.augmentation, copy_paste=0.0))
    options = {"validation": [scenes(1, seed=5)], "device": "cpu", "workers": 0}
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 0.5)
    whole: list[str] = []
    train(recipe, [scenes()], tmp_path / "whole", init=str(start), report=whole.append, **options)
    dying = Dying(4, height=64, width=80, seed=0)
    dying.reads_left = reads
    with pytest.raises(KilledError):
        train(recipe, [dying], tmp_path / "cut", init=str(start), **options)
    start.unlink()  # what a resumed run needs is in its state
    told: list[str] = []
    train(recipe, [scenes()], tmp_path / "cut", init=str(start), resume=True, report=told.append, **options)
    assert told[-len(whole) + 2 :] == whole[2:]  # the same summary: losses and scores of the whole run
    for name in ("best", "last"):
        first, second = (load_checkpoint(tmp_path / out / f"{name}.safetensors") for out in ("whole", "cut"))
        assert first.training["iteration"] == second.training["iteration"]
        assert first.training["validation"] == second.training["validation"]
        assert all(torch.equal(tensor, second.weights[key]) for key, tensor in first.weights.items())


def test_a_tenth_is_kept_out_and_not_trained_on() -> None:
    sources = [scenes(30, seed=1), scenes(10, seed=2)]
    training, (kept,) = keep_out(sources, seed=0)
    assert [source.name for source in training] == [source.name for source in sources]
    assert (sum(map(len, training)), len(kept)) == (36, 4)
    images = [source.image(index).tobytes() for source in [*training, kept] for index in range(len(source))]
    assert len(set(images)) == 40
    again, other = (keep_out(sources, seed)[1][0] for seed in (0, 1))
    pixels = [[one.image(index).tobytes() for index in range(4)] for one in (kept, again, other)]
    assert pixels[0] == pixels[1] != pixels[2]


@pytest.mark.parametrize(("images", "kept"), [(19, 0), (20, 2), (34, 3), (100, 10)])
def test_how_many_images_are_kept_out(images: int, kept: int) -> None:
    division = divide([scenes(images)], [], seed=0)
    assert sum(map(len, division.validation)) == kept
    assert (division.trained_on, division.labelled) == (images - kept, images)
    assert ("best.safetensors is the last" in division.described) == (kept == 0)
    assert (f"validates on {kept} of the {images} images" in division.described) == (kept > 0)


def test_nothing_is_kept_out_where_validation_is_given_or_it_is_switched_off() -> None:
    source, val = scenes(30), scenes(3, seed=9)
    given, off = divide([source], [val], 0), divide([source], [], 0, may_keep_out=False)
    assert (given.training, given.validation) == ([source], [val])
    assert (off.training, off.validation) == ([source], [])


class Empty(SyntheticScenes):
    """Scenes of which only some have labels, and which may lack others."""

    labelled: frozenset[int] = frozenset()

    def labels(self, index: int):
        labels = super().labels(index)
        if index in self.labelled:
            return labels
        return replace(labels, instances=replace(labels.instances, crowd=np.ones(len(labels.instances), dtype=bool)))


def test_images_without_objects_are_not_kept_out() -> None:
    source = Empty(40, height=64, width=80)
    assert keep_out([source], 0)[1] == []
    source.labelled = frozenset(range(6))
    _, (kept,) = keep_out([source], 0)
    assert {index for _, index in kept.chosen} <= source.labelled
    assert len(kept) == 3  # half of them at most


def test_images_with_unlabelled_objects_are_kept_out_only_where_there_are_no_others() -> None:
    partial, whole = scenes(30, seed=1), scenes(30, seed=2)
    partial.partial = True
    _, (kept,) = keep_out([partial, whole], 0)
    assert len(kept) == 6
    assert not kept.partial
    assert keep_out([partial], 0)[1][0].partial


class Filed(SyntheticScenes):
    """Scenes that lie in files."""

    def labels(self, index: int) -> Labels:
        return replace(super().labels(index), path=Path(f"{self.name}/{index}.png"))


def test_an_image_of_two_sources_is_kept_out_of_both() -> None:
    one, again = (Filed(30, height=64, width=80, seed=1) for _ in range(2))
    training, (kept,) = keep_out([one, again], 0)
    assert len(kept) == 6
    assert files_of(training).isdisjoint(files_of([kept]))
    assert sum(map(len, training)) == 60 - 2 * len(files_of([kept]))


def test_validating_on_what_is_trained_on_is_warned_of() -> None:
    one, other = Filed(30, height=64, width=80, seed=1), Filed(3, height=64, width=80, seed=2)
    assert "warning" not in divide([one], [other], 0).described
    shared = Selection([(one, index) for index in range(5)], "val")
    assert "warning: 5 of them are trained on, too" in divide([one], [shared], 0).described


def test_validation_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled object to choose the best checkpoint by"):
        divide([scenes(30)], [Empty(3, height=64, width=80)], 0)
    with pytest.raises(ValueError, match="given for validation twice; each needs a name of its own"):
        divide([scenes(30)], [scenes(3)] * 2, 0)  # the second would hide what the first gave


def test_training_keeps_out_and_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    recipe = replace(RECIPE, inference=replace(RECIPE.inference, candidates=5))
    train(recipe, [scenes(20)], tmp_path, init="random", device="cpu", workers=0, report=told.append)
    assert told[0].startswith("validates on 2 of the 20 images")
    assert "starts from random weights" in told[1]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "kept out/AR@100" in line] == [2, 4]


def test_what_a_training_waits_for_has_a_bar(tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    track = Bars.track

    def watched(bars: Bars, things: Any, text: str) -> Iterator[Any]:
        for thing in track(bars, things, text):
            assert [task.description for task in bars.progress.tasks][1:] == [text]
            seen.append(text)
            yield thing
        assert len(bars.progress.tasks) == 1

    monkeypatch.setattr(Bars, "track", watched)
    sources = {"sources": [scenes(18)], "validation": [scenes(2)], "device": "cpu", "workers": 0}
    train(RECIPE, out=tmp_path / "run", init=str(start), choose_sides=True, **sources)
    # Two images before, halfway and at the end; then of the best, which is the last, by its only side; its rule.
    assert seen == ["validating"] * 6 + ["choosing the side"] * 2 + ["choosing the threshold"] * 2


def test_auto_starts_from_the_shipped_checkpoint_where_labels_are_few() -> None:
    lite, paper = load_recipe("lite"), load_recipe("paper")
    assert [choose_init("auto", lite, labelled) for labelled in (1, 999, 1000)] == ["shipped", "shipped", "imagenet"]
    assert choose_init("auto", paper, 10) == "imagenet"
    assert choose_init("random", lite, 10) == "random"


def test_nine_iterations_are_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    train(RECIPE, [scenes()], tmp_path, init="random", iterations=9, device="cpu", workers=0, report=told.append)
    assert "trained 9 iterations: 18 views, 4.5 epochs of 4 images" in told
    assert any(line.startswith("loss: ") and " at first, " in line for line in told)
    assert [line for line in told if line.startswith("warning: 9 iterations are too few")]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 9]


def history(losses: list[float], start: float | None = None, scores: list[float] | None = None) -> History:
    told = History(start, scores or [])
    for loss in losses:
        told.add_losses({"mask": loss})
    return told


def test_losses_are_averaged_over_both_ends_of_a_run() -> None:
    assert history([1.0, 2.0, 3.0, 6.0, 7.0]).loss_means(5) == ({"mask": 1.5}, {"mask": 6.5})
    assert history([4.0]).loss_means(1) == ({"mask": 4.0}, {"mask": 4.0})
    assert history([9.0] * 20 + [5.0] * 100 + [1.0] * 20).loss_means(140) == ({"mask": 9.0}, {"mask": 1.0})
    assert history([]).loss_means(0) == ({}, {})


LEARNT, STUCK = [5.0] * 30 + [1.0] * 30, [5.0] * 60


@pytest.mark.parametrize(
    ("told", "iterations", "warning"),
    [
        (history(LEARNT), 60, None),
        (history(LEARNT), 49, "49 iterations are too few to learn from"),
        (history(STUCK), 60, "the loss did not fall"),
        (history(LEARNT, None, [10.0, 20.0]), 60, None),
        (history(STUCK, 10.0, [20.0]), 60, None),
        (history(LEARNT, None, [20.0, 20.0]), 60, "validation never rose during training"),
        (history(LEARNT, None, [20.0]), 60, None),
        (history(LEARNT, None, [0.1, 0.9]), 60, "validation AR@100 is 0.9: it finds next to nothing"),
        (history(LEARNT, None, [0.1, 1.0]), 60, None),
        (history(LEARNT, 10.0, [20.0, 15.0]), 60, None),
        (history(LEARNT, 20.0, [20.0, 20.0]), 60, "never rose above what training started from"),
        (history(LEARNT, 20.0, [19.0, 18.0]), 60, "so best.safetensors has the weights that it started from"),
        (history(LEARNT, 20.0, [21.0, 18.0]), 60, "so best.safetensors has earlier weights"),
    ],
)
def test_a_training_that_learnt_nothing_says_so(told: History, iterations: int, warning: str | None) -> None:
    warnings = [line for line in summarize(told, iterations, iterations, 10) if line.startswith("warning: ")]
    assert len(warnings) == (warning is not None)
    if warning is not None:
        assert warning in warnings[0]
        assert "--minutes" in warnings[0]


RULE, CHOSEN = ObjectRule(threshold=0.125, scores=(0.0, 0.5), chances=(0.25, 0.75)), ObjectRule(threshold=0.75)


Choices = list[tuple[float, int, ObjectRule | None]]


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> Choices:
    """For each time that a rule is chosen: the proposer's candidates, the images, and the rule it starts from."""
    made: Choices = []

    def choose_rule(proposer: Any, sources: Any, start: ObjectRule | None, track: Any) -> ObjectRule:
        made.append((proposer.config.candidates, sum(map(len, sources)), start))
        return replace(CHOSEN, threshold=CHOSEN.threshold + len(made) / 16)

    monkeypatch.setattr(calibration, "choose_rule", choose_rule)
    return made


def rules(out: Path) -> list[ObjectRule | None]:
    """Of the best and of the last checkpoint."""
    return [load_checkpoint(out / f"{name}.safetensors").objects for name in ("best", "last")]


def test_the_rule_is_chosen_on_the_validation_images(
    tmp_path: Path, start: Path, scored: list[float], choices: Choices
) -> None:
    save_checkpoint(replace(load_checkpoint(start), objects=RULE), start)
    scored += [90.0, 40.0, 45.0]
    run(tmp_path, start, validation=[scenes(16, seed=3)])  # the best proposes by rules of the start's
    assert choices == [(7, 16, RULE), (RECIPE.inference.candidates, 16, RULE)]
    assert [rule.threshold for rule in rules(tmp_path) if rule] == [0.8125, 0.875]


def test_a_rule_is_chosen_once_where_the_best_is_the_last(
    tmp_path: Path, scored: list[float], choices: Choices
) -> None:
    scored += [40.0, 45.0]
    told = run(tmp_path, "random", validation=[scenes(16, seed=3)])
    assert [start for *_, start in choices] == [None]
    assert rules(tmp_path) == [replace(CHOSEN, threshold=0.8125)] * 2
    assert "objects: those that score 0.812 or more, chosen on 16 validation images" in told


@pytest.mark.parametrize(("validation", "partial"), [(15, False), (16, True)])
def test_the_rule_of_the_start_stays_where_labels_are_few_or_partial(
    validation: int,
    partial: bool,
    tmp_path: Path,
    start: Path,
    scored: list[float],
    choices: Choices,
) -> None:
    save_checkpoint(replace(load_checkpoint(start), objects=replace(RULE, alike=0.3)), start)
    scored += [50.0, 60.0, 55.0]
    val = scenes(validation, seed=3)
    val.partial = partial
    run(tmp_path, start, validation=[val])
    assert choices == []
    assert rules(tmp_path) == [RULE, RULE]


def test_a_resumed_run_keeps_the_rule_of_its_start(tmp_path: Path, start: Path) -> None:
    """But for ``alike``, which is for things that it was not trained on."""
    save_checkpoint(replace(load_checkpoint(start), objects=replace(RULE, alike=0.3)), start)
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "iterations": 1, "report": lambda _: None}
    train(RECIPE, [scenes()], tmp_path, init=str(start), **options)
    start.unlink()
    train(RECIPE, [scenes()], tmp_path, resume=True, **{**options, "iterations": 2})
    assert load_checkpoint(tmp_path / "last.safetensors").training["iteration"] == 2
    assert rules(tmp_path) == [RULE, RULE]


def test_a_resumed_run_chooses_its_rule_with_that_of_its_start(
    tmp_path: Path, start: Path, scored: list[float], choices: Choices
) -> None:
    save_checkpoint(replace(load_checkpoint(start), objects=RULE), start)
    scored += [50.0, 60.0, 70.0]
    val = scenes(16, seed=3)
    val.name = "scenes"
    options: dict[str, Any] = {"device": "cpu", "workers": 0, "validation": [val], "report": lambda _: None}
    train(RECIPE, [scenes()], tmp_path, init=str(start), iterations=1, **options)
    start.unlink()
    train(RECIPE, [scenes()], tmp_path, resume=True, iterations=2, **options)
    assert [rule for *_, rule in choices] == [RULE] * len(choices)
    assert len(choices) == 2


def test_a_network_that_finds_nothing_keeps_its_rule(
    tmp_path: Path, start: Path, scored: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "choose_rule", lambda *_: None)
    save_checkpoint(replace(load_checkpoint(start), objects=RULE), start)
    scored += [50.0, 60.0, 55.0]
    told = run(tmp_path, start, validation=[scenes(16, seed=3)])
    assert rules(tmp_path) == [RULE, RULE]
    assert "objects: nothing was found on 16 validation images to choose a rule by" in told


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
def test_checkpoints_of_no_run_are_not_written_over(name: str, start: Path) -> None:
    (out := start.parent / "out").mkdir()
    kept = start.rename(out / name)
    before = kept.read_bytes()
    with pytest.raises(ValueError, match=f"{name} would be written over, and there is no run to go on with"):
        run(out, kept)
    assert kept.read_bytes() == before
