"""Labelled images of any format under one interface, opened by a spec such as ``coco:train.json,images``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from instancefcn.data.images import read_image
from instancefcn.data.problems import Problem
from instancefcn.structures import Instances, Rle, Sample

SPECS = {
    "coco": "coco:ANNOTATIONS.json,IMAGES_DIR",
    "voc": "voc:VOC_DIR,SPLIT",
    "sbd": "sbd:DATASET_DIR,SPLIT",
    "labels": "labels:DIR",
    "labelme": "labelme:DIR",
}
PARTIAL_PREFIX = "partial+"


@dataclass(frozen=True)
class Labels:
    """What is known of one image without decoding it."""

    image_id: int
    file_name: str  # relative to the folder of images
    path: Path | None  # the file that holds the pixels; None where they are drawn
    height: int
    width: int
    instances: Instances
    void: Rle | None = None


class Source(ABC):
    """Labelled images, by index.

    What is wrong with the data was found and skipped when the source was opened, and is in ``problems``: so the images
    and instances that are here are those that training sees, and validation lists exactly the rest.
    """

    name: str  # the spec it was opened by
    partial: bool  # objects may be unlabelled
    categories: dict[int, str]
    problems: Sequence[Problem]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def labels(self, index: int) -> Labels:
        """Everything but the pixels of an image; cheap."""

    @abstractmethod
    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Pixels of an image, RGB, in the frame of its labels.

        Raises:
            ValueError: the file cannot be read (any more).
        """

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """An image with its instances.

        Raises:
            ValueError: the file cannot be read (any more).
        """
        labels = self.labels(index)
        return Sample(
            image_id=labels.image_id,
            file_name=labels.file_name,
            image=self.image(index),
            instances=labels.instances,
            partial=self.partial,
            void=labels.void,
        )


@dataclass(frozen=True)
class FileSource(Source):
    """Images in files, their labels in memory. Every format's loader returns one."""

    name: str
    partial: bool
    categories: dict[int, str]
    all_labels: Sequence[Labels]
    problems: Sequence[Problem]
    read: Callable[[Path, tuple[int, int]], np.ndarray] = read_image  # from a path and (height, width)

    def __len__(self) -> int:
        return len(self.all_labels)

    def labels(self, index: int) -> Labels:
        return self.all_labels[index]

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        labels = self.all_labels[index]
        assert labels.path is not None
        return self.read(labels.path, (labels.height, labels.width))


def open_source(spec: str) -> Source:
    """Open labelled images: read all labels, and the head and end of every image file.

    Args:
        spec: one of SPECS. With "partial+" before it (``partial+coco:...``), objects may be unlabelled, and what no
            instance covers is not known to be background.

    Raises:
        ValueError: no such format, a missing file or folder, or an annotation file that is not of its format.
    """
    # Each format builds on this file, so they are imported here.
    from instancefcn.data.coco import load_coco
    from instancefcn.data.labelme import load_labelme
    from instancefcn.data.labels import load_labels
    from instancefcn.data.sbd import load_sbd
    from instancefcn.data.voc import load_voc

    partial = spec.startswith(PARTIAL_PREFIX)
    kind, _, rest = spec.removeprefix(PARTIAL_PREFIX).partition(":")
    if kind not in SPECS or not rest:
        raise ValueError(f"unknown data {spec!r}: give one of {', '.join(SPECS.values())}")
    if kind == "labels":
        return load_labels(Path(rest), name=spec, partial=partial)
    if kind == "labelme":
        return load_labelme(Path(rest), name=spec, partial=partial)
    first, _, second = rest.rpartition(",")
    if not first or not second:
        raise ValueError(f"{spec!r} needs two parts with a comma between: {SPECS[kind]}")
    if kind == "coco":
        return load_coco(Path(first), Path(second), name=spec, partial=partial)
    load_split = load_voc if kind == "voc" else load_sbd
    return load_split(Path(first), second, name=spec, partial=partial)
