"""What a run goes on from: a state that is checked value by value, the same data, and a log without a cut line."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from instancefcn.config import to_table
from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.model.build import build_network
from instancefcn.model.network import Network
from instancefcn.training import trainer
from instancefcn.training.fingerprint import Fingerprint, differences
from instancefcn.training.log import Log
from instancefcn.training.loop import train
from instancefcn.training.state import STATE_FILE, read_state
from synthetic import SyntheticScenes
from tiny import TINY, scenes
from training.dying import Dying, KilledError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(
    TINY,
    network=replace(TINY.network, backbone="test_efficientnet"),
    augmentation=replace(TINY.augmentation, copy_paste=0.0),
)


def run(out: Path, sources: list[Source] | None = None, **options: Any) -> list[str]:
    """Train for a moment; what was told."""
    told: list[str] = []
    settings = {"iterations": 1, "init": "random", "device": "cpu", "workers": 0, "report": told.append} | options
    train(RECIPE, [scenes()] if sources is None else sources, out, **settings)
    return told


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state of a short run."""
    out = tmp_path_factory.mktemp("trained")
    run(out)
    return (out / STATE_FILE).read_bytes()


Damage = Callable[[dict[str, Any]], Any]


def put(*path: Any, value: Any) -> Damage:
    """Replace one value of a state."""

    def damage(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return damage


WEIGHT = "backbone.net.conv_stem.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "iteration": (put("iteration", value="7"), "iteration is '7'"),
    "negative": (put("iteration", value=-1), "iteration is -1"),
    "yes": (put("iteration", value=True), "iteration is True"),
    "seconds": (put("seconds", value=math.nan), "seconds is nan"),
    "due": (put("due", value=1), "due is 1"),
    "unknown": (put("more", value=1), "it has an unknown value 'more'"),
    "missing": (lambda table: table.pop("network"), "missing.*network"),
    "recipe": (put("recipe", value=[]), "recipe is list"),
    "network": (put("network", value=None), "network is None"),
    "no weights": (put("network", value={}), "Missing key"),
    "text weights": (put("network", WEIGHT, value="x"), "conv_stem"),
    "shape": (put("network", WEIGHT, value=torch.ones(1, 2)), "size mismatch"),
    "nan": (lambda table: table["network"][WEIGHT].fill_(math.nan), "infinite or NaN"),
    "averaged": (put("averaged", value={"n_averaged": 3}), "averaged|Missing key|module"),
    "optimizer": (put("optimizer", value={}), "other groups of parameters"),
    "groups": (put("optimizer", "param_groups", value=[1, 2, 3, 4]), "other groups of parameters"),
    "decay": (put("optimizer", "param_groups", 0, "weight_decay", value="x"), "weight_decay is 'x'"),
    "betas": (put("optimizer", "param_groups", 0, "betas", value=3), "betas is 3"),
    "parameter": (put("optimizer", "state", 10**9, value={}), "has no parameter 1000000000"),
    "moments": (
        put("optimizer", "state", 0, "exp_avg", value=torch.ones(2, 7)),
        "'exp_avg' of parameter 0 does not fit",
    ),
    "text moments": (put("optimizer", "state", 0, "exp_avg", value="x"), "does not fit"),
    "history": (put("history", "scores", value=["a"]), "history holds values of other types"),
    "losses": (put("history", "first", value=[{"mask": None}]), "history holds values of other types"),
    "history key": (put("history", "more", value=1), "history has unknown keys"),
    "rule": (put("objects", value={"threshold": "x"}), "threshold must be float"),
    "data": (put("data", value={"training": 3}), "list of the data has other keys"),
    "names": (put("data", "training", 0, "files", value=[3]), "list of the data holds values of other types"),
    "logged": (put("logged", value="x"), "logged is 'x'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_value_of_the_wrong_type_in_a_state_is_named(damage: str, trained: bytes, tmp_path: Path) -> None:
    table = torch.load(io.BytesIO(trained), weights_only=True)
    change, message = DAMAGES[damage]
    change(table)
    torch.save(table, tmp_path / STATE_FILE)
    with pytest.raises(
        ValueError, match=rf"last\.state: not (a training state|the state of this training).*({message})"
    ):
        run(tmp_path, resume=True)


def test_an_older_state_goes_on(trained: bytes, tmp_path: Path) -> None:
    table = torch.load(io.BytesIO(trained), weights_only=True)
    for name in ("data", "due", "logged"):
        del table[name]
    for name in ("validated", "recall"):
        del table["history"][name]
    torch.save(table, tmp_path / STATE_FILE)
    told = run(tmp_path, resume=True, iterations=2)
    assert "warning: " in "".join(told)
    assert any("does not say on which data" in line for line in told)
    assert read_state(tmp_path / STATE_FILE).iteration == 2


class Touch:
    """What a pickle may do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch", "packed", "cut", "empty"])
def test_what_is_no_state_is_refused_by_name_and_runs_nothing(form: str, trained: bytes, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / STATE_FILE
    if form == "pickle":
        path.write_bytes(pickle.dumps(Touch(ran)))
    elif form.endswith("torch"):
        torch.save(Touch(ran), path, _use_new_zipfile_serialization=form == "torch")
    elif form == "packed":  # a few bytes that become many
        with zipfile.ZipFile(io.BytesIO(trained)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
    else:
        path.write_bytes(trained[:-100] if form == "cut" else b"")
    with pytest.raises(ValueError, match=r"last\.state: not a training state"):
        read_state(path)
    assert not ran.exists()


def test_a_cut_line_and_lines_that_the_state_does_not_know_of_are_dropped(tmp_path: Path) -> None:
    lines = [
        '{"iteration": 1, "a": 2}',
        '{"iteration": 2}',
        '{"iteration": 2, "AR": 1}',
        '{"iteration": 3}',
        '{"iterat',
    ]
    for resumed_at, known, kept in [(2, 2, 2), (2, None, 3), (9, None, 4), (9, 9, 4), (0, 0, 0), (1, 2, 1)]:
        (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
        log = Log(tmp_path, resumed_at, known)
        assert (tmp_path / "metrics.jsonl").read_text().splitlines() == lines[:kept]
        assert log.lines == kept


@pytest.mark.parametrize("line", ["[" * 10**5, "3", "null", '{"iteration": "4"}', '{"iteration": NaN}', "\ufffd\x00"])
def test_a_line_of_something_else_is_dropped(line: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"iteration": 1}}\n{line}\n{{"iteration": 2}}\n')
    Log(tmp_path, 5)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"iteration": 1}\n{"iteration": 2}\n'


def test_figures_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    Log(tmp_path, 0).write(3, 1.5, {"AR@100": 2.5, "AR_small@100": math.nan})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert json.loads(text) == {"iteration": 3, "seconds": 1.5, "AR@100": 2.5, "AR_small@100": None}


def selected(source: Source, *indices: int, name: str = "mine") -> Selection:
    return Selection([(source, index) for index in indices], name)


class Relabelled(SyntheticScenes):
    """Scenes of which one lost an instance."""

    def labels(self, index: int) -> Any:
        labels = super().labels(index)
        if index != 1:
            return labels
        instances = labels.instances
        kept = {name: value[1:] for name, value in vars(instances).items()}
        return replace(labels, instances=replace(instances, **kept))


def test_what_differs_between_data_is_named() -> None:
    source = scenes(5)
    before = Fingerprint.of([selected(source, 0, 1, 2)], [selected(source, 3)])
    assert Fingerprint.from_table(to_table(before)) == before
    assert differences(before, Fingerprint.of([selected(source, 0, 1, 2, name="moved")], [selected(source, 3)])) == []

    def told(training: list[Source], validation: list[Source] | None = None) -> list[str]:
        validation = [selected(source, 3)] if validation is None else validation
        return differences(before, Fingerprint.of(training, validation))

    gone, new = "1 image (000003.png) gone", "2 images (000004.png, 000005.png) new"
    assert told([selected(source, 0, 1, 3, 4)]) == [f"--data mine: {gone}; {new}"]
    assert told([selected(source, 0, 1, name="b")]) == [f"--data b (then mine): {gone}"]
    changed = selected(Relabelled(5, height=64, width=80), 0, 1, 2)
    assert told([changed]) == ["--data mine: 1 image (000002.png) changed, in their labels or pixels"]
    assert told([selected(source, 1, 0, 2)]) == ["--data mine: its images come in another order, or repeatedly"]
    assert told([]) == ["--data mine is missing"]
    assert told([selected(source, 0, 1, 2)], []) == ["--val mine is missing"]
    assert told([selected(source, 0, 1, 2), source]) == [f"--data {source.name} is new"]
    partial = selected(source, 0, 1, 2)
    partial.partial = True
    assert "partially labelled" in told([partial])[0]


def test_other_data_are_refused_unless_they_may_differ(tmp_path: Path) -> None:
    source = scenes(5)
    run(tmp_path, [selected(source, 0, 1, 2)])
    with pytest.raises(
        ValueError, match=r"trained on other data: --data mine: 1 image \(000003.png\) gone.*--changed-data"
    ):
        run(tmp_path, [selected(source, 0, 1)], resume=True, iterations=2)
    assert read_state(tmp_path / STATE_FILE).iteration == 1
    told = run(tmp_path, [selected(source, 0, 1)], resume=True, iterations=2, changed_data=True)
    assert told[0].startswith("warning: the run in ")
    assert "(000003.png) gone. It goes on with these" in told[0]
    assert run(tmp_path, [selected(source, 0, 1)], resume=True, iterations=3)[0].startswith("trains on")  # known now


def test_a_budget_that_is_spent_still_ends_with_a_validation_and_a_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)
    dying = Dying(4, height=64, width=80)
    dying.reads_left = 2
    with pytest.raises(KilledError):
        run(tmp_path, [dying], minutes=60.0, iterations=None, validation=[scenes(2, seed=5)])
    assert read_state(tmp_path / STATE_FILE).history["scores"] == []
    for name in ("best", "last"):
        (tmp_path / f"{name}.safetensors").unlink()
    told = run(tmp_path, minutes=1e-9, iterations=None, validation=[scenes(2, seed=5)], resume=True)
    assert any(line.startswith("validation F1: ") for line in told)
    best, last = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("best", "last"))
    assert best.training == last.training
    assert list(best.training["validation"]) == [scenes(2, seed=5).name]
    assert [json.loads(line)["iteration"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()][-1] == 1


def test_a_run_that_kept_images_out_goes_on_so(tmp_path: Path) -> None:
    """Else it would train on what it validates on, and compare scores with nothing."""
    many = scenes(20)
    run(tmp_path, [many])
    with pytest.raises(ValueError, match="kept images out to validate on, and this one would not"):
        run(tmp_path, [many], resume=True, keep_out=False, changed_data=True)
    assert run(tmp_path, [many], resume=True)


def test_a_network_is_the_recipes(tmp_path: Path) -> None:
    """Checkpoints name the recipe's, and would build it from another one's weights."""
    for other, message in (
        (replace(RECIPE.network, window_sizes=(5,)), "the network has .*, and the recipe's "),
        (replace(RECIPE.network, k=2), "the network is not the recipe's: .* have another shape"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, network=build_network(other))
    run(tmp_path, network=build_network(RECIPE.network))


def dropping() -> Network:
    """The recipe's network, with dropout behind its trunk, as ~DeepMask has it in its head."""
    torch.manual_seed(0)
    network = build_network(RECIPE.network)
    network.backbone.register_forward_hook(
        lambda trunk, _, maps: [nn.functional.dropout(one, 0.5, trunk.training) for one in maps]
    )
    return network


def test_what_a_network_drops_is_that_of_the_undisturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that goes on has drawn nothing yet."""
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1.0)
    run(tmp_path / "whole", network=dropping(), iterations=4)
    with pytest.raises(KilledError):
        run(tmp_path / "cut", [Dying(4, height=64, width=80)], network=dropping(), iterations=4)
    torch.rand(7)
    run(tmp_path / "cut", network=dropping(), iterations=4, resume=True)
    whole, cut = (read_state(tmp_path / name / STATE_FILE).network for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
