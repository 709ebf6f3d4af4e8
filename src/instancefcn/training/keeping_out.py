"""Which labelled images a network trains on, and which the best checkpoint is chosen by.

Where no validation images are given, some of the training images are kept out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.training.history import AR

MIN_LABELLED = 20  # labelled images; with fewer, all are trained on, and no rule for objects is chosen
SHARE = 0.1  # of the labelled images
MIN_KEPT_OUT = 2  # images
KEPT_OUT = "kept out"  # name of the selection


@dataclass(frozen=True)
class Division:
    """Labelled images, divided."""

    training: Sequence[Source]
    validation: Sequence[Source]  # none: the last network is the best
    described: str  # a line that says what is done

    @property
    def labelled(self) -> int:
        """All labelled images."""
        return self.trained_on + sum(map(len, self.validation))

    @property
    def chooses_rule(self) -> bool:
        """Whether there are enough labelled images to choose the rule for objects, and complete ones to validate on."""
        return self.labelled >= MIN_LABELLED and any(len(source) and not source.partial for source in self.validation)

    @property
    def trained_on(self) -> int:
        """Images to train on."""
        return sum(map(len, self.training))


def divide(sources: Sequence[Source], validation: Sequence[Source], seed: int, may_keep_out: bool = True) -> Division:
    """Validate on the images that are given for it; else on some of the others, if there are enough.

    Raises:
        ValueError: no image that is given for validation has an object, or two sources there have one name.
    """
    if validation:
        names = [source.name for source in validation]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{repeated}: given for validation twice; each needs a name of its own")
        if not any(count_objects(source, index) for source in validation for index in range(len(source))):
            raise ValueError(
                f"{', '.join(source.name for source in validation)}: no labelled object to choose the best checkpoint "
                "by; leave validation out, or give images with objects"
            )
        count, shared = sum(map(len, validation)), len(files_of(sources) & files_of(validation))
        told = f"validates on {count} images; {_best_by(validation)}"
        if shared:
            told += f"\nwarning: {shared} of them are trained on, too, so what is measured there is too good"
        return Division(sources, validation, told)
    training, kept = keep_out(sources, seed) if may_keep_out else (list(sources), [])
    images = sum(map(len, sources))
    if not kept:
        text = f"trains on all {images} images without validation; best.safetensors is the last"
        return Division(training, kept, text)
    chosen = f"{len(kept[0])} of the {images} images, chosen by chance and not trained on"
    return Division(training, kept, f"validates on {chosen}; {_best_by(kept)}")


def keep_out(sources: Sequence[Source], seed: int) -> tuple[list[Source], list[Source]]:
    """Divide labelled images into those to train on and those to validate on, by chance.

    A tenth of all is kept out, two images at least, of those that have an object to be found; but at most half of
    those. Images of sources with unlabelled objects are kept out only where there are no others. The choice depends on
    the sources and the seed. An image that two sources have is kept out of both.

    Returns:
        Sources to train on, and one source to validate on; or all of them and none, with under 20 labelled images or
        under 2 with objects.
    """
    images = sum(map(len, sources))
    complete = [number for number, source in enumerate(sources) if not source.partial]
    candidates = [
        (number, index)
        for number in complete or range(len(sources))
        for index in range(len(sources[number]))
        if count_objects(sources[number], index)
    ]
    if images < MIN_LABELLED or len(candidates) < MIN_KEPT_OUT:
        return list(sources), []
    count = min(max(MIN_KEPT_OUT, round(SHARE * images)), len(candidates) // 2 or 1)
    drawn = np.random.default_rng(seed).permutation(len(candidates))[:count]
    kept = {candidates[index] for index in drawn}
    chosen: list[Source] = [Selection([(sources[number], index) for number, index in sorted(kept)], KEPT_OUT)]
    files = files_of(chosen)
    training: list[Source] = []
    for number, source in enumerate(sources):
        left = [i for i in range(len(source)) if (number, i) not in kept and _file(source, i) not in files]
        training.append(source if len(left) == len(source) else Selection([(source, i) for i in left], source.name))
    return training, chosen


def files_of(sources: Iterable[Source]) -> set[str]:
    """The files of the images of sources, as far as they have any."""
    every = (_file(source, index) for source in sources for index in range(len(source)))
    return {file for file in every if file is not None}


def _file(source: Source, index: int) -> str | None:
    path = source.labels(index).path
    return None if path is None else os.path.abspath(path)


def _best_by(validation: Sequence[Source]) -> str:
    """Which checkpoint is the best, in words; see ``deciding_measure``."""
    complete = any(not source.partial for source in validation)
    return f"best.safetensors is chosen by {'F1 of objects' if complete else AR}"


def count_objects(source: Source, index: int) -> int:
    """The labelled objects of an image that count: no crowds, and none that is marked as not to be judged."""
    return int(source.labels(index).instances.judged.sum())
