"""What all writers share: objects of an image, names of files, and a count of what a format can't hold."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import UNNAMED, Labels
from instancefcn.export.upright import upright
from instancefcn.file_names import check_length, path_inside, unique_stems
from instancefcn.files import write_whole
from instancefcn.geometry.rle import Rle, tight_boxes
from instancefcn.proposals import Proposals


@dataclass(frozen=True)
class LabelledObject:
    """One object to be written."""

    number: int  # from 1 on, within its image
    rle: Rle
    box_xyxy: tuple[float, float, float, float]  # tight, half-open pixels
    category_id: int
    category: str
    crowd: bool  # a region of many objects
    ignore: bool  # not to be judged
    score: float | None


@dataclass(frozen=True)
class Place:
    """Where a writer writes, and how.

    Attributes:
        out: a folder, or the file of a format of one file.
        tolerance: pixels by which outlines may shift (``polygons.to_polygons``).
        names: file names of all images, where they are known: images that share a stem then get files of their own.
        read: files and folders that the labels were read from, in which nothing is written over.
    """

    out: Path
    tolerance: float = 1.0
    names: Sequence[str] = ()
    read: Sequence[Path] = ()


class Writer(ABC):
    """Writer of one format: ``add`` each image, then ``close``.

    Files appear whole: those of a format with a file for each image when it is added, the one file of other formats
    when the writer is closed.
    """

    tool: str  # that reads the format, as ``notes`` name it
    folder, suffix = "", ".json"  # of the file of an image, in ``out``
    holds_scores = True
    holds_crowds = True  # regions of many objects, or not to be judged
    holds_unknown = False  # regions of which nobody knows what they show (``Labels.unknown``)
    names_image = False  # whether ``--data`` finds the image of a file whose stem is not the image's
    turns_upright = False  # whether the tool shows photographs as EXIF turns them, so that labels must be of that frame

    def __init__(self, place: Place, categories: Mapping[int, str]) -> None:
        self.place, self.categories = place, dict(categories)
        self.images = self.objects = 0  # written so far
        own = [self.name_in_folder(name) for name in place.names]
        self._stems = dict(zip(place.names, unique_stems(own), strict=True))
        self._taken: dict[str, Path] = {}  # files of images, by stems in small letters
        self.written: list[Path] = []  # files of images
        self._left_out: Counter[str] = Counter()
        self._not_found = 0  # files whose stem is not that of their image
        self.keep = False  # whether files of images that are there stay as they are
        self.resumed = False  # whether files that are there may be another's: then those that differ stay, too
        self.others: list[Path] = []  # that stayed so
        self.scored = False  # whether the objects of the image at hand have scores, also where there are none

    def check_name(self, file_name: str, path: Path | None) -> None:
        """Look whether the format can name an image and its file, before anything is done for it.

        Raises:
            ValueError: it can't.
        """
        check_length(self._file(self._stem(file_name)))

    def add(self, labels: Labels, scores: Sequence[float] | None = None) -> None:
        """Write the objects of one image.

        Args:
            scores: of each instance, in [0, 1].

        Raises:
            ValueError: a file that was read would be written over, or the image can't be read.
        """
        labels, self.scored = upright(labels) if self.turns_upright else labels, scores is not None
        instances = labels.instances
        assert scores is None or len(scores) == len(instances)
        objects: list[LabelledObject] = []
        for index, rle in enumerate(instances.rles):
            crowd, ignore = bool(instances.crowd[index]), bool(instances.ignore[index])
            if (crowd or ignore) and not self.holds_crowds:
                self.leave_out("crowd region" if crowd else "region that is not to be judged")
                continue
            if scores is not None and not self.holds_scores:
                self.leave_out("score")
            category_id = int(instances.category_ids[index])
            left, top, right, bottom = instances.boxes_xyxy[index].tolist()
            name = self.categories.get(category_id, str(category_id))
            score = None if scores is None else float(scores[index])
            number = len(objects) + 1
            objects.append(
                LabelledObject(number, rle, (left, top, right, bottom), category_id, name, crowd, ignore, score)
            )
        self.objects += len(objects)
        unknown = labels.unknown if self.holds_unknown else []
        for rle, box in zip(unknown, tight_boxes(unknown).tolist(), strict=True):
            category_id, name = next(iter(self.categories.items()), (1, UNNAMED))
            number = len(objects) + 1
            objects.append(LabelledObject(number, rle, tuple(box), category_id, name, True, True, None))
        self.write(labels, objects)
        self.images += 1

    @abstractmethod
    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        """Write one image, or keep it until the end."""

    def put(self, path: Path, content: bytes | str) -> None:
        """Write the file of one image, unless it is there and ``keep`` or ``resumed`` says to leave it."""
        if self.keep and path.exists():
            return
        if self.resumed and path.exists() and not _holds(path, content):
            self.others.append(path)
            return
        write_whole(path, content)

    def close(self) -> None:  # noqa: B027 (most formats have nothing of the kind)
        """Write what belongs to no single image. Call it once, after the last image."""

    def notes(self) -> list[str]:
        """Lines for the user: what was left out, and what the tool needs to be told."""
        lines: list[str] = []
        if self.others:
            lines.append(f"another's, or changed, and left as they were: {', '.join(map(str, self.others))}")
        if self._left_out:
            counts = [f"{count} {noun}{'s' * (count > 1)}" for noun, count in self._left_out.items()]
            listed = " and ".join(filter(None, [", ".join(counts[:-1]), counts[-1]]))
            were = "was" if sum(self._left_out.values()) == 1 else "were"
            lines.append(f"{listed} {were} left out: {self.tool} has no place for them")
        if self._not_found:
            by_stem = f"{self.tool} goes" if self.names_image else f"{self.tool} and --data go"
            lines.append(
                f"{self._not_found} images share their stem with another, so their files have both endings, "
                f"such as .jpg{self.suffix}: {by_stem} by the stem, and won't find them; rename the images"
            )
        return lines

    def leave_out(self, noun: str, count: int = 1) -> None:
        """Count what the format can't hold, for ``notes``."""
        if count:
            self._left_out[noun] += count

    def name_in_folder(self, file_name: str) -> str:
        """The name in ``folder`` that an image would have beside its file: its own, unless a format wants another."""
        return file_name

    def paths(self) -> list[Path]:
        """Files that will be written: those of the images whose names are known, in their order, then any others."""
        return [*(self._file(stem) for stem in self._stems.values()), *self.common_files()]

    def common_files(self) -> list[Path]:
        """Those among them that are of all images; ``close`` writes them."""
        return []

    def _file(self, stem: PurePosixPath) -> Path:
        return self.place.out / self.folder / f"{stem}{self.suffix}"

    def _stem(self, file_name: str) -> PurePosixPath:
        return self._stems.get(file_name) or PurePosixPath(self.name_in_folder(file_name)).with_suffix("")

    def path(self, labels: Labels, suffix: str | None = None) -> Path:
        """Path of the file of one image: its name with another suffix, unless two images would share it.

        Raises:
            ValueError: the name leads out of the folder, or another image's file has it; or a file that was read would
                be written over.
        """
        name = PurePosixPath(self.name_in_folder(labels.file_name))
        stem = self._stem(labels.file_name)
        if str(stem).casefold() in self._taken:
            stem = name
        path = path_inside(self.place.out / self.folder, f"{stem}{suffix or self.suffix}")
        other = self._taken.get(str(stem).casefold())
        if other is not None and _are_one(path, other):
            raise ValueError(f"{name}: two images have this name; each needs one of its own")
        self._not_found += bool(name.suffix) and str(stem) == str(name)
        self._taken[str(stem).casefold()] = path
        self.refuse_to_overwrite(path, labels)
        self.written.append(path)
        return path

    def refuse_to_overwrite(self, path: Path, labels: Labels | None = None) -> None:
        """Stop before a file that was read, or any file in a folder that was read, would be written over.

        Raises:
            ValueError: names the file.
        """
        image = [labels.path] if labels is not None and labels.path is not None else []
        for read in (*image, *self.place.read):
            if not path.exists() or not read.exists():
                continue
            if path.resolve().is_relative_to(read.resolve()) if read.is_dir() else path.samefile(read):
                raise ValueError(f"would write over {path}, among the data that is read: give another --out")


def _are_one(path: Path, other: Path) -> bool:
    """Whether these name one file; where they differ in capitals, that is up to the disk."""
    return path == other or (path.exists() and other.exists() and path.samefile(other))


def _holds(path: Path, content: bytes | str) -> bool:
    return path.read_bytes() == (content.encode() if isinstance(content, str) else content)


class OneFileWriter(Writer):
    """Writer of one file, which is written when all images are there."""

    def check_name(self, file_name: str, path: Path | None) -> None:
        """Nothing to look at: no file is called after an image."""

    def paths(self) -> list[Path]:
        return self.common_files()

    def common_files(self) -> list[Path]:
        return [self.place.out]

    def close(self) -> None:
        self.refuse_to_overwrite(self.place.out)
        self.write_file()

    @abstractmethod
    def write_file(self) -> None:
        """Write the file."""


def labels_of(
    found: Proposals, category_ids: Sequence[int], image_id: int, file_name: str, path: Path | None
) -> Labels:
    """What was found in an image, as labels that ``Writer.add`` takes, numbered from 1."""
    instances = to_instances(range(1, len(found) + 1), found.rles, category_ids)
    return Labels(image_id, file_name, path, found.height, found.width, instances)


def relative_path(path: Path, folder: Path) -> str:
    """The way to a file from a folder, with forward slashes; ".." leads out of what a linked folder is a link to."""
    return Path(os.path.relpath(path, os.path.realpath(folder))).as_posix()


def images_root(labels: Labels) -> Path | None:
    """The folder that ``file_name`` is relative to; None where no file holds the image."""
    if labels.path is None:
        return None
    name = PurePosixPath(labels.file_name.replace("\\", "/"))
    path = Path(os.path.abspath(labels.path))
    return path.parents[len(name.parts) - 1] if path.parts[-len(name.parts) :] == name.parts else path.parent
