"""The labelled images of each experiment: as text, so that another process can open the same, and opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from instancefcn.data.open import open_source
from instancefcn.data.source import FileSource
from instancefcn.files import read_lines

Scale = Literal["paper", "mini"]
TRAINING_SET = "training images"  # as a test set: some of the images that a run was trained on


@dataclass(frozen=True)
class ImageSelection:
    """Labelled images. Each restriction applies to what the one before it leaves; 0 and "" mean none."""

    specs: tuple[str, ...]  # as `--data` has them
    listed_in: str = ""  # a file with the stem of an image on each line (its first word)
    first: int = 0  # this many, lowest ids first
    tenth: Literal["", "left out", "alone"] = ""  # every tenth image
    drawn: int = 0  # this many at random; a smaller draw is part of a larger one with the same seed
    seed: int = 0


def open_images(images: ImageSelection) -> list[FileSource]:
    """One source for each spec, with the selected images; a source without any is left out.

    Raises:
        ValueError: the data is missing, or the list names none of the images.
    """
    sources = [open_source(spec) for spec in images.specs]
    places = [(source, index) for source, opened in enumerate(sources) for index in range(len(opened))]
    if images.listed_in:
        stems = {line.split()[0] for line in read_lines(Path(images.listed_in)) if line.strip()}
        places = [place for place in places if Path(_labels(sources, place).file_name).stem in stems]
        if not places:
            raise ValueError(f"{images.listed_in} names no image of {', '.join(images.specs)}")
    if images.first:
        places = sorted(places, key=lambda place: _labels(sources, place).image_id)[: images.first]
    if images.tenth:
        alone = images.tenth == "alone"
        places = [place for number, place in enumerate(places) if (number % 10 == 0) == alone]
    if images.drawn:
        order = np.random.default_rng(images.seed).permutation(len(places))
        places = sorted(places[index] for index in order[: images.drawn])
    chosen = [
        replace(opened, all_labels=[opened.labels(index) for source, index in places if source == number])
        for number, opened in enumerate(sources)
    ]
    return [source for source in chosen if len(source)]


def describe(images: ImageSelection) -> str:
    """Which images these are, in words for a page."""
    restrictions = [
        (images.listed_in, f"those that `{images.listed_in}` lists"),
        (images.first, f"the {images.first:,} with the lowest ids"),
        (images.tenth, f"every tenth {images.tenth}"),
        (images.drawn, f"{images.drawn:,} drawn with seed {images.seed}"),
    ]
    words = [" and ".join(f"`{spec}`" for spec in images.specs), *(text for given, text in restrictions if given)]
    return ", of these ".join(words)


def merge(sources: Sequence[FileSource]) -> FileSource:
    """All images as one source to measure on; images of several sources are numbered anew, from 1."""
    if len(sources) == 1:
        return sources[0]
    labels = [labels for source in sources for labels in source.all_labels]
    numbered = [replace(entry, image_id=image_id) for image_id, entry in enumerate(labels, start=1)]
    name, categories = " and ".join(source.name for source in sources), sources[0].categories
    # Proposals have no category: those of the other sources need no names.
    return replace(sources[0], name=name, categories=categories, all_labels=numbered, problems=())


def _labels(sources: Sequence[FileSource], place: tuple[int, int]):
    return sources[place[0]].labels(place[1])


def named_images(scale: Scale, root: Path) -> dict[str, tuple[ImageSelection, ImageSelection]]:
    """What the classifiers of Table 4 are trained on, and measured on, by name."""
    if scale == "mini":

        def of(name: str, split: str) -> ImageSelection:
            return ImageSelection((coco_split(name, split, root),))

        return {name: (of(name, "train"), of(name, "val")) for name in ("animals", "coco-mini")}
    return {"VOC 2012, SBD": (_sbd(root, "train"), _sbd(root, "val"))}


def training_images(scale: Scale, root: Path, experiment: str) -> ImageSelection:
    """What the rows of an experiment are trained on."""
    if scale == "mini":
        animals = coco_split("animals", "train", root)
        return ImageSelection((coco_split("coco-mini", "train", root), f"partial+{animals}"))
    if experiment == "table5":
        return ImageSelection((f"coco:{root}/coco/annotations/instances_train2014.json,{root}/coco/train2014",))
    return _sbd(root, "train")


def test_images(scale: Scale, root: Path, experiment: str) -> dict[str, ImageSelection]:
    """What the rows of an experiment are measured on, by name."""
    if scale == "mini":
        return {
            "coco-mini val": ImageSelection((coco_split("coco-mini", "val", root),)),
            "voc2007": ImageSelection((f"voc:{root}/voc2007/VOCdevkit/VOC2007,val",)),
        }
    if experiment == "table5":
        spec = f"coco:{root}/coco/annotations/instances_val2014.json,{root}/coco/val2014"
        return {"COCO val2014, first 5,000": ImageSelection((spec,), first=5000)}
    return {"VOC 2012 val, SBD": _sbd(root, "val")}


def coco_split(name: str, split: str, root: Path) -> str:
    """The spec of a split of a small set in COCO's format."""
    return f"coco:{root}/{name}/annotations/instances_{split}.json,{root}/{name}/{split}"


def _sbd(root: Path, split: str) -> ImageSelection:
    """SBD's annotations of a split of VOC 2012: 5,623 and 5,732 images, as in SDS. SBD's own split differs."""
    specs = tuple(f"sbd:{root}/benchmark_RELEASE/dataset,{part}" for part in ("train", "val"))
    return ImageSelection(specs, listed_in=f"{root}/VOCdevkit/VOC2012/ImageSets/Main/{split}.txt")
