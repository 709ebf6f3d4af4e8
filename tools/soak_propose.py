"""Kill a run of proposing at random moments, go on with it, and compare it with one that nothing disturbed.

``python tools/soak.py --part propose`` takes some minutes on one core.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint, save_checkpoint

SIDE = 64  # pixels


def soak(
    folder: Path, seed: int, *, images: int = 2000, kills: int = 5, options: Sequence[str] = ("--max-proposals", "10")
) -> list[str]:
    """Propose in small pictures twice, once with kills; no image may be there twice, or lost, and no file may differ.

    Args:
        folder: empty.
        seed: of the pictures and of the moments.
        images: how many.
        kills: how many of them a SIGKILL follows.
        options: of ``propose``.

    Returns:
        Lines that say what was done.
    """
    draw_images(folder / "in", images, seed)
    checkpoint = folder / "quick.safetensors"  # the shipped one, which looks at these images as they are
    shipped = load_checkpoint(SHIPPED_CHECKPOINT)
    quick = replace(shipped.inference, shorter_sides=(float(SIDE),), candidates=50, nms_candidates=100)
    save_checkpoint(replace(shipped, inference=quick), checkpoint)
    command = [sys.executable, "-m", "instancefcn", "propose", str(folder / "in"), "--device", "cpu"]
    command += ["--checkpoint", str(checkpoint), *options]
    started = time.monotonic()
    subprocess.run([*command, "--out", str(folder / "whole")], check=True, capture_output=True)
    undisturbed = time.monotonic() - started

    out, lines, again = folder / "killed", [], 0
    resumed = [*command, "--out", str(out), "--resume"]
    for moment in sorted(random.Random(seed).sample(range(1, images), kills)):
        at = run_until(resumed, out, moment)
        lost = at - json.loads((out / ".unfinished" / "state.json").read_text())["counts"].get("read", 0)
        again += lost
        lines.append(f"killed after {at} of {images} images; {lost} of them are to be done again")
    subprocess.run(resumed, check=True, capture_output=True)

    ids = Counter(entry["id"] for entry in json.loads((out / "images.json").read_text())["images"])
    first, second = files_in(folder / "whole"), files_in(out)
    faults = [f"image {number}: {ids[number]} times" for number in range(1, images + 1) if ids[number] != 1]
    faults += [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    assert not faults, f"not as in the undisturbed run: {', '.join(faults[:20])}"
    lines.append(
        f"{images} images of {SIDE} x {SIDE} pixels, {kills} kills (SIGKILL): {again} images done again, none there "
        f"twice and none lost, {len(first)} files equal byte for byte; undisturbed {undisturbed:.0f} s"
    )
    return lines


def run_until(command: list[str], out: Path, moment: int) -> int:
    """Kill a run once as many images are done, or a little later; how many were."""
    done = out / ".unfinished" / "inputs.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while count(done) < moment:
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(f"it ended by itself: {process.stderr.read().decode()}")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return count(done)


def count(path: Path) -> int:
    """Lines of a file; none where there is no file."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file by its path from a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def draw_images(folder: Path, number: int, seed: int) -> None:
    """Write small pictures of a few rectangles on noise."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for index in range(number):
        pixels = generator.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        for _ in range(3):
            top, left = generator.integers(0, SIDE - 16, 2)
            height, width = generator.integers(8, 32, 2)
            pixels[top : top + height, left : left + width] = generator.integers(80, 255, 3)
        Image.fromarray(pixels).save(folder / f"{index:05}.png")
