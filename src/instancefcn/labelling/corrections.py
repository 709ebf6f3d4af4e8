"""Proposals that a person corrected where they lie, as labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from instancefcn.data.selection import Selection
from instancefcn.data.source import Problem
from instancefcn.export.yolo import DATA
from instancefcn.labelling.ledger import Ledger
from instancefcn.labelling.person_labels import CLASSES, labelled_images, link, open_labels


@dataclass(frozen=True)
class Corrections:
    """What a person made of proposals in one format.

    Args:
        images: the labelled images.
        problems: of their files, by the names of links to them.
        views: the folders of these links.
        lone: how many changed files label no image.
    """

    images: Selection
    problems: Sequence[Problem]
    views: Sequence[Path]
    lone: int

    def besides(self, others: Collection[Path], name: str) -> Selection:
        """The images that are not among ``others``, files behind all links."""
        chosen = [
            (self.images, index)
            for index in range(len(self.images))
            if (path := self.images.labels(index).path) is not None and path.resolve() not in others
        ]
        return Selection(chosen, name)


def persons_files(ledger: Ledger, form: str) -> dict[str, list[str]]:
    """Names of a person's files in the ledger's folder, by the format that they were written in.

    Args:
        form: of files that we never wrote.
    """
    found: dict[str, list[str]] = {}
    for name in ledger.persons():
        written = ledger.entries[name].form if name in ledger.entries else ""
        found.setdefault(written or form, []).append(name)
    return found


def read_corrections(
    ledger: Ledger, names: Sequence[str], form: str, folder: Path, images: Mapping[str, Path], out: Path
) -> Corrections:
    """Read a person's files in the ledger's folder, through links in folders of our own.

    Args:
        names: of these files.
        form: theirs; one with a file for each image.
        folder: of the images.
        images: by their file names.
        out: folder for the folders of links.

    Raises:
        ValueError: as ``person_labels.open_labels``.
    """
    touched, view = out / f"view-touched-{form}", out / f"view-corrected-{form}"  # as deep as the proposals, for paths
    classes = [DATA] if (ledger.folder / DATA).exists() else []  # without which YOLO's numbers have no names
    link({touched / name: ledger.folder / name for name in [*names, *classes]}, touched)
    known = {
        touched / name: folder / entry.image
        for name in names
        if (entry := ledger.entries.get(name)) is not None and entry.image in images
    }
    opened = open_labels(form, touched, folder, view, known=known)
    labelled = labelled_images(opened, list(images.values()), form)
    own = [name for name in names if name not in classes and Path(name).name != CLASSES]
    lone = max(len(own) - len(labelled) - len(opened.problems), 0)
    return Corrections(labelled, opened.problems, [view, touched], lone)
