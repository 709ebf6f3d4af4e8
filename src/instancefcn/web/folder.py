"""A folder of photographs that a person steps through, and the labels that are saved of what is kept."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instancefcn.export.open import open_writer
from instancefcn.export.writer import labels_of
from instancefcn.files import file_sum, size_and_time
from instancefcn.folders import files_below
from instancefcn.labelling.ledger import Entry, Ledger
from instancefcn.labelling.person_labels import guess_form, labelled_files, labelled_images, open_labels
from instancefcn.labelling.proposing import category_of
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals

FORMS = ("labelme", "xanylabeling", "geojson", "labels")  # that are a file for each image, and nothing besides
LEDGER = ".instancefcn-web.jsonl"  # among the labels; hidden, so no reader takes it for one
PERSONS = "was not written here, or was changed since"


class OthersFile(Exception):  # noqa: N818 - the page asks the person
    """Labels that the page did not write, or that were changed since, are in the way.

    Attributes:
        sum: SHA-256 of the file, by which a person says that this one may be replaced; None where it may not.
    """

    def __init__(self, sentence: str, sum: str | None) -> None:
        super().__init__(sentence)
        self.sum = sum


class ReviewFolder:
    """The photographs of a folder, and a folder of labels as the labelling loop reads and writes them.

    A file of labels is written over only by one who names its SHA-256: a tab that saved it, or a person who was asked
    about it. A ledger of these sums in the folder of labels says which files this page wrote, and nobody changed since.

    Args:
        folder: of the photographs.
        images: names (relative to the folder, with forward slashes) and paths.
        labels: the folder of labels, which need not exist; None to look and save nothing.
        form: one of ``FORMS``; None for that of the labels that are there, or labelme.
        tolerance: pixels by which outlines may shift.

    Raises:
        ValueError: the labels' format is not clear, or is none of ``FORMS``.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[tuple[str, Path]],
        labels: Path | None,
        form: str | None = None,
        tolerance: float = 1.0,
    ) -> None:
        self.folder, self.images, self.labels, self.tolerance = folder, list(images), labels, tolerance
        self.form, self.category = form or "labelme", (CATEGORY_ID, CATEGORY_NAME)
        self._elsewhere: set[int] = set()  # images that another file labels than the one that would be written
        self._looked_at: dict[Path, tuple[int, int]] = {}  # bytes and times of change of the labels that were read
        self._lock = threading.Lock()
        self.ledger: Ledger | None = None
        if labels is None:
            return
        if labels.exists() and not labels.is_dir():
            raise ValueError(f"{labels}: a folder is needed, as labels are saved as a file for each photograph")
        self.form = form or guess_form(labels, "--to", folder) or "labelme"
        if self.form not in FORMS:
            raise ValueError(
                f"{labels}: holds {self.form}, but here labels are a file for each photograph, one of "
                f"{', '.join(FORMS)}: give another --labels, or --to"
            )
        self.ledger = Ledger(labels, labels / LEDGER)
        self._files = open_writer(self.form, labels, {}, names=[name for name, _ in images]).paths()
        self._read(labels)

    def state(self, place: int) -> str:
        """ "none" where a photograph has no labels, "saved" if this page wrote them, "others" otherwise."""
        if self.ledger is None:
            return "none"
        name = self.file_name(place)
        if place in self._elsewhere:
            return "others"
        if self.ledger.is_ours(name):
            return "saved"
        return "others" if self._files[place].exists() else "none"

    def file_name(self, place: int) -> str:
        """The name of a photograph's file of labels."""
        assert self.labels is not None
        return self._files[place].relative_to(self.labels).as_posix()

    def save(self, place: int, kept: Proposals, over: str | None = None) -> dict[str, Any]:
        """Write the labels of a photograph.

        Args:
            over: SHA-256 of the file that may be replaced.

        Returns:
            The ``file`` in the folder of labels, its SHA-256 (``sum``), how many ``objects`` it has, and ``notes``.

        Raises:
            OthersFile: another file is there.
            ValueError: there is no folder of labels.
        """
        if self.labels is None or self.ledger is None:
            raise ValueError("nothing is saved without --labels: start `instancefcn web FOLDER --labels DIR`")
        with self._lock:
            self._read(self.labels)
            name, (image, path) = self.file_name(place), self.images[place]
            if place in self._elsewhere:
                raise OthersFile(
                    f"{image} has labels in {self.labels} already, but not in {name}: two files would label it. Move "
                    "the other one away, and start anew.",
                    None,
                )
            if (self.labels / name).exists() and (there := file_sum(self.labels / name)) != over:
                why = "was saved earlier, or in another window" if self.ledger.is_ours(name) else PERSONS
                raise OthersFile(f"{name} {why}.", there)
            names = [name for name, _ in self.images]
            writer = open_writer(self.form, self.labels, dict([self.category]), self.tolerance, names=names)
            labels = labels_of(kept, [self.category[0]] * len(kept), place + 1, image, path)
            writer.add(labels, kept.scores.tolist())
            # Entered once it is written: a stop between the two makes it another's, and the person is asked.
            written = file_sum(self.labels / name)
            self.ledger.enter(Entry(name, 0, image, self.form), written)
            self._looked_at[self.labels / name] = size_and_time(self.labels / name)  # only this: others may write, too
            return {"file": name, "sum": written, "objects": len(kept), "notes": writer.notes()}

    def _read(self, labels: Path) -> None:
        """Look which photographs have labels, and of which category, where files are new or were changed."""
        there = {path: size_and_time(path) for path in files_below(labels)} if labels.is_dir() else {}
        if there == self._looked_at:
            return
        self._looked_at = there
        with tempfile.TemporaryDirectory(prefix="instancefcn-") as view:
            source = open_labels(self.form, labels, self.folder, Path(view))
            paths = [path for _, path in self.images]
            mine = labelled_images(source, paths, self.form)
            self.category = category_of([mine])
            labelled = labelled_files([mine])
        self._elsewhere = {
            place for place, path in enumerate(paths) if path.resolve() in labelled and not self._files[place].exists()
        }
