"""Runs the jobs that this machine has not done, one after the other (``python -m reproduce.queue``).

A job runs in a process of its own, at the lowest priority. It can be cut at any moment, and goes on from the state that
it saved at most two minutes before. What is done lies in ``reproduce/runs/MACHINE``, so another machine of the kind
goes on with the next job:

    jobs/NAME.json   the job is done: the command that was run, where, and for how long
    jobs/NAME.log    what the command printed
    mini/runs        a folder for each training: losses and recall arrays; weights are not kept in git
    mini/*.md        the pages, written anew after each job
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import torch

from instancefcn.files import write_whole
from reproduce.jobs import Job
from reproduce.speed import processor

MIN_SECONDS = 20.0  # a second job is not begun with less time than this
GRACE = 10.0  # seconds that a job gets to end after SIGTERM


@dataclass(frozen=True)
class Queue:
    """Jobs in order, and the folder in which they leave their results.

    Args:
        command: the command line of a job.
        threads: of each process.
        after: is called with each finished job.
        report: is told what happens.
    """

    jobs: Sequence[Job]
    folder: Path
    command: Callable[[Job], Sequence[str]]
    threads: int = 1
    after: Callable[[Job], None] = lambda job: None
    report: Callable[[str], None] = print

    def run(self, seconds: float = float("inf")) -> list[str]:
        """Run jobs until all are done or the time is up, at most one try each. Returns the names of the finished ones.

        The last job is cut when the time is up. It goes on in the next call.
        """
        deadline = time.monotonic() + seconds
        finished: list[str] = []
        tried = False
        for job in self.jobs:
            if self.is_done(job):
                continue
            left = deadline - time.monotonic()
            if tried and left < MIN_SECONDS:
                break
            tried = True
            with self.lock(job.name) as locked:
                # Done meanwhile: another process of the queue may have had it.
                if locked is not None and not self.is_done(job) and self._carry_out(job, left, locked):
                    finished.append(job.name)
        return finished

    def next(self) -> Job | None:
        """The first job that is not done."""
        return next((job for job in self.jobs if not self.is_done(job)), None)

    def is_done(self, job: Job) -> bool:
        """Whether the job's record is there."""
        return self.record(job).exists()

    def record(self, job: Job) -> Path:
        """The file that shows that a job is done."""
        return self.folder / "jobs" / f"{job.name}.json"

    def running(self) -> list[Job]:
        """Jobs that a process on this machine is at."""
        taken = []
        for job in self.jobs:
            with self.lock(job.name) as locked:
                if locked is None:
                    taken.append(job)
        return taken

    @contextmanager
    def lock(self, name: str) -> Iterator[IO[str] | None]:
        """A lock on a name, as an open file; None if a process has it. The lock ends with the last of its processes."""
        path = self.folder / "jobs" / f".{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file

    def _carry_out(self, job: Job, seconds: float, locked: IO[str]) -> bool:
        """Run a job for so long at most; whether it ended well."""
        command = list(self.command(job))
        shown = shlex.join(["python" if word == sys.executable else word for word in command])
        log = self.folder / "jobs" / f"{job.name}.log"
        self.report(f"{now()} {job.name}: {shown}")
        started = time.monotonic()
        with log.open("a", encoding="utf-8") as output:
            print(f"\n{now()} {machine()}\n$ {shown}", file=output, flush=True)
            process = subprocess.Popen(
                ["nice", "-n", "19", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                pass_fds=(locked.fileno(),),  # so that the lock outlives this process, if it is killed
            )
            lower_session(process)
            try:
                code = process.wait(timeout=None if seconds == float("inf") else seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:  # also when this process is asked to stop
                end_group(process)
            spent = time.monotonic() - started
            outcome = "cut, goes on later" if code is None else f"exit code {code}"
            print(f"{now()} {outcome} after {spent:.0f} s", file=output)
        self.report(f"{now()} {job.name}: {outcome} after {duration(spent)}; {log}")
        before = self.folder / "jobs" / f".{job.name}.seconds"  # of the tries that were cut
        total = spent + (float(before.read_text()) if before.exists() else 0.0)
        if code != 0:
            write_whole(before, str(total))
            return False
        before.unlink(missing_ok=True)
        record = {
            "command": shown,
            "finished": now(),
            "machine": machine(),
            "threads": self.threads,
            "seconds": round(total, 1),  # of all tries
        }
        write_whole(self.record(job), json.dumps(record, indent=1) + "\n")
        self.after(job)
        return True


def lower_session(process: subprocess.Popen[bytes]) -> None:
    """Give the session of a process the lowest priority, too.

    Linux shares the processor among sessions first (sched(7), autogroup), so ``nice`` alone yields to its own session.
    """
    with suppress(OSError):  # another system, or autogroups are off
        Path(f"/proc/{process.pid}/autogroup").write_text("19")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        os.killpg(process.pid, number)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    with suppress(ProcessLookupError):  # its children, such as processes that load images, may outlive it
        os.killpg(process.pid, signal.SIGKILL)


def duration(seconds: float) -> str:
    """Such as ``50 s``, ``12 min`` or ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def machine() -> str:
    """The processor, the graphics card if there is one, and PyTorch's version."""
    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} x {processor()}{card}, torch {torch.__version__}"
