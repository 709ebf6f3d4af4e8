"""Seconds of a call while other processes keep the cores busy, by how OpenMP's threads wait for each other.

    python benchmarks/manners.py --busy 0 1 2 --rounds 8

Each way of waiting has a process of its own, which holds the network and is asked in turn, so that whatever else the
machine does falls on all alike. A busy process keeps one core each, at the same niceness.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
WORKER = """
import sys, time
from instancefcn.allocator import keep_freed_memory
from instancefcn.data.images import read_image
from instancefcn.inference.proposer import Proposer
keep_freed_memory()
proposer, image = Proposer.from_checkpoint(), read_image(sys.argv[1])
for _ in range(2):
    proposer(image, max_proposals=1000)
print("ready", flush=True)
for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    proposer(image, max_proposals=1000)
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""
BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


def ask(worker: subprocess.Popen[str]) -> list[float]:
    """Wall and processor seconds of one call."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return [float(number) for number in worker.stdout.readline().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=Path("../shared/data/coco-mini/train/000000000009.jpg"))
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1, 2], help="processes that keep a core each")
    parser.add_argument("--rounds", type=int, default=8, help="calls of each way")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    workers: dict[str, subprocess.Popen[str]] = {}
    busy: list[subprocess.Popen[bytes]] = []
    try:
        for way in arguments.ways:
            command = [sys.executable, "-c", WORKER, str(arguments.image)]
            pipe = subprocess.PIPE
            workers[way] = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | WAYS[way])
            stdout = workers[way].stdout
            assert stdout is not None
            stdout.readline()
        for count in arguments.busy:
            busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(core)]) for core in range(count)]
            time.sleep(0.5)
            measured: dict[str, list[list[float]]] = defaultdict(list)
            for _ in range(arguments.rounds):
                for way, worker in workers.items():
                    measured[way].append(ask(worker))
            for one in busy:
                one.kill()
                one.wait()
            busy = []
            load = os.getloadavg()[0]
            print(f"{count} busy processes ({load:.1f} processes wanted to run in the last minute)")
            for way, seconds in measured.items():
                wall, cpu = zip(*seconds, strict=True)
                print(
                    f"  {way:12} median {statistics.median(wall):6.3f} s, worst {max(wall):6.3f} s, "
                    f"processor {statistics.median(cpu):6.3f} s",
                    flush=True,
                )
    finally:
        for one in [*busy, *workers.values()]:
            one.kill()


if __name__ == "__main__":
    main()
