"""Results in JSON, JSON lines and Parquet: the same ones, whatever holds them, and never all at once."""

from __future__ import annotations

import gzip
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from instancefcn.data import result_files
from instancefcn.data.result_files import json_lines, read_results, write_parquet


def result(number: int) -> dict[str, Any]:
    return {
        "image_id": number // 3,
        "category_id": 1,
        "segmentation": {"size": [30, 40], "counts": f"0{number}PP1"},
        "bbox": [0.0, 1.5, number + 0.1, 4.0],
        "score": 1 / (number + 1),
    }


RESULTS = [result(number) for number in range(25)]


def as_json(path: Path, results: list[Any]) -> None:
    path.write_text("[" + ",\n".join(json.dumps(one) for one in results) + "\n]\n")


def as_lines(path: Path, results: list[Any]) -> None:
    path.write_bytes(b"".join(json_lines(results[start : start + 4]) for start in range(0, len(results) + 1, 4)))


def as_parquet(path: Path, results: list[Any]) -> None:
    write_parquet(path, iter(results))


FORMATS = [as_json, as_lines, as_parquet]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("results", [RESULTS, []])
def test_what_was_written_is_read(write: Callable[..., None], results: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "named-as-nothing"
    write(path, results)
    assert list(read_results(path)) == results


def test_the_same_results_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json_lines(RESULTS)
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert json_lines(RESULTS) == before
    as_parquet(tmp_path / "a", RESULTS)
    as_parquet(tmp_path / "b", RESULTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(tmp_path.glob(".*")) == []


def test_rows_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_files, "ROWS_AT_ONCE", 10)
    as_parquet(tmp_path / "a", RESULTS)
    assert parquet.ParquetFile(tmp_path / "a").num_row_groups == 3


def test_lines_of_any_tool(tmp_path: Path) -> None:
    plain, blanks = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_text("\ufeff" + "\n".join(map(json.dumps, RESULTS)), encoding="utf-8")
    blanks.write_bytes(gzip.compress("\r\n\r\n".join(["", *map(json.dumps, RESULTS), " "]).encode()))
    assert list(read_results(plain)) == list(read_results(blanks)) == RESULTS


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values), st.sampled_from([None, 1, "\t"]), st.integers(1, 9))
def test_a_list_is_read_as_the_json_module_does(items: list[Any], indent: Any, at_once: int) -> None:
    """However the pieces that are read cut it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_files, "_CHARACTERS_AT_ONCE", at_once)
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(items, indent=indent) + " \n ")
        assert list(read_results(path)) == items


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2", r"Expecting ',' delimiter: character 5"),
        (b"[1 2]", r"Expecting ',' delimiter: character 3"),
        (b"[1, ]", r"Expecting value: character 4"),
        (b'[{"a": 1}] x', "Extra data behind the list: 'x"),
        (b'["' + b"a" * 999, "Unterminated string starting at: character 1"),
        (b"[" * 100_000, "recursion"),
        (b"[1, 2]"[:0], "it is empty"),
        (b"\xff\xfe", "can't decode"),
        (b"hello", "it starts with 'h'"),
        (b'{"images": [],\n "annotations": []}', "not COCO results, which are a list"),
        (b'{"images": []}', "not COCO results, which are a list"),
        (b"3", "not COCO results, which are a list"),
        (b'{"image_id": 1}\n{"image_id": ', "line 2: Expecting value"),
        (json_lines(RESULTS)[:-9], "not a whole gzip file"),
        (json_lines(RESULTS)[:50] + bytes(60), "not a whole gzip file"),
        (b"PAR1" + bytes(100), "not a file of results: .*magic"),
    ],
)
def test_what_is_no_file_of_results_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
        list(read_results(path))
    with pytest.raises(ValueError, match=r"b\.json: cannot be read: No such file"):
        list(read_results(tmp_path / "b.json"))


def test_a_result_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to its end, which may be larger than memory."""
    monkeypatch.setattr(result_files, "_LONGEST_ITEM", 1000)
    monkeypatch.setattr(result_files, "_CHARACTERS_AT_ONCE", 100)
    path = tmp_path / "a.json"
    path.write_text('["' + "a" * 5000 + '"]')
    with pytest.raises(ValueError, match=r"a\.json: not a file of results: Unterminated string"):
        list(read_results(path))


@pytest.mark.parametrize("write", FORMATS)
def test_a_file_takes_no_more_memory_than_its_pieces(write: Callable[..., None], tmp_path: Path) -> None:
    path, results = tmp_path / "a", [result(number) for number in range(20_000)]
    write(path, results[:10])
    assert len(list(read_results(path))) == 10  # what is imported once is there
    write(path, results)
    tracemalloc.start()
    count = sum(1 for _ in read_results(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 12e6  # all of them take 16 MB, and a group of rows half of that
