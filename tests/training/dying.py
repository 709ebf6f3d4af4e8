"""Labelled scenes that end a training in the middle."""

from __future__ import annotations

from instancefcn.structures import Sample
from synthetic import SyntheticScenes


class KilledError(Exception):
    """Stands for whatever ends a process."""


class Dying(SyntheticScenes):
    """Scenes that kill the run when they have been read too often."""

    reads_left = 6

    def __getitem__(self, index: int) -> Sample:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise KilledError
        return super().__getitem__(index)
