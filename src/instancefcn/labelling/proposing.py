"""Objects proposed into a folder that a person works in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instancefcn.data.images import read_image
from instancefcn.data.source import Source
from instancefcn.export.open import is_one_file, open_writer
from instancefcn.export.writer import labels_of
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling.ledger import Ledger
from instancefcn.labelling.next_images import find_objects
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME


class ProposalFolder:
    """Writer of proposals in a tool's format, which leaves a person's files alone.

    Files are written into a staging folder, and moved into place one by one; of a format of one file, at the end. Files
    that this round has written already are not made again, so an interrupted round goes on. The one file of such a
    format is made again as a whole once there is an image that it does not hold: give these (not ``done``) first.

    Args:
        ledger: of the folder; it says whose its files are.
        staging: a folder beside the ledger's, on the same disk and at the same depth, which must be empty.
        number: of the round.
        form: one of ``export.open.FORMS``.
        category: id and name that every object gets.
        names: file names of all images of the whole job.
        tolerance: of outlines, in pixels.
    """

    def __init__(
        self,
        ledger: Ledger,
        staging: Path,
        number: int,
        form: str,
        category: tuple[int, str],
        names: Sequence[str],
        tolerance: float,
    ) -> None:
        self.ledger, self.staging, self.number, self.form, self.category = ledger, staging, number, form, category
        self.writer = open_writer(form, staging, dict([category]), tolerance, names=names)
        self.one_file = is_one_file(form)
        self.images = self.objects = self.kept = 0  # written; kept are images whose file is of this round already
        self.refused: list[str] = []  # names of a person's files
        self.done = ledger.finished(number, form)  # names of images
        self._held: list[str] = []  # by the one file

    def propose(self, proposer: Proposer, image_id: int, file_name: str, path: Path) -> None:
        """Propose in one image, unless its file is of this round, and is not made again.

        Raises:
            ValueError: the image can't be read.
        """
        if file_name in self.done and not (self.one_file and self.images):
            self.kept += 1
            return
        found = find_objects(proposer, read_image(path))
        labels = labels_of(found, [self.category[0]] * len(found), image_id, file_name, path)
        self.writer.add(labels, found.scores.tolist())
        self._held += [file_name] if self.one_file else []
        if self.one_file or self._place(file_name):
            self.images += 1
            self.objects += len(found)

    def close(self) -> None:
        """Write what belongs to all images, if there is a new one."""
        if self.images:
            self.writer.close()
            self._place("")

    def notes(self) -> list[str]:
        """Lines for the user, as the writer's."""
        lines = self.writer.notes() if self.images else []
        return [line.replace(str(self.staging), str(self.ledger.folder)) for line in lines]

    def _place(self, image: str) -> bool:
        """Move all files that were finished since the last time; whether none of them met a person's."""
        refused = len(self.refused)
        for path in sorted(path for path in self.staging.rglob("*") if path.is_file()):
            name = path.relative_to(self.staging).as_posix()
            if self.one_file and self.ledger.is_persons(name):
                self.refused.append(name)
                name = f"{Path(name).stem}-round-{self.number}.json"
            if not self.ledger.place(path, name, self.number, image, self.form, self._held):
                self.refused.append(name)
        return len(self.refused) == refused


def category_of(sources: Sequence[Source]) -> tuple[int, str]:
    """Id and name of the category of proposals: that of the labels, if all have one; else "object"."""
    found: set[tuple[int, str]] = set()
    for source in sources:
        for index in range(len(source)):
            ids = set(source.labels(index).instances.category_ids.tolist())
            found |= {(number, source.categories.get(number, str(number))) for number in ids}
    names = {name for _, name in found}
    return min(found) if len(names) == 1 else (CATEGORY_ID, CATEGORY_NAME)
