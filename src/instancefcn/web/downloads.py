"""What a visitor kept, as files of every format that ``--to`` knows."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instancefcn.data.result_files import json_lines, results_schema, write_rows
from instancefcn.export.open import FORMS as TOOLS
from instancefcn.export.open import open_writer
from instancefcn.export.writer import labels_of
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals
from instancefcn.web.found import Found
from instancefcn.web.visit import Photograph, free_name

STEM = "objects"
RESULTS = ("json", "jsonl", "parquet")  # COCO results with scores, as ``propose`` writes them
FORMS = (*RESULTS, *TOOLS)
MEDIA_TYPES = {".json": "application/json", ".zip": "application/zip", ".png": "image/png"}


@dataclass(frozen=True)
class Chosen:
    """What is kept of one photograph."""

    key: str
    by: int  # number of the model
    exclusive: bool
    numbers: tuple[int, ...]  # of the objects that are kept, from 1

    @classmethod
    def from_json(cls, table: Any) -> Chosen:
        """Read what the page sent.

        Raises:
            ValueError: a value of another type.
            KeyError: one is missing.
        """
        numbers = table["kept"]
        if not isinstance(numbers, list) or not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError("kept must list numbers from 1 on")
        if type(table["by"]) is not int or not isinstance(table["exclusive"], bool):
            raise ValueError("by must be a number, exclusive true or false")
        return cls(str(table["key"]), table["by"], table["exclusive"], tuple(sorted(set(numbers))))

    def of(self, found: Found) -> Proposals:
        """The objects that are kept, best first.

        Raises:
            LookupError: there is no object of such a number.
        """
        every = found.objects(self.exclusive)
        if self.numbers and self.numbers[-1] > len(every):
            raise LookupError(f"there are {len(every)} objects, not {self.numbers[-1]}")
        return every[[number - 1 for number in self.numbers]]


@dataclass(frozen=True)
class Download:
    """One file for the visitor."""

    name: str
    content: bytes
    notes: list[str]  # what the format could not hold

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(Path(self.name).suffix, "application/octet-stream")


def download(form: str, wanted: Sequence[tuple[Photograph, Chosen, Found]]) -> Download:
    """Write what is kept of photographs, numbered from 1, in a format.

    Args:
        form: one of ``FORMS``.

    Returns:
        The file, or a zip of several.

    Raises:
        ValueError: no such format, or the photographs don't fit it.
        LookupError: an object that is not there.
    """
    if form not in FORMS:
        raise ValueError(f"there is no format {form!r}: take one of {', '.join(FORMS)}")
    kept = [(photograph, chosen.of(found)) for photograph, chosen, found in wanted]
    if form in RESULTS:
        return _results(form, kept)
    with tempfile.TemporaryDirectory(prefix="instancefcn-") as folder:
        out = Path(folder)
        names = distinct_names([photograph.name for photograph, _ in kept])
        writer = open_writer(form, out, {CATEGORY_ID: CATEGORY_NAME}, names=names)
        for number, (name, (_, found)) in enumerate(zip(names, kept, strict=True), start=1):
            labels = labels_of(found, [CATEGORY_ID] * len(found), number, name, None)
            writer.add(labels, found.scores.tolist())
        writer.close()
        files = sorted(path for path in out.rglob("*") if path.is_file())
        if len(files) == 1:
            return Download(files[0].name, files[0].read_bytes(), writer.notes())
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(out).as_posix())
        return Download(f"{STEM}-{form}.zip", content.getvalue(), writer.notes())


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names; one that came before, such as of an upload and of a photograph of the folder, gets a number.

    Example:
        >>> distinct_names(["a.png", "b.png", "a.png"])
        ['a.png', 'b.png', 'a (2).png']
    """
    distinct: list[str] = []
    for name in names:
        distinct.append(free_name(name, {*names, *distinct}) if name in distinct else name)
    return distinct


def _results(form: str, kept: Sequence[tuple[Photograph, Proposals]]) -> Download:
    results = [entry for number, (_, found) in enumerate(kept, start=1) for entry in found.to_coco(number)]
    names = ", ".join(f"{number} is {photograph.name}" for number, (photograph, _) in enumerate(kept, start=1))
    notes = [f"image_id {names}"]
    if form == "json":
        return Download(f"{STEM}.json", json.dumps(results, indent=1).encode(), notes)
    if form == "jsonl":
        return Download(f"{STEM}.jsonl.gz", json_lines(results), notes)
    content = io.BytesIO()
    write_rows(content, results_schema(), results)
    return Download(f"{STEM}.parquet", content.getvalue(), notes)
