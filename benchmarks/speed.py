"""Seconds an image and memory, side by side with selective search, in one run.

    make bench                                      # photographs that scikit-image ships, at 640 x 480
    python benchmarks/speed.py --images val2017 --limit 20 --checkpoint runs/mine/best.safetensors

Each row of the first table is a stage of a call that turns a photograph into 1,000 run-length codes. Quote ratios of
one run: seconds differ between machines, and between two runs on a shared one.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from PIL import Image

from instancefcn.allocator import keep_freed_memory
from instancefcn.data.images import read_image
from instancefcn.waiting import let_threads_sleep

if TYPE_CHECKING:
    from instancefcn.inference.proposer import Proposer

T = TypeVar("T")

MAX_PROPOSALS = 1000
SKIMAGE_PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "rocket")


class Stages:
    """Seconds of each stage of each call, from timing the functions that a proposer calls."""

    FUNCTIONS = (  # of the proposer's module, in the order of a call
        ("as_tensor", "convert"),
        ("network_input", "resize"),
        ("best_windows", "top-k"),
        ("keep_best", "top-k"),
        ("ranked_masks", "assemble"),
        ("suppress", "NMS"),
        ("vote", "vote"),
        ("paste", "paste and RLE"),
        ("rle_boxes", "boxes of RLE"),
    )

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def timed(self, function: Callable[..., T], stage: str) -> Callable[..., T]:
        """The function, which also notes the seconds of each call."""

        def call(*arguments: Any, **options: Any) -> T:
            started = time.perf_counter()
            result = function(*arguments, **options)
            self.seconds[stage].append(time.perf_counter() - started)
            return result

        return call

    def watch(self, proposer: Proposer) -> None:
        """Note the seconds of every call of a proposer from now on."""
        from instancefcn.inference import proposer as proposer_module

        for stage in ("decode", "convert", "resize", "network"):
            self.seconds[stage] = []  # in this order
        proposer.network.forward = self.timed(proposer.network.forward, "network")
        for name, stage in self.FUNCTIONS:
            setattr(proposer_module, name, self.timed(getattr(proposer_module, name), stage))


def naming_seconds(paths: list[Path], repeats: int) -> tuple[float, float]:
    """Median seconds of 300 proposals, and of 300 proposals with their names, measured in turn."""
    from instancefcn.classifier.segmenter import Segmenter

    segmenter = Segmenter.from_checkpoints("animals")
    calls = {
        "propose": lambda image: segmenter.proposer(image, max_proposals=segmenter.config.proposals),
        "name": segmenter,
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats + 1):
        for path in paths:
            image = read_image(path)
            for name, call in calls.items():
                started = time.perf_counter()
                call(image)
                if repeat:
                    seconds[name].append(time.perf_counter() - started)
    return statistics.median(seconds["propose"]), statistics.median(seconds["name"])


def selective_search(path: Path, mode: Literal["fast", "quality"] = "fast") -> int:
    """Run OpenCV's selective search on a file; the number of its boxes."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.imread(str(path)))
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    return len(search.process())


def photographs(folder: Path, scratch: Path, limit: int) -> list[Path]:
    """Photographs at 640 x 480, as JPEG files."""
    paths = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})[:limit]:
        paths.append(scratch / f"{path.stem}.jpg")
        Image.fromarray(read_image(path)).resize((640, 480)).save(paths[-1], quality=92)
    return paths


def skimage_folder(scratch: Path) -> Path:
    """Copies of the demo's photographs."""
    import skimage.data

    folder = scratch / "skimage"
    folder.mkdir()
    for name in SKIMAGE_PHOTOGRAPHS:
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def peak_memory_mb() -> float:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs; default: scikit-image's")
    parser.add_argument("--limit", type=int, default=8, help="photographs at most")
    parser.add_argument("--repeats", type=int, default=3, help="rounds after one that warms up")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--without-peer", action="store_true", help="leave selective search out")
    arguments = parser.parse_args()

    keep_freed_memory()  # as the command line does, before torch is imported
    let_threads_sleep()
    import torch

    from instancefcn.inference.proposer import Proposer

    proposer = Proposer.from_checkpoint(arguments.checkpoint)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, fp32")
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        paths = photographs(arguments.images or skimage_folder(scratch), scratch, arguments.limit)
        stages, calls, counts = Stages(), [], []
        read = stages.timed(read_image, "decode")
        stages.watch(proposer)
        for repeat in range(arguments.repeats + 1):
            if repeat == 1:
                for seconds in stages.seconds.values():
                    seconds.clear()  # the first round warms up
            for path in paths:
                started = time.perf_counter()
                proposals = proposer(read(path), max_proposals=MAX_PROPOSALS)
                if repeat:
                    calls.append(time.perf_counter() - started)
                    counts.append(len(proposals))
        ours = statistics.median(calls)
        print(f"\n{len(paths)} photographs at 640 x 480, {statistics.mean(counts):.0f} proposals each")
        for name, seconds in stages.seconds.items():
            print(f"  {name:14} {1000 * sum(seconds) / len(calls):7.1f} ms")
        print(f"  {'whole call':14} {1000 * ours:7.1f} ms (median)")

        if arguments.checkpoint is None:
            propose, name = naming_seconds(paths, arguments.repeats)
            print(
                f"  300 proposals {1000 * propose:.1f} ms, with their names (animals) {1000 * name:.1f} ms (medians): "
                f"{100 * (name / propose - 1):+.0f}%"
            )

        if not arguments.without_peer:
            seconds, boxes = [], []
            for path in paths:
                started = time.perf_counter()
                boxes.append(selective_search(path))
                seconds.append(time.perf_counter() - started)
            theirs = statistics.median(seconds)
            print(f"  selective search (fast) {1000 * theirs:7.1f} ms (median), {statistics.mean(boxes):.0f} boxes")
            print(f"  ours takes {ours / theirs:.2f} of its time")

        large = scratch / "large.jpg"
        Image.fromarray(read_image(paths[0])).resize((4000, 3000)).save(large)
        started = time.perf_counter()
        proposals = proposer(np.asarray(read_image(large)), max_proposals=MAX_PROPOSALS)
        print(
            f"\n12-megapixel photograph: {len(proposals)} proposals in {time.perf_counter() - started:.2f} s, "
            f"peak memory of this process {peak_memory_mb():.0f} MB"
        )


if __name__ == "__main__":
    main()
