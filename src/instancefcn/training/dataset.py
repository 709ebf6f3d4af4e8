"""An endless stream of training images: image i depends only on the seed and i, so that runs can be resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from instancefcn.data.augmentation import Augmentation, augment, copy_paste
from instancefcn.data.source import Source
from instancefcn.data.training_image import TrainingImage

MAX_REDRAWS = 10  # unreadable images in a row that end training


class TrainingStream(Dataset[TrainingImage]):
    """Random views of random images of several sources.

    Args:
        balance: a source of n images is drawn in proportion to n ** balance.
        longest_side: pixels; an image that would be longer is resized to less.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        augmentation: Augmentation,
        balance: float,
        seed: int,
        longest_side: float = math.inf,
    ) -> None:
        self.sources = [source for source in sources if len(source)]
        if not self.sources:
            raise ValueError("no image to train on: `instancefcn validate` with the same --data says why")
        weights = np.array([len(source) for source in self.sources], dtype=float) ** balance
        self.shares = weights / weights.sum()
        self.augmentation = augmentation
        self.seed = seed
        self.longest_side = longest_side

    def __getitem__(self, index: int) -> TrainingImage:
        rng = np.random.default_rng((self.seed, index))
        view = self._view(rng)
        if rng.random() < self.augmentation.copy_paste:
            other = self._view(rng)
            view = replace(
                copy_paste(view, other, rng), names=(*view.names, *other.names), lost=(*view.lost, *other.lost)
            )
        return view

    def _view(self, rng: np.random.Generator) -> TrainingImage:
        """A view of a random image; an image that cannot be read is replaced by another, which says so."""
        lost: list[str] = []
        while True:
            source = self.sources[rng.choice(len(self.sources), p=self.shares)]
            try:
                sample = source[int(rng.integers(len(source)))]
                view = augment(sample, self.augmentation, rng, self.longest_side)
                return replace(view, names=(sample.file_name,), lost=tuple(lost))
            except (ValueError, OSError) as error:
                lost.append(str(error))
                if len(lost) == MAX_REDRAWS:
                    raise ValueError(f"{MAX_REDRAWS} images in a row can't be read, the last: {error}") from error


class RankSampler(Sampler[int]):
    """Indices for one process from a given step on; processes take turns, so that together they read one stream."""

    def __init__(self, start_step: int, images_per_step: int, rank: int, world_size: int) -> None:
        self.first, self.stride = start_step * images_per_step + rank, world_size

    def __iter__(self) -> Iterator[int]:
        return count(self.first, self.stride)


def batches_of_steps(loader: DataLoader[Any], passes: int) -> Iterator[tuple[Any, ...]]:
    """The batches of each step, one for each pass.

    A worker's error is told in its own words, and without frames: they would keep the workers, which leave signals to
    the main process, and which Python would wait for at its end.
    """
    try:
        yield from zip(*[iter(loader)] * passes, strict=True)
    except Exception as error:
        if loader.num_workers:  # then its text has the worker's frames
            error.__traceback__ = None
            if isinstance(error, ValueError | OSError) and not isinstance(error, ConnectionError):
                _, _, words = str(error).strip().rpartition("\n")[2].partition(": ")
                raise ValueError(words or str(error)) from error
        raise
