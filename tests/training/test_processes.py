"""Training on several processes, and in several passes a step: the same as in one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.model.build import build_network
from instancefcn.proposals import Proposals
from instancefcn.training import validation
from instancefcn.training.batch import BatchMaker
from instancefcn.training.dataset import TrainingStream
from instancefcn.training.learner import Learner
from instancefcn.training.loop import train
from instancefcn.training.processes import images_of_pass
from instancefcn.training.recipe import Recipe, load_recipe
from instancefcn.training.state import STATE_FILE, read_state
from instancefcn.training.validation import validate
from tiny import TINY, scenes

RECIPE = Path(__file__).parent.parent / "tiny.toml"


def write_scenes(folder: Path) -> str:
    """A spec of four scenes."""
    for index in range(4):
        sample = scenes()[index]
        labels = np.zeros(sample.image.shape[:2], dtype=np.uint8)
        for value, rle in enumerate(sample.instances.rles, start=1):
            labels[decode(rle)] = value
        for part, array in (("images", sample.image), ("masks", labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / part / f"{index}.png")
    return f"labels:{folder}"


def write_recipe(folder: Path, batch_size: int = 2, accumulate: int = 1) -> None:
    (folder / "recipe.toml").write_text(
        f"base = {json.dumps(str(RECIPE))}\n[optimization]\nbatch_size = {batch_size}\naccumulate = {accumulate}\n"
    )


Known = tuple[dict[str, Any], list[dict[str, Any]], dict[str, torch.Tensor]]


def learnt(out: Path) -> Known:
    """The history of a run, its validations without their seconds, and its weights."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    state = read_state(out / STATE_FILE)
    return state.history, [line | {"seconds": 0} for line in lines if "loss_mask" not in line], state.network


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def environment(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")
def test_two_processes_of_which_one_is_killed_are_one_with_two_passes(tmp_path: Path) -> None:
    """torchrun starts both anew, which resume from the last state."""
    spec, one, two = write_scenes(tmp_path / "data"), tmp_path / "one", tmp_path / "two"
    script = tmp_path / "often.py"
    script.write_text(
        "from instancefcn.training import trainer; trainer.SAVE_EVERY = -1\n"
        "from instancefcn.apps.cli import main; main()\n"
    )
    words = ["train", "--data", spec, "--val", spec, "--recipe", str(tmp_path / "recipe.toml"), "--out", str(two)]
    words += ["--init", "random", "--iterations", "12", "--device", "cpu", "--workers", "0"]
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", str(script)]
    write_recipe(tmp_path)
    with subprocess.Popen(
        [sys.executable, *start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (two / STATE_FILE).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        ranks = sorted(children(process.pid), key=lambda child: environment(child)["RANK"])
        os.kill(ranks[1], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr[-3000:]
    assert "training is saved after iteration" in stderr
    assert (again := re.search(r"goes on after iteration (\d+)", stdout)), stdout + stderr[-3000:]
    assert 0 < int(again[1]) < 12
    assert stdout.count("checkpoint: ") == 1
    assert stdout.count(": 4 images") == 2 * 2  # a line for --data, one for --val, of each start

    write_recipe(tmp_path, accumulate=2)
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    sources = [open_source(spec)]
    train(recipe, sources, one, validation=sources, init="random", iterations=12, device="cpu", workers=0)
    (history, validations, weights), (history_2, validations_2, weights_2) = learnt(one), learnt(two)
    assert len(history["first"]) == 12
    for losses, losses_2 in zip(history["first"], history_2["first"], strict=True):
        assert losses == pytest.approx(losses_2, abs=1e-5)
    for line, line_2 in zip(validations, validations_2, strict=True):  # whose images the processes share
        assert line == pytest.approx(line_2, nan_ok=True)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, weights_2[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("objectness", ["focal", "logistic"])
def test_passes_add_up_to_one_step(objectness: str) -> None:
    """Four images at once, two by two, and one by one, where one image has no instance."""
    loss = replace(TINY.loss, objectness=objectness)
    plain = replace(TINY.optimization, optimizer="sgd", batch_size=4)  # adamw divides what hardly differs from zero

    def after_steps(accumulate: int) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        recipe: Recipe = replace(TINY, loss=loss, optimization=replace(plain, accumulate=accumulate))
        torch.manual_seed(0)
        network = build_network(recipe.network)
        learner = Learner(Fabric(accelerator="cpu"), recipe, network)
        make = BatchMaker(recipe, network.training_window_sizes, network.size_multiple)
        stream = TrainingStream([scenes(4)], recipe.augmentation, 1.0, 0)
        images = [stream[index] for index in range(4)]
        each = 4 // accumulate
        batches = [make(images[start : start + each]) for start in range(0, 4, each)]
        return [learner.step(batches, 0.01) for _ in range(3)], network.state_dict()

    losses, weights = after_steps(1)
    for accumulate in (2, 4):
        others, other_weights = after_steps(accumulate)
        for one, other in zip(losses, others, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        for name, tensor in weights.items():
            torch.testing.assert_close(tensor, other_weights[name], atol=1e-4, rtol=1e-3)


def test_images_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    recipe = replace(TINY, optimization=replace(TINY.optimization, batch_size=3, accumulate=2))
    with pytest.raises(ValueError, match=r"batch_size is 3, which 1 processes with 2 passes .*a multiple of 2"):
        train(recipe, [scenes()], tmp_path / "run", init="random", device="cpu", workers=0)
    assert not (tmp_path / "run").exists()
    assert images_of_pass(Fabric(accelerator="cpu"), replace(recipe.optimization, batch_size=8)) == 4


class Rank(Fabric):
    """One of two processes, as far as a validation asks."""

    def __init__(self, rank: int) -> None:
        super().__init__(accelerator="cpu")
        self.rank = rank

    @property
    def global_rank(self) -> int:
        return self.rank

    @property
    def world_size(self) -> int:
        return 2


class Corner(Proposer):
    """Proposes the first instance of each scene."""

    def __init__(self) -> None:
        self.masks = {sample.image.tobytes(): sample.instances.rles[0] for sample in scenes()}

    def __call__(self, image: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        mask = self.masks[image.tobytes()]
        return Proposals([mask], tight_boxes([mask]), np.array([0.5]), *image.shape[:2])


def test_processes_share_the_images_of_a_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, parts = validate(Corner(), [scenes()]), []
    assert alone[scenes().name]["AR@100"] > 5
    monkeypatch.setattr(validation, "gather", lambda fabric, items: parts.append(items) or items)
    for rank in range(2):
        validate(Corner(), [scenes()], fabric=Rank(rank))
    results, objects = parts[::2], parts[1::2]  # of each process
    assert [[result["image_id"] for result in part] for part in results] == [[1, 3], [2, 4]]
    assert [len(part) for part in objects] == [2, 2]
    for rank in range(2):
        gathered = iter([results[0] + results[1], objects[0] + objects[1]])
        monkeypatch.setattr(validation, "gather", lambda fabric, items, gathered=gathered: next(gathered))
        shared = validate(Corner(), [scenes()], fabric=Rank(rank))
        assert shared[scenes().name] == pytest.approx(alone[scenes().name], nan_ok=True)
