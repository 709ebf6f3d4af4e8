"""Labelled images of any format under one interface, and what is wrong with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from instancefcn.data.images import read_image
from instancefcn.geometry.rle import Rle, area, tight_boxes
from instancefcn.structures import Instances, Sample

UNNAMED = "object"  # the category of what has no name


@dataclass(frozen=True)
class Problem:
    """What is wrong with an image, an annotation, or a whole file.

    Among ``Source.problems`` it was rejected, among ``Source.notes`` it was mended, or what is wrong is not used.

    ``annotation_id`` is the id (COCO), the label (label maps) or the index (labelme) in ``file``; None where the whole
    image or label file is the problem.
    """

    file: str
    annotation_id: int | None
    reason: str

    @classmethod
    def from_error(cls, file: Path, error: ValueError) -> Problem:
        """A problem of a whole file; the file's name is cut off the error's message."""
        return cls(str(file), None, str(error).removeprefix(f"{file}: "))

    def __str__(self) -> str:
        where = self.file if self.annotation_id is None else f"{self.file}: annotation {self.annotation_id}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Labels:
    """The labels of one image, and what is known of it without decoding it."""

    image_id: int
    file_name: str  # relative to the folder of images
    path: Path | None  # the file that holds the pixels; None if the source makes them
    height: int
    width: int
    instances: Instances
    void: Rle | None = None
    rejected: Sequence[Rle] = ()  # where instances lie whose masks can't be read
    partial: bool = False  # an instance can't be read, and nobody knows where it lies
    scores: Float[np.ndarray, "n"] | None = None  # of each instance, where a network found them
    predicted: bool = False  # a labelling tool has them from a network, and no person has said that they are right

    @property
    def unknown(self) -> list[Rle]:
        """Regions of which nobody knows what they show: rejected instances, and what is void."""
        return [*self.rejected, *([self.void] if self.void is not None and area(self.void) else [])]

    def with_rejected(self) -> Instances:
        """The instances, and the regions of those that were rejected as not to be judged, so nobody takes them for
        background; these have the id -1 and no category (0)."""
        if not self.rejected:
            return self.instances
        own, count = self.instances, len(self.rejected)
        return Instances(
            ids=np.append(own.ids, np.full(count, -1)),
            rles=[*own.rles, *self.rejected],
            boxes_xyxy=np.concatenate([own.boxes_xyxy, tight_boxes(self.rejected)]),
            category_ids=np.append(own.category_ids, np.zeros(count, dtype=np.int64)),
            crowd=np.append(own.crowd, np.zeros(count, dtype=bool)),
            ignore=np.append(own.ignore, np.ones(count, dtype=bool)),
        )


class Source(ABC):
    """Labelled images, by index.

    Opening a source checks all labels: unsound images and instances are skipped and listed in ``problems``. Training
    sees the images and instances that are left, and leaves the regions of rejected instances aside; where it is not
    known where one lies, the image counts as partial.
    """

    name: str  # the spec it was opened by
    partial: bool  # objects may be unlabelled
    categories: dict[int, str]
    problems: Sequence[Problem]
    notes: Sequence[Problem] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def labels(self, index: int) -> Labels:
        """The labels of an image, without reading its pixels."""

    @abstractmethod
    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Pixels of an image, RGB, in the frame of its labels.

        Raises:
            ValueError: the file cannot be read (any more).
        """

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """An image with its instances; the same errors as ``image``."""
        labels, pixels = self.labels(index), self.image(index)
        partial = self.partial or labels.partial
        return Sample(labels.image_id, labels.file_name, pixels, labels.with_rejected(), partial, labels.void)


@dataclass(frozen=True)
class FileSource(Source):
    """Images in files, their labels in memory. Every format's loader returns one."""

    categories: dict[int, str]
    all_labels: Sequence[Labels]
    problems: Sequence[Problem]
    read: Callable[[Path, tuple[int, int]], np.ndarray] = read_image  # from a path and (height, width)
    name: str = ""
    partial: bool = False
    notes: Sequence[Problem] = ()

    def __len__(self) -> int:
        return len(self.all_labels)

    def labels(self, index: int) -> Labels:
        return self.all_labels[index]

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        labels = self.all_labels[index]
        if labels.path is None:
            raise ValueError(f"{labels.file_name}: where the images lie was not said: corpus:DIR,IMAGES_DIR")
        return self.read(labels.path, (labels.height, labels.width))
