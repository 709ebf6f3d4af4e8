"""Processor time of a training step: gradients of our own (``model/separable.py``) against autograd's.

    python benchmarks/training_speed.py --data labels:../shared/data/pennfudan/train
    python benchmarks/training_speed.py --data labels:../shared/data/pennfudan/train --threads 2

Both ways take turns on the same batches, so that they meet the same machine. What is printed for each is the median of
its steps, and how many steps of ours fit into one of the other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from lightning_fabric import Fabric
from torch import Tensor

from instancefcn import keep_freed_memory
from instancefcn.data.open import open_source
from instancefcn.model import heads, pyramid, separable
from instancefcn.training.batch import BatchMaker
from instancefcn.training.dataset import TrainingStream
from instancefcn.training.initial_weights import SHIPPED, initial_network
from instancefcn.training.learner import Learner
from instancefcn.training.recipe import load_recipe

BATCHES = 6
RATE = 1e-4


def add_in_place(fine: Tensor, coarse: Tensor, times: int) -> Tensor:
    """``add_enlarged`` as autograd sees it by itself."""
    b, c, h, w = coarse.shape
    by_position = fine.permute(0, 2, 3, 1).view(b, h, times, w, times, c)
    by_position += coarse.permute(0, 2, 3, 1)[:, :, None, :, None]
    return fine


@contextmanager
def autograd_alone() -> Iterator[None]:
    """Gradients as autograd has them by itself."""
    with (
        mock.patch.object(separable, "is_plain", return_value=False),
        mock.patch.object(pyramid, "add_enlarged", add_in_place),
        mock.patch.object(heads, "add_enlarged", add_in_place),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as `instancefcn train` takes them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="steps of each batch, either way")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    recipe = load_recipe("lite")
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.seed_everything(0, verbose=False)
    network = initial_network(recipe, SHIPPED).network
    learner = Learner(fabric, recipe, network)
    stream = TrainingStream(
        [open_source(options.data)], recipe.augmentation, recipe.source_balance, 0, recipe.longest_view
    )
    make = BatchMaker(recipe, network.training_window_sizes, network.size_multiple)
    size = recipe.optimization.batch_size
    batches = [make([stream[number * size + image] for image in range(size)]) for number in range(BATCHES)]
    seconds: dict[str, list[float]] = {"own": [], "autograd": []}
    for number in range(options.rounds + 1):  # the first round warms up
        for batch in batches:
            for name, taken in seconds.items():
                before = time.process_time()
                if name == "own":
                    learner.step([batch], RATE)
                else:
                    with autograd_alone():
                        learner.step([batch], RATE)
                if number:
                    taken.append(time.process_time() - before)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, value in median.items():
        print(f"{name:9} {value:.3f} processor seconds a step of {size} images, {options.threads} threads")
    print(f"ratio     {median['autograd'] / median['own']:.2f}")


if __name__ == "__main__":
    main()
