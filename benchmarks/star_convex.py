"""StarDist (Schmidt et al., MICCAI 2018), for round things: what a person with cells would take.

Settings are its own, of its example for training (github.com/stardist/stardist, 2D/2_training): 32 rays on every
second pixel, patches of 256 pixels, four a step, images mirrored, turned and changed in intensity, the weights with the
least loss on the images that are kept out, and thresholds that its ``optimize_thresholds`` chooses there. Its weights
from cells come from a hub, so there are none here.

    pip install stardist tensorflow-cpu tf-keras    # in an environment of its own, beside instancefcn
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from instancefcn.data.source import Source
from instancefcn.geometry.rle import Rle, areas, decode, encode, from_polygons, tight_boxes
from instancefcn.proposals import Proposals

RATE = 3e-4
RAYS, GRID = 32, (2, 2)
LEAST_SCORE = 0.05
PERCENTILES = (1, 99.8)  # that become 0 and 1


class StarConvexProposer:
    """Proposes as ``instancefcn.Proposer`` does, as far as measuring asks; ``model`` is a ``StarDist2D``."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], *, max_proposals: int = 100) -> Proposals:
        """Its polygons from a low score on, best first."""
        _, details = self.model.predict_instances(normalized(image), prob_thresh=LEAST_SCORE)
        order = np.argsort(-details["prob"], kind="stable")[:max_proposals]
        outlines = details["coord"][order, ::-1].transpose(0, 2, 1) + 0.5  # x, y; from pixels' centres to their corners
        rles = [from_polygons([outline.ravel().tolist()], *image.shape[:2]) for outline in outlines]
        return proposals(rles, details["prob"][order], image)

    def objects(self, image: UInt8[np.ndarray, "h w 3"]) -> Proposals:
        """What it finds by its own thresholds, no pixel twice."""
        labels, details = self.model.predict_instances(normalized(image))
        order = np.argsort(-details["prob"], kind="stable")
        return proposals([encode(labels == one + 1) for one in order], details["prob"][order], image)


def proposals(rles: Sequence[Rle], scores: Float[np.ndarray, "n"], image: UInt8[np.ndarray, "h w 3"]) -> Proposals:
    """Those masks that have a pixel."""
    filled = np.flatnonzero(areas(rles))
    rles = [rles[index] for index in filled]
    return Proposals(rles, tight_boxes(rles), scores[filled].astype(float), *image.shape[:2])


def train_stardist(
    training: Sequence[Source],
    kept: Sequence[Source],
    minutes: float,
    rate: float,
    seed: int,
    folder: Path,
    threads: int,
    report: Callable[[str], None] = print,
) -> tuple[StarConvexProposer, int]:
    """Train for so many minutes; also the number of iterations. ``folder`` is for its files."""
    import tensorflow  # pyright: ignore[reportMissingImports]
    from csbdeep.utils.tf import keras_import  # pyright: ignore[reportMissingImports]
    from stardist.models import Config2D, StarDist2D  # pyright: ignore[reportMissingImports]

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    np.random.seed(seed)  # it draws patches by the global generator
    started = time.monotonic()

    class Budget(keras_import("callbacks", "Callback")):
        iterations = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.iterations += 1
            if self.iterations % 20 == 0:
                report(f"iteration {self.iterations}, {time.monotonic() - started:.0f} s")
            self.model.stop_training = time.monotonic() - started >= 60 * minutes

    config = Config2D(
        n_rays=RAYS, grid=GRID, n_channel_in=3, train_learning_rate=rate, train_epochs=10**6, train_tensorboard=False
    )
    model, budget = StarDist2D(config, name="run", basedir=str(folder)), Budget()
    model.prepare_for_training()
    model.callbacks.append(budget)
    (images, labels), held = images_and_labels(training), images_and_labels(kept)
    model.train(images, labels, validation_data=held, augmenter=changed, workers=1)
    model.optimize_thresholds(*held)
    return StarConvexProposer(model), budget.iterations


def images_and_labels(sources: Sequence[Source]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Normalized images and their label maps, without crowds; a pixel of several objects is the last one's."""
    images: list[np.ndarray] = []
    maps: list[np.ndarray] = []
    for sample in (sample for source in sources for sample in source):
        labels = np.zeros(sample.image.shape[:2], dtype=np.int32)
        for number, rle in enumerate(sample.instances.divided()[0], 1):
            labels[decode(rle)] = number
        images.append(normalized(sample.image))
        maps.append(labels)
    return images, maps


def normalized(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Each channel between its percentiles, as the example has it."""
    low, high = np.percentile(image, PERCENTILES, axis=(0, 1))
    return ((image - low) / (high - low + 1e-20)).astype(np.float32)


def changed(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The example's augmentation: mirrored, turned by right angles, of another intensity, with noise."""
    turns, mirror = np.random.randint(4), np.random.randint(2)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if mirror:
        image, labels = image[::-1], labels[::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    return image + 0.02 * np.random.uniform() * np.random.normal(size=image.shape), labels
