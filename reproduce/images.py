"""Which labelled images an experiment reads: as text, so that another process can open the same, and opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instancefcn.data import open_source
from instancefcn.data.source import FileSource


@dataclass(frozen=True)
class ImageSelection:
    """Labelled images. Each restriction is applied to what the one before it leaves; 0 and "" for none."""

    specs: tuple[str, ...]  # as `--data` has them
    listed_in: str = ""  # a file with the stem of an image on each line (its first word)
    first: int = 0  # so many of the lowest ids
    drawn: int = 0  # so many at random; a smaller draw of the same seed is part of a larger one
    seed: int = 0


def open_images(images: ImageSelection) -> list[FileSource]:
    """One source for each spec, with the images that are meant; one without any is left out.

    Raises:
        ValueError: data that is not there, or a list that names none of the images.
    """
    sources = []
    for spec in images.specs:
        source = open_source(spec)
        assert isinstance(source, FileSource)
        sources.append(source)
    places = [(source, index) for source, opened in enumerate(sources) for index in range(len(opened))]
    if images.listed_in:
        stems = {line.split()[0] for line in Path(images.listed_in).read_text(encoding="utf-8").splitlines() if line}
        places = [place for place in places if Path(_labels(sources, place).file_name).stem in stems]
        if not places:
            raise ValueError(f"{images.listed_in} names no image of {', '.join(images.specs)}")
    if images.first:
        places = sorted(places, key=lambda place: _labels(sources, place).image_id)[: images.first]
    if images.drawn:
        order = np.random.default_rng(images.seed).permutation(len(places))
        places = sorted(places[index] for index in order[: images.drawn])
    chosen = [
        replace(opened, all_labels=[opened.labels(index) for source, index in places if source == number])
        for number, opened in enumerate(sources)
    ]
    return [source for source in chosen if len(source)]


def merge(sources: Sequence[FileSource]) -> FileSource:
    """All images as one source to measure on; where there are several sources, ids are given anew, from 1."""
    if len(sources) == 1:
        return sources[0]
    labels = [labels for source in sources for labels in source.all_labels]
    numbered = [replace(entry, image_id=image_id) for image_id, entry in enumerate(labels, start=1)]
    name, categories = " and ".join(source.name for source in sources), sources[0].categories
    # Proposals have no category: those of the other sources need no names.
    return replace(sources[0], name=name, categories=categories, all_labels=numbered, problems=())


def _labels(sources: Sequence[FileSource], place: tuple[int, int]):
    return sources[place[0]].labels(place[1])
