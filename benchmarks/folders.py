"""Photographs a second of a folder: the command beside single calls, in one run and in turn.

    OMP_WAIT_POLICY=passive python benchmarks/folders.py --data-root ../shared/data --images 500

- single: ``Proposer`` on a file, then the next; nothing is written.
- in turn: what ``propose`` does with the folder, but each image read, proposed for and written before the next.
- propose: as it is, the next image read and the last one written meanwhile.
- workers: ``propose --workers``, where ``--workers`` is given; their start is not counted.

With ``--memory``, instead of all these, one run of ``propose`` over all images, which come again as often as it takes,
and the memory of the process after each tenth of them. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from instancefcn.allocator import keep_freed_memory
from instancefcn.apps import results
from instancefcn.apps.exports import Shown
from instancefcn.apps.images import ImageFile
from instancefcn.apps.workers import Begin, Pixels, answering
from instancefcn.inference.proposer import Proposer
from instancefcn.proposals import Proposals

FOLDERS = ("coco-mini/train", "coco-mini/val", "animals/train", "voc2007/VOCdevkit/VOC2007/JPEGImages")
CHUNK = 25  # images each way before the next way's turn


class InTurn:
    """Stands in for an executor: does what it is given at once."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


def photographs(root: Path, count: int) -> list[Path]:
    """As many from each folder, as far as they go."""
    every = [sorted(path for path in (root / name).rglob("*.jpg")) for name in FOLDERS]
    found = [path for one in every for path in one[: count // len(FOLDERS) + 1]]
    return found[:count]


def print_memory(begin: Begin, paths: Sequence[Path], overlays: bool) -> None:
    """Propose for all images in one run, and print how much memory the process has as it goes."""
    begun = 0

    def counting(pixels: Pixels) -> Callable[[], Proposals]:
        nonlocal begun
        begun += 1
        if begun % max(1, len(paths) // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"  {begun:6,} images  {pages * resource.getpagesize() / 1e9:.2f} GB", flush=True)
        return begin(pixels)

    run_folder(counting, paths, overlays)


def run_folder(begin: Begin, paths: Sequence[Path], overlays: bool, at_once: int = 1) -> bytes:
    """Propose for images as the command does; returns what it wrote."""
    images = [ImageFile(number, f"{number}.jpg", path) for number, path in enumerate(paths, start=1)]
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stderr(io.StringIO()):
        shown = Shown(lambda found: found)
        folder = results.ResultsFolder(Path(out), images, (), overlays=overlays, shown=shown, settings={})
        folder.fill("proposing", begin, most=100, at_once=at_once)
        return (Path(out) / "proposals.json").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--overlays", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    proposer, executor = Proposer.from_checkpoint(), results.ThreadPoolExecutor
    paths = photographs(arguments.data_root, arguments.images)
    if arguments.memory:
        with answering(proposer, 1) as begin:
            print_memory(begin, list(islice(cycle(paths), arguments.images)), arguments.overlays)
        return
    seconds: dict[str, float] = defaultdict(float)
    ways = ("single", "in turn", "propose", *(["workers"] if arguments.workers > 1 else []))
    with answering(proposer, 1) as begin, answering(proposer, arguments.workers) as begin_elsewhere:
        for warm_up in (begin, begin_elsewhere):
            run_folder(warm_up, paths[:CHUNK], arguments.overlays, arguments.workers)
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            written: list[bytes] = []
            for way in ways:
                results.ThreadPoolExecutor = InTurn if way == "in turn" else executor
                started = time.perf_counter()
                if way == "single":
                    for path in chunk:
                        proposer(path)
                elif way == "workers":
                    run_folder(begin_elsewhere, chunk, arguments.overlays, arguments.workers)
                else:
                    written.append(run_folder(begin, chunk, arguments.overlays))
                seconds[way] += time.perf_counter() - started
            assert written[0] == written[1], "the bytes depend on what is done meanwhile"
    print(f"{len(paths)} photographs{', with overlays' if arguments.overlays else ''}")
    for way, total in seconds.items():
        print(f"  {way:8} {len(paths) / total:6.2f} a second, {total / seconds['single']:.3f} of single calls' time")


if __name__ == "__main__":
    main()
