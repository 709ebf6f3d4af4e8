"""Some images of labelled data, as a source of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from instancefcn.data.source import Labels, Problem, Source
from instancefcn.structures import Sample


class Selection(Source):
    """Chosen images of one or several sources, under image ids from 1 on.

    Categories are those of all sources; of two names for one id the first stays, so use it where masks alone count.

    Args:
        chosen: a source and the index of an image in it, for each image.
        name: of the selection.

    Example:
        >>> first_ten = Selection([(source, index) for index in range(10)], "first ten")  # doctest: +SKIP
    """

    problems: Sequence[Problem] = ()

    def __init__(self, chosen: Sequence[tuple[Source, int]], name: str) -> None:
        self.chosen, self.name = list(chosen), name
        sources = {id(source): source for source, _ in self.chosen}
        self.partial = any(source.partial for source in sources.values())
        self.categories: dict[int, str] = {}
        for source in sources.values():
            self.categories = source.categories | self.categories

    def __len__(self) -> int:
        return len(self.chosen)

    def labels(self, index: int) -> Labels:
        source, of_source = self.chosen[index]
        return replace(source.labels(of_source), image_id=index + 1)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        source, of_source = self.chosen[index]
        return source.image(of_source)

    def __getitem__(self, index: int) -> Sample:
        """An image with its instances; ``partial`` is that of its own source."""
        source, of_source = self.chosen[index]
        return replace(source[of_source], image_id=index + 1)
