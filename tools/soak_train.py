"""A training that is killed again and again, by SIGKILL, as ``tools/soak.py --part train``.

The command line trains a tiny network, which saves after every iteration (a real run does every two minutes) and
validates ten times, so that a good part of the moments lie in the writing of checkpoints, and some in validations.
After every kill the files must be whole; the end must have the losses and the weights of an undisturbed run, bit for
bit, and no temporary file.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.training.state import STATE_FILE, read_state

KILLS = 20
ITERATIONS = 40
IMAGES, SIDE = 8, 80  # pixels
VALIDATION_IMAGES = 2
TINY = Path(__file__).parent.parent / "tests" / "tiny.toml"
RECIPE = f"""
base = {json.dumps(str(TINY))}
[inference]
shorter_sides = [64.0]
candidates = 20
[optimization]
warmup_iterations = 2
"""
# The command line as it is, but for how often it saves and validates.
PROGRAM = (
    "import sys, torch; torch.set_num_threads(1);"
    "from instancefcn.training import trainer; trainer.SAVE_EVERY = -1; trainer.VALIDATE_EVERY = 0.1;"
    "from instancefcn.apps.cli import main; main()"
)
AT_START = 0.2  # of the kills, within the time that a start takes
IN_WRITE = 0.5  # of the others, as soon as a file is being written
STARTUP = 8.0  # seconds, until it is known
AFTER = 3.0  # seconds, at most, that the others wait from the first iteration of a process on


@dataclass
class Tally:
    """What happened."""

    kills: int = 0
    in_write: int = 0  # left a half-written file
    at_start: int = 0  # before the process had saved anything
    ended: bool = False  # the last one came to its end before it was killed
    iterations: list[int] = field(default_factory=list)  # of the state that each kill left


def soak(folder: Path, seed: int, kills: int = KILLS, iterations: int = ITERATIONS) -> list[str]:
    """Train undisturbed, then with kills; compare.

    Raises:
        AssertionError: a file was not whole, or the end differs.
    """
    rng, tally = random.Random(seed), Tally()
    command = prepare(folder, iterations)
    started = time.monotonic()
    whole, cut = folder / "whole", folder / "cut"
    finish(command, whole)
    seconds = time.monotonic() - started
    startup = STARTUP
    while tally.kills < kills:
        startup = kill_one(command, cut, rng, startup, tally)
        check_whole(cut, tally)
        if tally.ended:
            compare(whole, cut)
            shutil.rmtree(cut)
    finish(command, cut)
    compare(whole, cut)
    return [
        f"train: {iterations} iterations in {seconds:.0f} s undisturbed; killed {tally.kills} times, "
        f"{tally.in_write} of them while a file was written, {tally.at_start} before the process had saved anything",
        f"states went on from iterations {', '.join(map(str, tally.iterations))}",
        "checkpoint and state were whole after every kill; losses, scores and weights of the end are those of the "
        "undisturbed run, bit for bit",
    ]


def prepare(folder: Path, iterations: int) -> Callable[[Path], list[str]]:
    """Write images, labels and a recipe; the command that trains into a folder, and goes on there."""
    rng = np.random.default_rng(0)
    for part, count in (("train", IMAGES), ("val", VALIDATION_IMAGES)):
        for index in range(count):
            draw(folder / part, f"{index}.png", rng)
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    options = ["--data", f"labels:{folder / 'train'}", "--val", f"labels:{folder / 'val'}"]
    options += ["--recipe", str(folder / "tiny.toml"), "--init", "random", "--iterations", str(iterations)]
    options += ["--device", "cpu", "--workers", "1", "--resume"]
    return lambda out: [sys.executable, "-c", PROGRAM, "train", *options, "--out", str(out)]


def draw(folder: Path, name: str, rng: np.random.Generator) -> None:
    """An image of rectangles on noise, and its label map."""
    pixels, labels = rng.integers(0, 80, (SIDE, SIDE, 3)), np.zeros((SIDE, SIDE))
    for value in range(1, 4):
        top, left = rng.integers(0, SIDE - 30, 2)
        rows, columns = slice(top, top + rng.integers(15, 30)), slice(left, left + rng.integers(15, 30))
        pixels[rows, columns], labels[rows, columns] = rng.integers(80, 255, 3), value
    for part, array in (("images", pixels), ("masks", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(folder / part / name)


def finish(command: Callable[[Path], list[str]], out: Path) -> None:
    """Train to the end."""
    done = subprocess.run(command(out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_one(
    command: Callable[[Path], list[str]], out: Path, rng: random.Random, startup: float, tally: Tally
) -> float:
    """Start or go on, and kill; the seconds until training began, or as they were before."""
    at_start, in_write, after = rng.random() < AT_START, rng.random() < IN_WRITE, rng.uniform(0, AFTER)
    saved, before, old = out / STATE_FILE, stamp(out / STATE_FILE), half_written(out)
    with subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        started = time.monotonic()
        if at_start:
            time.sleep(rng.uniform(0, startup))
        else:
            while stamp(saved) == before and process.poll() is None:
                time.sleep(0.01)
            startup = time.monotonic() - started
            time.sleep(after)
            while in_write and process.poll() is None and not half_written(out) - old:
                pass
        left = stamp(saved)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tally.ended = process.returncode == 0
    if tally.ended:  # before it was killed: the next one begins anew
        return startup
    assert process.returncode == -signal.SIGKILL, process.returncode
    tally.kills += 1
    tally.in_write += bool(half_written(out) - old)
    tally.at_start += left == before
    return startup


def stamp(path: Path) -> int:
    """Which version of a file is there."""
    return path.stat().st_mtime_ns if path.exists() else 0


def half_written(out: Path) -> set[Path]:
    """Files that a writer had not finished. The next process removes them."""
    return set(out.glob(".*.tmp")) if out.exists() else set()


def check_whole(out: Path, tally: Tally) -> None:
    """Read what is in the folder: checkpoints, and a state that goes with them."""
    if tally.ended:
        return
    if not (out / STATE_FILE).exists():
        tally.iterations.append(0)
        return
    state = read_state(out / STATE_FILE)
    records = [load_checkpoint(out / f"{name}.safetensors").training for name in ("best", "last")]
    # The state may be one save older than the checkpoint beside it, never newer.
    assert state.iteration <= records[1]["iteration"] <= state.iteration + 1, (state.iteration, records)
    tally.iterations.append(state.iteration)


def compare(whole: Path, cut: Path) -> None:
    """Losses, scores and weights, bit for bit."""
    assert lines_of(whole) == lines_of(cut), "the logs differ"
    assert not list(cut.glob(".*")), "something is left of killed writers"
    for name in ("best", "last"):
        one, other = (load_checkpoint(out / f"{name}.safetensors") for out in (whole, cut))
        assert one.training == other.training, f"{name} says another thing of its run"
        assert one.weights.keys() == other.weights.keys()
        for key, tensor in one.weights.items():
            assert torch.equal(tensor, other.weights[key]), f"{name}: {key} differs"


def lines_of(out: Path) -> list[dict[str, Any]]:
    """The log without its seconds."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
