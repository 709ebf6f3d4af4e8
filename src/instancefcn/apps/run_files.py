"""The files of a run over images: results, images, errors and tables, kept step by step so that a run can go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instancefcn.apps.images import ImageFile
from instancefcn.apps.tables import COUNTS, OBJECTS, first_lines, lines_of
from instancefcn.data.result_files import (
    IMAGES,
    JSON,
    JSONL,
    PARQUET,
    json_lines,
    read_results,
    results_schema,
    write_parquet,
)
from instancefcn.files import file_sum, read_json, write_whole
from instancefcn.journal import Journal
from instancefcn.proposals import Proposals, Segments

ERRORS = "errors.jsonl"
INPUTS, PICTURES = "inputs.jsonl", "pictures.jsonl"  # of the journal alone: files that were read, pictures drawn
SUMS = "sums.json"  # beside the journal's files: of what was written for tools when the run stopped
UNFINISHED = ".unfinished"  # the journal's folder
PRECISION, EXACT = "--precision", "fp32"  # a setting; another one than EXACT stands in ``images.json``, as "info"
RESULTS_BEGIN = rb'\s*\[\s*(\]|\{[^{}]*"image_id")'
RESULT_FORMS = {"jsonl": JSONL, "parquet": PARQUET}  # of ``--to``, and how their files end


class RunFiles:
    """The files that a run over images adds to, image by image, each image wholly or not at all.

    Args:
        out: the folder; or one file, beside which nothing but the journal is written, until the run ends.
        stem: of the files of results, such as "proposals".
        forms: of the results, of RESULT_FORMS; JSON where there are none.
        json: also write JSON where there are.
        tables: also write the tables of objects.
        categories: names by id.
        settings: what the run was asked for, as JSON.

    Raises:
        ModuleNotFoundError: pyarrow, which Parquet takes, is not installed.
    """

    def __init__(
        self,
        out: Path,
        stem: str,
        forms: Sequence[str],
        *,
        json: bool,
        tables: bool,
        one_file: bool,
        categories: Mapping[int, str],
        settings: Mapping[str, Any],
    ) -> None:
        self.stem, self.categories = stem, categories
        self.json_name, self.jsonl_name = f"{stem}{JSON}", f"{stem}{JSONL}"  # files of results
        self.folder = out.with_name(f".{out.name[:100]}{UNFINISHED}") if one_file else out / UNFINISHED
        in_out = [] if one_file else [JSON] * (json or not forms) + [RESULT_FORMS[form] for form in forms]
        self.parquet = out / f"{stem}{PARQUET}" if PARQUET in in_out else None
        if self.parquet is not None:
            results_schema()  # what is missing is to be said now, and not when all images are done
        places: dict[str, Path | None] = {f"{stem}{end}": out / f"{stem}{end}" for end in in_out if end != PARQUET}
        if self.parquet is not None or one_file:
            places.setdefault(self.jsonl_name, None)
        places |= {name: None if one_file else out / name for name in (IMAGES, ERRORS)}
        places |= {name: out / name for name in (COUNTS, OBJECTS) if tables}
        places |= dict.fromkeys((INPUTS, PICTURES))
        self.journal = Journal(self.folder, places, settings)
        self._step: dict[str, int] = {}  # what the image at work adds to the counts

    @property
    def counts(self) -> dict[str, int]:
        """Images that were read, done, failed, and have as many results as are allowed ("full"); results "found"."""
        return dict.fromkeys(("read", "done", "failed", "full", "found"), 0) | self.journal.counts

    @property
    def results(self) -> list[Path]:
        """Files of results that are written at the end."""
        places = self.journal.places
        return [*filter(None, (places.get(self.json_name), places.get(self.jsonl_name), self.parquet))]

    @property
    def paths(self) -> list[Path]:
        """Files that are written at the end, those of results first."""
        places = self.journal.places
        return [*self.results, *filter(None, map(places.get, (IMAGES, ERRORS, COUNTS, OBJECTS)))]

    @property
    def heads(self) -> dict[str, bytes]:
        """What files begin with, by name."""
        return {self.json_name: b"[", self.jsonl_name: json_lines([]), IMAGES: b'{"images": ['} | first_lines()

    def beginnings(self) -> dict[Path, bytes]:
        """How the files of an earlier run begin, as regular expressions; those of results name their images."""
        known = {name: re.escape(head) for name, head in self.heads.items()}
        known |= {self.json_name: RESULTS_BEGIN, ERRORS: rb'\{"', f"{self.stem}{PARQUET}": b"PAR1"}
        return {path: known[path.name] for path in self.paths}

    def begin(self) -> None:
        """Start anew.

        Raises:
            OSError: a file can't be written; names it.
        """
        try:
            self.journal.begin(self.heads)
        except OSError:
            self.discard()
            raise

    def resume(self, images: Sequence[ImageFile]) -> bool:
        """Go on where a run stopped; whether one did.

        Raises:
            ValueError: it was asked for other things, or an image that it has read is another now; says what differs.
        """
        if not self.journal.resume():
            return False
        with self.journal.read(INPUTS) as lines:
            for number, line in enumerate(lines):
                now = _facts(images[number]) if number < len(images) else {}
                then = json.loads(line)
                if now != then:
                    name = then["file_name"]
                    what = "has changed" if now.get("file_name") == name else f"is {now.get('file_name', 'gone')!r} now"
                    raise ValueError(
                        f"{self.folder.parent}: image {number + 1} of the unfinished run there, {name!r}, {what}: give "
                        "the images as they were, or leave out --resume to start anew"
                    )
        return True

    def add(self, image: ImageFile, found: Proposals, *, full: bool) -> None:
        """Write what was found in an image; ``commit`` makes it count."""
        results = found.to_coco(image.image_id)
        if self.json_name in self.journal.places:
            self.journal.write(self.json_name, _items(results, first=self.counts["found"] == 0))
        if results and self.jsonl_name in self.journal.places:
            self.journal.write(self.jsonl_name, json_lines(results))
        entry = {"id": image.image_id, "file_name": image.file_name, "width": found.width, "height": found.height}
        self.journal.write(IMAGES, _items([entry], first=self.counts["done"] == 0))
        if COUNTS in self.journal.places:
            for name, lines in lines_of(image, found).items():
                self.journal.write(name, lines)
        self._step = {"read": 1, "done": 1, "found": len(found), "full": int(full)}

    def fail(self, image: ImageFile, reason: str) -> None:
        """Write that an image could not be read; ``commit`` makes it count."""
        failure = {"image_id": image.image_id, "file_name": image.file_name, "reason": reason}
        self.journal.write(ERRORS, json.dumps(failure).encode() + b"\n")
        self._step = {"read": 1, "failed": 1}

    def commit(self, image: ImageFile, pictures: Sequence[str]) -> None:
        """Let an image count, with the pictures that were drawn of it, relative to the folder.

        Raises:
            OSError: a file can't be written; names it. The image does not count.
        """
        self.journal.write(INPUTS, json.dumps(_facts(image)).encode() + b"\n")
        self.journal.write(PICTURES, b"".join(json.dumps(name).encode() + b"\n" for name in pictures))
        self.journal.commit({key: count + self._step.get(key, 0) for key, count in self.counts.items()})

    def pictures(self) -> list[str]:
        """Pictures that the journal knows of, relative to the folder."""
        with self.journal.read(PICTURES) as lines:
            return [json.loads(line) for line in lines]

    def note_sums_of_tools(self, sums: Mapping[str, str]) -> None:
        """Keep with the journal what a run that goes on must find unchanged."""
        write_whole(self.journal.folder / SUMS, json.dumps(sums))

    def sums_of_tools(self) -> dict[str, str]:
        """What was kept when the run stopped; nothing of one that was killed."""
        path = self.journal.folder / SUMS
        found = read_json(path) if path.is_file() else {}
        return found if isinstance(found, dict) else {}

    def finished(self) -> Iterator[tuple[int, Proposals]]:
        """Id of each image that is done, and what was found in it."""
        results = iter(self._results())
        ahead = next(results, None)
        with self.journal.read(IMAGES) as entries:
            for line in entries:
                if not line.startswith(b'{"id"'):  # what the file starts with
                    continue
                entry, own = json.loads(line.rstrip(b",\n")), []
                while ahead is not None and ahead["image_id"] == entry["id"]:
                    own.append(ahead)
                    ahead = next(results, None)
                yield entry["id"], self._proposals(own, entry["height"], entry["width"])

    def close(self, pictures: Sequence[str], *, finished: bool, in_place: bool = True) -> None:
        """End the run: put the files in place, and remove the journal if it is ``finished``.

        Raises:
            OSError: a file can't be written; names it. The run can be gone on with.
        """
        if self.parquet is not None and in_place:
            self.journal.cut()  # on a full disk, half a step is behind the last whole one
            write_parquet(self.parquet, read_results(self.folder / self.jsonl_name))
        categories = json.dumps([{"id": category_id, "name": name} for category_id, name in self.categories.items()])
        drawn = f',\n"pictures": {json.dumps(sorted(pictures))}' if pictures else ""
        precision = self.journal.settings.get(PRECISION, EXACT)
        how = "" if precision == EXACT else f',\n"info": {json.dumps({"precision": precision})}'
        end = f'\n],\n"annotations": [],\n"categories": {categories}{how}{drawn}}}\n'
        self.journal.close({self.json_name: b"\n]\n", IMAGES: end.encode()}, finished=finished, in_place=in_place)

    def discard(self) -> None:
        """End a run that has done nothing: leave everything as it was before."""
        self.journal.close({}, finished=True, in_place=False)

    def _results(self) -> Iterator[dict[str, Any]]:
        if self.jsonl_name in self.journal.places:
            yield from read_results(self.folder / self.jsonl_name)
            return
        with self.journal.read(self.json_name) as lines:
            yield from (json.loads(line.rstrip(b",\n")) for line in lines if line.startswith(b"{"))

    def _proposals(self, results: Sequence[dict[str, Any]], height: int, width: int) -> Proposals:
        """The proposals whose results these are."""
        if self.stem != "segments":
            return Proposals.from_coco(results, height, width)
        return Segments.from_coco(results, height, width, names=self.categories)


def fingerprint(path: Path) -> str:
    """What tells a file from others: the first digits of its SHA-256."""
    return file_sum(path)[:16]


def _facts(image: ImageFile) -> dict[str, Any]:
    """What tells an image that was read from another: id, name, bytes and time of change."""
    facts: dict[str, Any] = {"image_id": image.image_id, "file_name": image.file_name}
    try:
        status = image.path.stat()
    except OSError:  # it is reported when it is read
        return facts
    return facts | {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _items(items: Sequence[Mapping[str, Any]], *, first: bool) -> bytes:
    """Items of a JSON array, one a line."""
    lines = ",\n".join(json.dumps(item, separators=(",", ":"), allow_nan=False) for item in items)
    return (("\n" if first else ",\n") + lines).encode() if lines else b""
