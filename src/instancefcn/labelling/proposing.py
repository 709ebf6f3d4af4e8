"""Objects proposed into a folder that a person works in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from instancefcn.data.images import read_image
from instancefcn.data.source import Source
from instancefcn.data.yolo import YoloFolder
from instancefcn.export.open import is_one_file, open_writer
from instancefcn.export.writer import labels_of
from instancefcn.export.yolo import DATA
from instancefcn.file_names import unique_stems
from instancefcn.files import size_and_time
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling.ledger import Entry, Ledger
from instancefcn.labelling.next_images import find_objects
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME


class ProposalFolder:
    """Writer of proposals in a tool's format, which leaves a person's files alone.

    Files are written into a staging folder, and moved into place one by one; of a format of one file, at the end. Files
    that this round has written already are not made again, so an interrupted round goes on, unless the image was
    changed, or another category or tolerance is asked for. The one file of such a format is made again as a whole once
    there is an image that it does not hold: give these (not ``is_done``) first.

    Args:
        ledger: of the folder; it says whose its files are.
        staging: a folder beside the ledger's, on the same disk and at the same depth, which must be empty.
        number: of the round.
        form: one of ``export.open.FORMS``.
        categories: names of all categories by id; YOLO numbers its classes by their order.
        category_id: that every object gets.
        names: file names of all images of the whole job.
        tolerance: of outlines, in pixels.
    """

    def __init__(
        self,
        ledger: Ledger,
        staging: Path,
        number: int,
        form: str,
        categories: Mapping[int, str],
        category_id: int,
        names: Sequence[str],
        tolerance: float,
    ) -> None:
        self.ledger, self.staging, self.number, self.form, self.category_id = ledger, staging, number, form, category_id
        self.asked = f"{category_id} {categories[category_id]} {tolerance}"
        self.writer = open_writer(form, staging, categories, tolerance, names=names)
        self.one_file = is_one_file(form)
        self.images = self.objects = self.kept = 0  # written; kept are images whose file is of this round already
        self.refused: list[str] = []  # names of a person's files
        self._done = ledger.finished(number, form)
        self._stems = dict(zip(names, unique_stems(names), strict=True))
        self._made_of: dict[str, str] = {}  # images of the next file, or of the one file

    def propose(self, proposer: Proposer, image_id: int, file_name: str, path: Path) -> None:
        """Propose in one image, unless its file is of this round, and is not made again.

        Raises:
            ValueError: the image can't be read.
        """
        if self.is_done(file_name, path) and not (self.one_file and self.images):
            self.kept += 1
            return
        made_of = self._of(file_name, path)
        found = find_objects(proposer, read_image(path))
        labels = labels_of(found, [self.category_id] * len(found), image_id, file_name, path)
        self.writer.add(labels, found.scores.tolist())
        self._made_of[file_name] = made_of
        if self.one_file or self._place(file_name):
            self.images += 1
            self.objects += len(found)
        if not self.one_file:
            self._made_of.clear()

    def is_done(self, file_name: str, path: Path) -> bool:
        """Whether this round has the proposals of an image already."""
        return self._done.get(file_name) == self._of(file_name, path)

    def _of(self, file_name: str, path: Path) -> str:
        """What the proposals of an image depend on besides the network of the round."""
        size, time = size_and_time(path)
        return f"{self._stems[file_name]} {size} {time} {self.asked}"

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
        refused, placed = len(self.refused), set[Path]()
        for path in sorted(path for path in self.staging.rglob("*") if path.is_file()):
            name = path.relative_to(self.staging).as_posix()
            if self.one_file and self.ledger.is_persons(name):
                self.refused.append(name)
                name = f"{Path(name).stem}-round-{self.number}.json"
            entry = Entry(name, self.number, image, self.form, dict(self._made_of))
            if not self.ledger.place(path, entry):
                self.refused.append(name)
            placed.add((self.ledger.folder / name).resolve())
        if image:  # it may have had a file of another format, or of another name before others came to share its stem
            self.ledger.remove([image], placed)
        return len(self.refused) == refused


def categories_of(sources: Sequence[Source], form: str, folder: Path) -> tuple[dict[int, str], int]:
    """Names of the categories that proposals are written with, by id, and the id of the one that they get.

    In YOLO's files classes are numbers, and corrected ones stay as they are. So there the classes of the folder's
    ``data.yaml``, or else of the labels, keep their numbers, and others follow.

    Raises:
        ValueError: ``data.yaml`` can't be read; names it.
    """
    category = category_of(sources)
    if form != "yolo":
        return dict([category]), category[0]
    known = YoloFolder.open(folder / DATA).names() if (folder / DATA).is_file() else None
    labelled = dict.fromkeys(name for source in sources for name in source.categories.values())
    names = list(labelled) if known is None else known
    names = names if category[1] in names else [*names, category[1]]
    return dict(enumerate(names, start=1)), names.index(category[1]) + 1


def category_of(sources: Sequence[Source]) -> tuple[int, str]:
    """Id and name of the category of proposals: that of the labels, if all have one; else "object"."""
    found: set[tuple[int, str]] = set()
    for source in sources:
        for index in range(len(source)):
            ids = set(source.labels(index).instances.category_ids.tolist())
            found |= {(number, source.categories.get(number, str(number))) for number in ids}
    names = {name for _, name in found}
    return min(found) if len(names) == 1 else (CATEGORY_ID, CATEGORY_NAME)
