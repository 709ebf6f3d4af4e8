"""``--workers``: the same files from several processes, and a worker that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.conftest import Command, FakeProposer
from instancefcn import journal
from instancefcn.inference.proposer import Proposer
from pictures import FIRST_WIDTH, tree, write_photographs

COUNT = 7  # images; the second is none


class Teller(FakeProposer):
    """Notes the processes that it proposes in."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __call__(self, image: np.ndarray, **options: Any) -> Any:
        (self.folder / str(os.getpid())).touch()
        return super().__call__(image, **options)


class Mortal(FakeProposer):
    """Its process is killed by the fifth image."""

    def __call__(self, image: np.ndarray, **options: Any) -> Any:
        if image.shape[1] == FIRST_WIDTH + 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image, **options)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "in", COUNT, damaged=[1])


def test_workers_write_what_one_process_writes(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: dict[str, set[int]] = {}
    for workers in ("1", "2"):
        told = tmp_path / f"told-{workers}"
        told.mkdir()
        monkeypatch.setattr(Proposer, "from_checkpoint", lambda *_, told=told, **__: Teller(told))
        done = command("propose", photographs, "--out", tmp_path / workers, "--overlays", "--workers", workers)
        assert done.exit_code == 1  # one is no image
        processes[workers] = {int(path.name) for path in told.iterdir()}
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert "1.png" in (tmp_path / "2" / "errors.jsonl").read_text()
    assert processes["1"] == {os.getpid()}
    assert processes["2"].isdisjoint(processes["1"])


def test_a_killed_worker_is_told_of_and_resume_goes_on_also_with_fewer(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SYNC_SECONDS", -1.0)
    monkeypatch.setattr(Proposer, "from_checkpoint", lambda *_, **__: FakeProposer())
    command("propose", photographs, "--out", tmp_path / "whole")  # one process writes the same, as the test above shows
    monkeypatch.setattr(Proposer, "from_checkpoint", lambda *_, **__: Mortal())
    cut = command("propose", photographs, "--out", tmp_path / "cut", "--workers", 2)
    assert "a worker was killed, perhaps for want of memory: --resume goes on" in cut.stderr
    monkeypatch.setattr(Proposer, "from_checkpoint", lambda *_, **__: FakeProposer())
    shutil.copytree(tmp_path / "cut", tmp_path / "cut-too")
    for out, workers in (("cut", 1), ("cut-too", 2)):
        done = command("propose", photographs, "--out", tmp_path / out, "--workers", workers, "--resume")
        assert "going on after" in done.stderr
        assert tree(tmp_path / out) == tree(tmp_path / "whole")


RUN = """
import signal, sys
from instancefcn.apps.workers import answering

def answer(pixels):
    return pixels  # a worker only hands it back

if __name__ == "__main__":
    import multiprocessing, os, time
    import numpy as np
    if sys.argv[1] == "signals":
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
    with answering(answer, 2) as begin:
        waits = [begin(np.full((1, 1, 3), number, dtype=np.uint8)) for number in range(2)]
        children = [process.pid for process in multiprocessing.active_children()]
        if sys.argv[1] == "killed":
            [wait() for wait in waits]
            print(*children, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        os.killpg(0, signal.SIGTERM)  # while they start
        os.killpg(0, signal.SIGINT)
        print(*[int(wait()[0, 0, 0]) for wait in waits], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_workers_outlive_signals_to_the_group_but_not_the_process_that_they_work_for(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)

    def run(way: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(script), way]
        return subprocess.run(words, capture_output=True, text=True, start_new_session=True, timeout=200, check=False)

    done = run("signals")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 1\n", "")
    killed = run("killed")
    assert killed.returncode == -signal.SIGKILL
    workers, end = [int(pid) for pid in killed.stdout.split()], time.monotonic() + 20
    assert len(workers) == 2
    while (left := [pid for pid in workers if is_alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
