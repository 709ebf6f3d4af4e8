"""The queue: order, records, cuts, and that no job runs twice at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from reproduce.job_queue import Queue, duration
from reproduce.jobs import Job

FIRST, SECOND, THIRD = (Job("table2", row) for row in ("a", "b", "c"))


def queue(folder: Path, script: str, jobs: tuple[Job, ...] = (FIRST, SECOND, THIRD)) -> Queue:
    """Jobs that run a script with their row as its argument, in their folder."""
    text = f"import os, pathlib, sys, time\nos.chdir({str(folder)!r})\nrow = sys.argv[1]\n{textwrap.dedent(script)}"
    folder.mkdir(exist_ok=True)
    return Queue(jobs, folder, lambda job: [sys.executable, "-c", text, job.row], report=lambda text: None)


def test_jobs_run_in_order_and_once(tmp_path: Path) -> None:
    jobs = queue(tmp_path / "q", "open('order', 'a').write(row)")
    assert jobs.run() == [FIRST.name, SECOND.name, THIRD.name]
    assert jobs.run() == []
    assert (jobs.folder / "order").read_text() == "abc"
    record = json.loads(jobs.record(FIRST).read_text())
    assert record["command"].endswith(" a")
    assert record["machine"]
    assert record["seconds"] >= 0


def test_a_job_that_fails_holds_nobody_up_and_is_tried_again(tmp_path: Path) -> None:
    jobs = queue(tmp_path / "q", "print('what it said'); assert row != 'a' or pathlib.Path('mended').exists()")
    assert jobs.run() == [SECOND.name, THIRD.name]
    log = (jobs.folder / "jobs" / f"{FIRST.name}.log").read_text()
    assert "what it said" in log
    assert "exit code 1" in log
    (jobs.folder / "mended").touch()
    assert jobs.run() == [FIRST.name]


def test_time_that_is_up_cuts_the_job_with_its_children_and_it_goes_on_later(tmp_path: Path) -> None:
    script = """
        child = os.fork()  # as processes that load images
        pathlib.Path(f"pid{os.getpid()}").touch()
        if child == 0 or not pathlib.Path("quick").exists():
            time.sleep(60)
        os.kill(child, 9)
    """
    jobs = queue(tmp_path / "q", script, (FIRST,))
    numbers: list[int] = []
    for seconds in (3.0, 12.0, 48.0):  # a busy machine has not always begun the job by then
        started = time.monotonic()
        assert jobs.run(seconds=seconds) == []
        assert time.monotonic() - started < seconds + 20
        assert not jobs.is_done(FIRST)
        numbers = [int(path.name.removeprefix("pid")) for path in jobs.folder.glob("pid*")]
        if numbers:
            break
    assert len(numbers) == 2
    time.sleep(0.5)
    assert not any(runs(number) for number in numbers)
    assert "cut, goes on later" in (jobs.folder / "jobs" / f"{FIRST.name}.log").read_text()
    (jobs.folder / "quick").touch()
    assert jobs.run() == [FIRST.name]
    assert json.loads(jobs.record(FIRST).read_text())["seconds"] >= 3.0  # of both tries


def test_a_job_that_outlives_a_killed_queue_is_not_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "q"
    script = "open('begun', 'a').write('x'); open('written', 'w'); time.sleep(30)"
    starter = (
        "import sys; sys.path[:0] = {path!r}\nfrom pathlib import Path\n"
        "from reproduce.tests.test_job_queue import FIRST, queue\nqueue(Path({folder!r}), {script!r}, (FIRST,)).run()"
    )
    text = starter.format(path=sys.path, folder=str(folder), script=script)
    process = subprocess.Popen([sys.executable, "-c", text])
    try:
        wait_for(folder / "written")
        process.send_signal(signal.SIGKILL)
        process.wait()
        jobs = queue(folder, script, (FIRST,))
        assert jobs.running() == [FIRST]
        assert jobs.run(seconds=0.5) == []
        assert (folder / "begun").read_text() == "x"
    finally:
        subprocess.run(["pkill", "-9", "-f", str(folder)], check=False)


def test_jobs_yield_to_all_other_work(tmp_path: Path) -> None:
    script = """
        time.sleep(1)
        autogroup = pathlib.Path("/proc/self/autogroup")
        text = autogroup.read_text() if autogroup.exists() else "nice 19"
        pathlib.Path("found").write_text(f"{os.nice(0)}, {text.strip()}")
    """
    jobs = queue(tmp_path / "q", script, (FIRST,))
    assert jobs.run() == [FIRST.name]
    found = (jobs.folder / "found").read_text()
    assert found.startswith("19, ")
    assert found.endswith("nice 19")


def test_two_queues_share_the_jobs(tmp_path: Path) -> None:
    jobs = queue(tmp_path / "q", "open(row, 'a').write('x')")
    with jobs.lock(FIRST.name) as mine:
        assert mine is not None
        assert jobs.run() == [SECOND.name, THIRD.name]
    assert not (jobs.folder / "a").exists()
    assert jobs.run() == [FIRST.name]


@pytest.mark.parametrize(("seconds", "text"), [(50.0, "50 s"), (720.0, "12 min"), (12240.0, "3.4 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)


def runs(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(number, 0)
        return ") Z" not in Path(f"/proc/{number}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
