"""Time and memory of a photograph by its size, and by the number of proposals, each in a process of its own.

    python benchmarks/sizes.py
    python benchmarks/sizes.py --megapixels 12 100 --proposals

A photograph that scikit-image ships is enlarged and stored as JPEG. What is timed is a call with the file's path, so
decoding counts; it is the least of three, after one that warms up. Memory is the most that the process ever had.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import skimage.data
from PIL import Image

PHOTOGRAPH = Path(skimage.data.__path__[0]) / "coffee.png"
MEGAPIXELS = (0.3, 3, 12, 50, 100)
PROPOSALS = (10, 100, 1000, 5000)
USUAL = 100  # proposals
TIMED = """
import resource, sys, time
from instancefcn import Proposer, keep_freed_memory
keep_freed_memory()
path, count = sys.argv[1], int(sys.argv[2])
proposer = Proposer.from_checkpoint(device="cpu")
seconds = []
for _ in range(4):
    wall, processor = time.perf_counter(), time.process_time()
    found = proposer(path, max_proposals=count)
    seconds.append((time.perf_counter() - wall, time.process_time() - processor))
best, busy = (min(of) for of in zip(*seconds[1:]))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{len(found):,} | {best:.2f} | {busy:.2f} | {memory:.2f}")
"""


def enlarged(megapixels: float, path: Path) -> str:
    """Write the photograph at a size; returns width and height in words."""
    with Image.open(PHOTOGRAPH) as photograph:
        factor = (megapixels * 1e6 / (photograph.width * photograph.height)) ** 0.5
        size = round(photograph.width * factor), round(photograph.height * factor)
        photograph.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return f"{size[0]:,} x {size[1]:,}"


def measure(path: Path, proposals: int) -> str:
    """Cells of a table: proposals found, seconds, processor seconds, gigabytes."""
    command = [sys.executable, "-c", TIMED, str(path), str(proposals)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="*", default=MEGAPIXELS)
    parser.add_argument("--proposals", type=int, nargs="*", default=PROPOSALS)
    options = parser.parse_args()
    print("| photograph | asked for | proposals | s | processor s | GB |\n|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        for megapixels in options.megapixels:
            size = enlarged(megapixels, path)
            print(f"| {size} ({megapixels:g} MP) | {USUAL} | {measure(path, USUAL)} |", flush=True)
        size = enlarged(MEGAPIXELS[0], path)
        for proposals in options.proposals:
            print(f"| {size} | {proposals:,} | {measure(path, proposals)} |", flush=True)


if __name__ == "__main__":
    main()
