"""CPU seconds of a training step, and of an image proposed in, for each kind of job of the queue.

    OMP_NUM_THREADS=1 python -m benchmarks.steps --data-root ../shared/data

At the end, of an image proposed in at the paper's scales by `paper` with random weights (the paper: 1.5 s on a K40).

CPU seconds, so that other work on the machine does not count. ``SECONDS`` of reproduce/queue_page.py has the numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from instancefcn.apps.cli import errors_in_one_line
from instancefcn.inference.proposer import Proposer
from instancefcn.interrupts import raised_interrupts
from reproduce.__main__ import DATA_ROOT
from reproduce.datasets import open_images, training_images
from reproduce.methods import CROPS, DEEPMASK, OURS, VGG16
from reproduce.networks import build_network
from reproduce.recipe import ExperimentRecipe, load_recipe
from reproduce.runner import Runner, proposals_of
from reproduce.settings import Settings
from reproduce.sources import sources_of

STEPS = 4, 24  # the difference of two runs leaves out what a run does but once
IMAGES = 6


def kinds(runner: Runner) -> Iterator[tuple[str, ExperimentRecipe]]:
    """Recipe of each kind of training."""
    named = {"ours": OURS, "crops": CROPS, "deepmask": DEEPMASK, "vgg16": VGG16.methods[0]}
    yield from ((kind, runner.recipe(method, 0)) for kind, method in named.items())
    yield "lite", load_recipe("lite")


def measure(data_root: Path) -> None:
    """Print the seconds of each kind."""
    (source, *_) = open_images(training_images("mini", data_root, "table2"))
    photographs = [source.image(index) for index in range(IMAGES)]
    with TemporaryDirectory() as out:
        runner = Runner(Settings("mini", data_root, Path(out), workers=0))
        for kind, recipe in kinds(runner):
            images = sources_of("today", data_root) if kind == "lite" else training_images("mini", data_root, "table2")
            spent = []
            for steps in STEPS:
                started = time.process_time()
                asked = replace(recipe, optimization=replace(recipe.optimization, iterations=steps))
                folder, _ = runner.train(f"{kind}-{steps}", asked, images, 0.0)
                spent.append(time.process_time() - started)
            propose, seconds = proposals_of(folder / "best.safetensors", "cpu"), []
            for number, photograph in enumerate(photographs):
                started = time.process_time()
                propose(photograph, number)
                seconds.append(time.process_time() - started)
            a_step = (spent[1] - spent[0]) / (STEPS[1] - STEPS[0])
            print(f"{kind}: {a_step:.2f} s a step, {np.median(seconds):.2f} s an image", flush=True)
    paper = load_recipe("paper")
    proposer = Proposer(build_network(paper.network), paper.inference, device="cpu")
    started = time.process_time()
    proposer(photographs[0])
    print(f"paper: {time.process_time() - started:.1f} s an image")


app = typer.Typer(pretty_exceptions_show_locals=False)


@app.command(help=__doc__)
def main(data_root: Annotated[Path, typer.Option(file_okay=False, exists=True)] = DATA_ROOT) -> None:
    with errors_in_one_line(), raised_interrupts():
        measure(data_root)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.steps")
