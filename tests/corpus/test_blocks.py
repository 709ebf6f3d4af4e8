"""Blocks of a corpus: every image in one, with an id of its own, the same ones in every run."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from corpus.holding import store, write_shard, write_table
from instancefcn.apps.images import find_inputs
from instancefcn.corpus.blocks import (
    Block,
    Listed,
    _joined,
    corpus_of_files,
    corpus_of_images,
    deeper,
    images_in,
    images_of_store,
    kind_of,
)
from instancefcn.corpus.places import Place
from pictures import write_photograph


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 9))
def test_every_row_group_is_in_one_block(rows: list[int], count: int) -> None:
    joined = list(_joined(rows, count))
    covered = [group for (start, end), _ in joined for group in range(start, end)]
    assert [group for group in covered if rows[group]] == [group for group, own in enumerate(rows) if own]
    assert covered == sorted(set(covered))
    for (start, end), total in joined:
        assert total == sum(rows[start:end])
        assert total <= count or end == start + 1
    assert sum(total for _, total in joined) == sum(rows)


def test_row_groups_by_hand() -> None:
    assert list(_joined([2, 2, 2, 9, 1], 4)) == [((0, 2), 4), ((2, 3), 2), ((3, 4), 9), ((4, 5), 1)]


def test_rows_of_all_files_are_numbered_on(tmp_path: Path) -> None:
    for name, rows in (("10.parquet", 3), ("2.parquet", 5)):
        write_table(tmp_path / name, {"key": [f"{name}{row}" for row in range(rows)]})
    corpus = corpus_of_files(Place.of(str(tmp_path)), "parquet", 4)
    assert [(block.name, block.row_groups, block.first_id, block.count) for block in corpus.blocks] == [
        ("2.parquet", (0, 2), 1, 4),
        ("2.parquet", (2, 3), 5, 1),
        ("10.parquet", (0, 2), 6, 3),
    ]
    assert str(corpus).startswith("8 images (")


def test_a_shard_is_a_block_with_a_million_ids(tmp_path: Path) -> None:
    for number in range(12):
        write_shard(tmp_path / f"{number}.tar", {})
    corpus = corpus_of_files(Place.of(str(tmp_path)), "tar", 500)
    assert [block.name for block in corpus.blocks] == [f"{number}.tar" for number in range(12)]
    assert [block.first_id for block in corpus.blocks[:3]] == [1, 1_000_001, 2_000_001]
    assert images_in(corpus.blocks) is None


@given(st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.tuples(st.integers(1), st.integers(1))))))
def test_a_block_is_the_same_behind_json(images: list[tuple[str, tuple[int, int] | None]]) -> None:
    listed = [Listed(number, name, f"/{name}", size) for number, (name, size) in enumerate(images)]
    block = Block(3, len(listed), listed, first_id=9, row_groups=(1, 2))
    assert Block.from_json(block.to_json()) == block


def test_a_store_is_numbered_as_a_disk(tmp_path: Path) -> None:
    names = ["b/2.png", "b/10.png", "b.png", "a10/x.PNG", "a9/x.png", "a9/c/d/e.jpg", "10.png", "9.png", ".h/x.png"]
    for name in [*names, "b/.hidden.png", "b/notes.txt"]:
        write_photograph(tmp_path / "bucket" / name, format="png")
    images, stamps = images_of_store(store(tmp_path))
    found = find_inputs([str(tmp_path / "bucket")], None, tmp_path / "out")
    assert [(one.image_id, one.file_name) for one in images] == [(one.image_id, one.file_name) for one in found]
    assert len(images) == len(names) - 1
    assert [size for size, _ in stamps] == [one.path.stat().st_size for one in found]


def test_other_images_have_another_fingerprint(tmp_path: Path) -> None:
    images = [Listed(number, f"{number}.png", "") for number in range(4)]
    stamps = [(1, 2)] * 4
    place = Place.of(str(tmp_path))
    first = corpus_of_images(place, images, stamps, 2)
    assert corpus_of_images(place, images, stamps, 3).fingerprint == first.fingerprint
    for other, others in (
        (images[:3], stamps[:3]),
        (images, [*stamps[:3], (1, 3)]),
        ([*images[:3], images[3]._replace(file_name="x")], stamps),
        ([*images[:3], images[3]._replace(size=(1, 2))], stamps),
    ):
        assert corpus_of_images(place, other, others, 2).fingerprint != first.fingerprint


def test_another_time_of_change_is_another_corpus(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", {})
    place = Place.of(str(path))
    first = corpus_of_files(place, kind_of(place), 5).fingerprint
    assert corpus_of_files(place, kind_of(place), 5).fingerprint == first
    os.utime(path, (1, 1))
    assert corpus_of_files(place, kind_of(place), 5).fingerprint != first


def test_what_a_folder_holds(tmp_path: Path) -> None:
    assert kind_of(Place.of(str(tmp_path))) == "images"  # perhaps further down
    write_photograph(tmp_path / "a.png")
    assert kind_of(Place.of(str(tmp_path))) == "images"
    shard = write_shard(tmp_path / "b.TAR", {})
    assert kind_of(Place.of(str(shard))) == "tar"
    with pytest.raises(ValueError, match="several kinds, images and tar: divide them"):
        kind_of(Place.of(str(tmp_path)))
    with pytest.raises(ValueError, match=r"a\.png: neither a folder nor a \.parquet or \.tar file"):
        kind_of(Place.of(str(tmp_path / "a.png")))
    with pytest.raises(ValueError, match="gone: no such file or folder"):
        kind_of(Place.of(str(tmp_path / "gone")))


def test_compressed_shards_and_those_further_down_are_told_of(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "a.tar", {})
    assert deeper(Place.of(str(tmp_path))).endswith("data/a.tar lies deeper: give the folder that holds the tar files")
    assert deeper(Place.of(str(tmp_path / "none"))) == ""
    (tmp_path / "data" / "b.tar.gz").touch()
    with pytest.raises(ValueError, match=r"data: b\.tar\.gz is compressed: unpack it to \.tar"):
        kind_of(Place.of(str(tmp_path / "data")))


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"a\.parquet: not a Parquet file that can be read: .*; take it away"):
        corpus_of_files(Place.of(str(tmp_path)), "parquet", 5)


def test_an_empty_table_has_no_block(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"key": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet")
    assert corpus_of_files(Place.of(str(tmp_path)), "parquet", 5).blocks == []
