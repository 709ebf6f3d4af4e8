"""Proposing on a corpus by one process, by one worker, and by two of which one is killed: same results, and speed.

    python benchmarks/corpus.py --data ../shared/data --out /tmp/corpus

Its images are photographs made small. So that the network takes a second for some of them, not for one, it sees them
at ``--shorter-side``; all else is the shipped checkpoint's. The folder stays.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from instancefcn.data.result_files import read_results
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint, save_checkpoint

LONGEST_SIDE = 256  # pixels of an image


def write(data: Path, folder: Path, count: int) -> None:
    """Photographs made small, each again and again as another part of it."""
    folder.mkdir(parents=True)
    photographs = sorted(path for path in data.rglob("*.jpg") if path.is_file())
    for number in range(count):
        with Image.open(photographs[number % len(photographs)]) as opened:
            image = opened.convert("RGB")
        turn = number // len(photographs)
        image = image.crop((5 * turn, 3 * turn, image.width, image.height))
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        image.save(folder / f"{number:05}.jpg")


def workers_of(process: int) -> list[int]:
    """Ray's workers that propose, among the descendants of a process."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").iterdir():
        try:
            number = int(path.name)
            parents[number] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[number] = (path / "cmdline").read_text()
        except (ValueError, OSError):  # no process, or one that has just ended
            continue

    def is_below(number: int) -> bool:
        while number > 1 and number != process:
            number = parents.get(number, 0)
        return number == process

    return [number for number, name in names.items() if name.startswith("ray::MapWorker") and is_below(number)]


def run(command: list[str], log: Path, *, kill_behind: Path | None = None) -> float:
    """Run a command; its seconds. A worker is killed once some files are in a folder.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "instancefcn", *command], stdout=file, stderr=file)
        while process.poll() is None:
            time.sleep(0.2)
            if kill_behind is not None and len(list(kill_behind.glob("[0-9]*.parquet"))) >= 3:
                workers = workers_of(process.pid)
                os.kill(workers[0], signal.SIGKILL)
                print(f"  killed worker {workers[0]} of {workers} after {time.perf_counter() - started:.0f} s")
                kill_behind = None
    if process.returncode or kill_behind is not None:
        raise subprocess.CalledProcessError(process.returncode or 1, command, log.read_text()[-2000:])
    return time.perf_counter() - started


def by_image(place: Path) -> list[Any]:
    return sorted(read_results(place), key=lambda result: result["image_id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="folder, which is not there yet")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--shorter-side", type=int, default=128)
    parser.add_argument("--block", type=int, default=50)
    arguments = parser.parse_args()
    out, count = arguments.out, arguments.images
    write(arguments.data, out / "images", count)
    shipped = load_checkpoint(SHIPPED_CHECKPOINT)
    small = replace(shipped.inference, shorter_sides=(float(arguments.shorter_side),))
    save_checkpoint(replace(shipped, inference=small), out / "small.safetensors")
    options = ["--checkpoint", str(out / "small.safetensors"), "--max-proposals", "100"]
    images, blocks = str(out / "images"), ["--block", str(arguments.block)]
    single, one, two = (out / name for name in ("single", "one", "two"))

    def said(what: str, seconds: float) -> None:
        busy = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{what}: {seconds:.0f} s, {count / seconds:.2f} images/s", flush=True)
        print(
            f"  {busy.ru_utime + busy.ru_stime:.0f} s of cores so far; {os.getloadavg()[0]:.1f} processes want to run"
        )

    seconds = run(
        ["propose", images, "--out", str(single), "--to", "parquet", "--device", "cpu", *options], out / "single.log"
    )
    said("one process", seconds)
    expected = by_image(single / "proposals.parquet")
    for place, workers, kill in ((one, "1", None), (two, "2", two / "proposals")):
        more = ["--out", str(place), "--workers", workers, *blocks, *options]
        seconds = run(["propose-corpus", images, *more], place.with_suffix(".log"), kill_behind=kill)
        said(f"{workers} workers", seconds)
        found = by_image(place)
        rows = [row["image_id"] for table in sorted((place / "images").iterdir()) for row in read_results(table)]
        left = [str(path) for path in place.rglob("*.tmp")]
        print(f"  {len(found)} results, equal to one process's: {found == expected}")
        print(f"  {len(rows)} images, {len(set(rows))} different ones; half-written files: {left}", flush=True)


if __name__ == "__main__":
    main()
