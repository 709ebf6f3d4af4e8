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
from instancefcn.training.recipe import Recipe
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


def command(processes: int, spec: str, out: Path, iterations: int, *more: str) -> list[str]:
    words = ["train", "--data", spec, "--val", spec, "--recipe", str(out.parent / "recipe.toml"), "--out", str(out)]
    words += ["--init", "random", "--iterations", str(iterations), "--device", "cpu", "--workers", "0"]
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *more]
    return [sys.executable, *(start if processes > 1 else []), "-m", "instancefcn", *words]


def write_recipe(folder: Path, batch_size: int = 2, accumulate: int = 1) -> None:
    (folder / "recipe.toml").write_text(
        f"base = {json.dumps(str(RECIPE))}\n[optimization]\nbatch_size = {batch_size}\naccumulate = {accumulate}\n"
    )


def test_two_processes_are_one_with_two_passes(tmp_path: Path) -> None:
    spec, found = write_scenes(tmp_path / "data"), {}
    for processes, accumulate in ((1, 2), (2, 1)):
        write_recipe(tmp_path, accumulate=accumulate)
        out = tmp_path / f"of-{processes}"
        done = subprocess.run(
            command(processes, spec, out, 20), capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("checkpoint: ") == 1
        assert done.stdout.count(": 4 images") == 2  # a line for --data, one for --val
        state = read_state(out / STATE_FILE)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        found[processes] = state.history["first"], [line for line in lines if "loss_mask" not in line], state.network
    assert len(found[1][0]) == 20
    for one, two in zip(found[1][0], found[2][0], strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    for one, two in zip(found[1][1], found[2][1], strict=True):  # validations, whose images the processes share
        assert one | {"seconds": 0} == pytest.approx(two | {"seconds": 0}, nan_ok=True)
    for name, tensor in found[1][2].items():
        torch.testing.assert_close(tensor, found[2][2][name], atol=1e-4, rtol=1e-3)


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


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")
def test_a_killed_process_is_named_and_the_restart_goes_on(tmp_path: Path) -> None:
    """torchrun starts all anew, and they resume from the last state."""
    write_recipe(tmp_path)
    spec, out = write_scenes(tmp_path / "data"), tmp_path / "run"
    code = "from instancefcn.training import trainer; trainer.SAVE_EVERY = -1;"
    script = tmp_path / "often.py"
    script.write_text(f"{code}\nfrom instancefcn.apps.cli import main; main()\n")
    words = command(2, spec, out, 40, "--max-restarts", "1")
    words[words.index("-m", 5) : words.index("train")] = [str(script)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (out / STATE_FILE).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        ranks = sorted(children(process.pid), key=lambda one: _environment(one)["RANK"])
        os.kill(ranks[1], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr[-3000:]
    assert "training is saved after iteration" in stderr
    assert (again := re.search(r"goes on after iteration (\d+)", stdout)), stdout + stderr[-3000:]
    assert 0 < int(again[1]) < 40
    assert read_state(out / STATE_FILE).iteration == 40


def _environment(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
