"""Files of COCO results, which may be larger than memory: JSON, JSON lines, and Parquet, read piece by piece.

All three hold the same results: ``{"image_id", "category_id", "segmentation": {"size", "counts"}, "bbox", "score"}``.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from instancefcn.files import whole_file

JSON, JSONL, PARQUET = ".json", ".jsonl.gz", ".parquet"  # what ``propose`` ends their names with
IMAGES = "images.json"  # beside a run's results: which images their ids are of, and its pictures
STEMS = ("proposals", "objects")  # of the files of results, and of a corpus's folders of them
SEGMENTS_STEM = "segments"  # of files of results with names
ROWS_AT_ONCE = 10_000  # of a Parquet file: a row group, some megabytes
_CHARACTERS_AT_ONCE = 1 << 18
_LONGEST_ITEM = 1 << 26  # characters of one result
_SPACE = " \t\n\r"
_BLANK = re.compile(f"[{_SPACE}]*")
_DECODER = json.JSONDecoder()
_NO_RESULTS = "not COCO results, which are a list of {image_id, category_id, segmentation or bbox, score}"


def read_results(path: Path) -> Iterator[Any]:
    """The results in a file, one after the other, as JSON values that nobody has checked.

    The format is told by the content: a JSON array, an object a line (both also compressed by gzip), or Parquet. Of a
    folder, such as ``instancefcn propose-corpus`` writes, all Parquet files are read, in the order of their names.

    Raises:
        ValueError: the file can't be read, or is none of these, or a folder has none of them; names it.
        ModuleNotFoundError: pyarrow, which reads Parquet, is not installed.

    Example:
        >>> best = max(read_results(Path("proposals.jsonl.gz")), key=lambda one: one["score"])  # doctest: +SKIP
    """
    if path.is_dir():
        yield from chain.from_iterable(map(read_results, parquet_files(path)))
        return
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PAR1":
                yield from _rows(file)
            elif start.startswith(b"\x1f\x8b"):
                with gzip.open(file) as content:
                    yield from _json_values(content, may_be_empty=True)
            else:
                yield from _json_values(file)
    except _NotResultsError:
        raise ValueError(f"{path}: {_NO_RESULTS}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a file of results: {error}") from error


def json_lines(results: list[dict[str, Any]]) -> bytes:
    """Results as lines of JSON, compressed by gzip: the same bytes for the same results.

    Such pieces may lie one after the other in a file: gzip's own readers take them for one.
    """
    lines = "".join(json.dumps(result, separators=(",", ":"), allow_nan=False) + "\n" for result in results)
    return gzip.compress(lines.encode(), compresslevel=6, mtime=0)  # 9 takes twice the time for 1 % less


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of results in a folder, or in its folder of proposals or objects, by name.

    Raises:
        ValueError: there is none; names the folder.
    """
    for place in (folder, *(folder / stem for stem in STEMS)):
        if found := sorted(path for path in place.glob(f"*{PARQUET}") if not path.name.startswith(".")):
            return found
    raise ValueError(f"{folder}: no {PARQUET} file of results in it, nor in its {' or '.join(STEMS)}/")


def write_parquet(path: Path, results: Iterable[dict[str, Any]]) -> None:
    """Write COCO results with masks as a Parquet file, a row each, without holding them all.

    Columns: ``image_id`` and ``category_id`` (int64), ``segmentation`` (``size``, int32; ``counts``, text), ``bbox``
    (double), ``score`` (double). ``pyarrow.parquet.read_table(path).to_pylist()`` gives the results.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        OSError: the file can't be written; names it.
    """
    with whole_file(path) as file:
        write_rows(file, results_schema(), results)


def results_schema(metadata: Mapping[str, str] | None = None) -> Any:
    """The ``pyarrow.Schema`` of results, with what a file may say about itself.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow

    segmentation = pyarrow.struct([("size", pyarrow.list_(pyarrow.int32())), ("counts", pyarrow.string())])
    whole, number = pyarrow.int64(), pyarrow.float64()
    columns = [
        ("image_id", whole),
        ("category_id", whole),
        ("segmentation", segmentation),
        ("bbox", pyarrow.list_(number)),
        ("score", number),
    ]
    return pyarrow.schema(columns, metadata)


def write_rows(file: Any, schema: Any, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as Parquet into an open file, without holding them all; returns how many there were."""
    import pyarrow
    from pyarrow import parquet

    left, count = iter(rows), 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(left, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema))
            count += len(some)
    return count


class _NotResultsError(Exception):
    """The file holds JSON, but no results."""


def _rows(file: BinaryIO) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException, parquet

    try:
        for batch in parquet.ParquetFile(file).iter_batches(ROWS_AT_ONCE):
            yield from batch.to_pylist()
    except ArrowException as error:
        raise ValueError(" ".join(str(error).split())) from error


def _json_values(file: Any, *, may_be_empty: bool = False) -> Iterator[Any]:
    """Items of a JSON array, or the values of lines."""
    with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        start = " "
        while start and start in _SPACE:
            start = text.read(1)
        if start == "[":
            yield from _items(text)
        elif start == "{":
            yield from _lines(text)
        elif start and start in '"0123456789-tfn':
            raise _NotResultsError
        elif start or not may_be_empty:
            raise ValueError(f"it starts with {start!r}" if start else "it is empty")


def _lines(text: io.TextIOWrapper) -> Iterator[Any]:
    for number, line in enumerate(chain(["{" + text.readline()], text), start=1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError as error:
            if number == 1:  # an object over several lines, such as a file of annotations
                raise _NotResultsError from error
            raise ValueError(f"line {number}: {error}") from error
        if value is None:
            continue
        if number == 1 and "image_id" not in value:
            raise _NotResultsError
        yield value


def _items(text: io.TextIOWrapper) -> Iterator[Any]:
    """The items behind the "[" of a JSON array, decoded as they come in."""
    buffer, place, before, size, first = "", 0, 1, _CHARACTERS_AT_ONCE, True
    while True:
        try:
            items, place = _next_item(buffer, place, first)
        except json.JSONDecodeError as error:  # or it is not all there yet
            content = text.read(size)
            if not content or len(buffer) - place > _LONGEST_ITEM:
                raise ValueError(f"{error.msg}: character {before + error.pos}") from None
            buffer, before, place, size = buffer[place:] + content, before + place, 0, 2 * size
            continue
        yield from items
        if not items:
            break
        size, first = _CHARACTERS_AT_ONCE, False
    rest = buffer[place:]
    while rest or (rest := text.read(_CHARACTERS_AT_ONCE)):
        if rest := rest.lstrip(_SPACE):
            raise ValueError(f"Extra data behind the list: {rest[:20]!r}")


def _next_item(buffer: str, place: int, first: bool) -> tuple[list[Any], int]:
    """The next item of a JSON array, none where it ends, and the place behind it.

    Raises:
        json.JSONDecodeError: there is no whole item, with what shows that it has ended.
    """
    place = _BLANK.match(buffer, place).end()  # pyright: ignore[reportOptionalMemberAccess]  # it matches nothing, too
    if buffer.startswith("]", place):
        return [], place + 1
    if not first:
        if not buffer.startswith(",", place):
            raise json.JSONDecodeError("Expecting ',' delimiter", buffer, place)
        place = _BLANK.match(buffer, place + 1).end()  # pyright: ignore[reportOptionalMemberAccess]
    value, end = _DECODER.raw_decode(buffer, place)
    after = _BLANK.match(buffer, end).end()  # pyright: ignore[reportOptionalMemberAccess]
    if not buffer.startswith((",", "]"), after):  # of 1e5, "1" alone may be there yet
        raise json.JSONDecodeError("Expecting ',' delimiter", buffer, after)
    return [value], end
