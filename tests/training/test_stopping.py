"""A run that is stopped keeps what it trained, says so, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from instancefcn import container
from instancefcn.files import write_whole
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.interrupts import Interrupted
from instancefcn.structures import Sample
from instancefcn.training import log, state, trainer
from instancefcn.training.loop import train
from instancefcn.training.state import STATE_FILE, read_state
from synthetic import SyntheticScenes
from tiny import TINY, scenes
from training.dying import KilledError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(
    TINY,
    network=replace(TINY.network, backbone="test_efficientnet"),
    augmentation=replace(TINY.augmentation, copy_paste=0.0),
)
BOTH = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


class Acting(SyntheticScenes):
    """Scenes that do something when they are read for the n-th time."""

    act: Callable[[], None]
    reads_left = 1 << 30

    def __getitem__(self, index: int) -> Sample:
        self.reads_left -= 1
        if self.reads_left == 0:
            self.act()
        return super().__getitem__(index)


def acting(act: Callable[[], None], reads: int, length: int = 4, seed: int = 0) -> Acting:
    source = Acting(length, height=64, width=80, seed=seed)
    source.act, source.reads_left = act, reads
    return source


def run(out: Path, source: SyntheticScenes | None = None, **options: Any) -> list[str]:
    """Train for four iterations; what was told."""
    told: list[str] = []
    settings = {"init": "random", "device": "cpu", "workers": 0, "report": told.append} | options
    train(RECIPE, [scenes() if source is None else source], out, **settings)
    return told


def outcome(out: Path) -> tuple[list[Any], dict[str, dict[str, torch.Tensor]], list[Any]]:
    """Lines of the log without their seconds, weights of both checkpoints, and what the checkpoints say."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = {name: load_checkpoint(out / f"{name}.safetensors") for name in ("best", "last")}
    return (
        [{name: value for name, value in line.items() if name != "seconds"} for line in lines],
        {name: dict(one.weights) for name, one in found.items()},
        [(one.training, one.objects) for one in found.values()],
    )


def assert_same(one: Path, other: Path) -> None:
    """The same losses, scores and weights, bit for bit."""
    (lines, weights, records), (lines_2, weights_2, records_2) = outcome(one), outcome(other)
    assert lines == lines_2
    assert records == records_2
    for name, tensors in weights.items():
        assert tensors.keys() == weights_2[name].keys()
        assert all(torch.equal(tensor, weights_2[name][key]) for key, tensor in tensors.items()), name


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_a_signal_saves_and_ends(number: int, code: int, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with pytest.raises(Interrupted, match=r"training is saved after iteration 3 in .*cut$") as caught:
        run(tmp_path / "cut", acting(lambda: os.kill(os.getpid(), number), reads=5))
    assert caught.value.exit_code == code
    assert read_state(tmp_path / "cut" / STATE_FILE).iteration == 3
    run(tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_whoever_keeps_the_error_keeps_no_workers(tmp_path: Path) -> None:
    """Python waits for them when it ends, and an error that nobody catches is kept until then."""
    main = os.getpid()
    source = acting(lambda: os.kill(main, signal.SIGTERM), reads=3)  # in the worker
    with pytest.raises(Interrupted) as kept:
        run(tmp_path, source, workers=1, iterations=10**6)
    assert kept.value.__traceback__ is not None
    assert multiprocessing.active_children() == []


def test_a_run_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    run(tmp_path, iterations=1)
    assert threading.active_count() == before


def test_a_signal_in_a_validation_leaves_it_to_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 0.5)
    val = scenes(3, seed=5)
    run(tmp_path / "whole", validation=[val])
    stopping = acting(lambda: os.kill(os.getpid(), signal.SIGTERM), reads=2, length=3, seed=5)
    with pytest.raises(Interrupted, match="saved after iteration 2"):
        run(tmp_path / "cut", validation=[stopping])
    assert stopping.reads_left == 0  # the third image was not looked at
    found = read_state(tmp_path / "cut" / STATE_FILE)
    assert (found.iteration, found.due, found.history["scores"]) == (2, True, [])
    run(tmp_path / "cut", validation=[val], resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_a_second_signal_ends_at_once_with_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY", -1)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"^stopped by SIGINT$"):
        run(tmp_path, acting(twice, reads=5))
    assert read_state(tmp_path / STATE_FILE).iteration == 2


WRITES = 12  # of a run of two iterations with two validations: the log, and each checkpoint and each state


@pytest.mark.parametrize("write", range(1, WRITES + 2))
def test_a_kill_before_any_write_loses_nothing(
    write: int, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [write]

    def write_or_die(path: Path, content: bytes | str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        write_whole(path, content)

    with monkeypatch.context() as patched:
        for module in (container, log, state):
            patched.setattr(module, "write_whole", write_or_die)
        with pytest.raises(KilledError) if write <= WRITES else nullcontext():
            run(tmp_path, **VALIDATED)
    run(tmp_path, **VALIDATED, resume=True)
    assert_same(whole, tmp_path)


def test_a_killed_process_that_loads_images_is_told_of_in_plain_words(tmp_path: Path) -> None:
    source = acting(lambda: os.kill(os.getpid(), signal.SIGKILL), reads=3)
    with pytest.raises(ValueError, match=r"a process that loads images was killed, .*: try fewer --workers; "):
        run(tmp_path, source, workers=1)


GONE = """
import sys
from pathlib import Path

from instancefcn.training.loop import train
from synthetic import SyntheticScenes
from tiny import TINY


class Gone(SyntheticScenes):
    def __getitem__(self, index):
        raise ValueError(f"{index}.png: no such file")


try:
    train(TINY, [Gone(4, height=64, width=80)], Path(sys.argv[1]), init="random", device="cpu", workers=2)
except ValueError as error:
    print(error)
"""


def test_a_process_whose_images_are_gone_says_so_in_a_line_and_ends(tmp_path: Path) -> None:
    """Workers leave signals alone, so Python would wait for those that an error still holds."""
    words, tests = [sys.executable, "-c", GONE, str(tmp_path)], Path(__file__).parent.parent
    told = subprocess.run(words, cwd=tests, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.fullmatch(r"10 images in a row can't be read, the last: \d\.png: no such file", told.splitlines()[-1])


VALIDATED: dict[str, Any] = {"validation": [scenes(1, seed=8)], "iterations": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, on one thread, as the runs that it is compared with: more add in another order."""
    out, threads = tmp_path_factory.mktemp("whole"), torch.get_num_threads()
    torch.set_num_threads(1)  # this is made before ``one_thread`` is
    run(out, **VALIDATED)
    torch.set_num_threads(threads)
    return out


def test_a_resumed_run_validates_when_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 1 / 9)  # whose sums and products are not the same
    options: dict[str, Any] = {"validation": [scenes(1, seed=5)], "iterations": 9}
    run(tmp_path / "whole", **options)
    stop_in_5 = acting(lambda: os.kill(os.getpid(), signal.SIGTERM), reads=9)
    with pytest.raises(Interrupted, match="after iteration 5"):
        run(tmp_path / "cut", stop_in_5, **options)
    run(tmp_path / "cut", **options, resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")
