"""Images of a block, and files of others that are not what they seem."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from corpus.holding import write_shard, write_table
from instancefcn.corpus import reading
from instancefcn.corpus.blocks import Kind, corpus_of_files
from instancefcn.corpus.places import Place
from instancefcn.corpus.reading import DamagedError, Entry, Reader


def entries(path: Path, kind: Kind, key_column: str = "key", image_column: str = "image") -> list[Entry]:
    corpus = corpus_of_files(Place.of(str(path)), kind, 100)
    reader = Reader(corpus.place.filesystem, kind, key_column, image_column)
    return [entry for block in corpus.blocks for entry in reader.entries(block)]


def contents(found: list[Entry]) -> list[tuple[int, str, bytes]]:
    return [(entry.image_id, entry.file_name, entry.content()) for entry in found]


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary()])
def test_rows_of_bytes(kind: Any, tmp_path: Path) -> None:
    rows = [f"content {number}".encode() for number in range(21)]
    columns = {"key": [f"{number}.png" for number in range(21)], "image": pyarrow.array(rows, kind), "other": [1] * 21}
    found = entries(write_table(tmp_path / "a.parquet", columns, 20), "parquet")
    assert contents(found) == [(number + 1, f"{number}.png", rows[number]) for number in range(21)]


def test_rows_as_hugging_face_has_them(tmp_path: Path) -> None:
    images = [{"bytes": b"one", "path": "a.png"}, {"bytes": b"two", "path": None}]
    found = entries(write_table(tmp_path / "a.parquet", {"id": [7, None], "image": images}), "parquet", "id")
    assert contents(found) == [(1, "7", b"one"), (2, "a.parquet, image 2", b"two")]


def test_a_row_without_bytes_is_one_that_failed(tmp_path: Path) -> None:
    one, two = entries(write_table(tmp_path / "a.parquet", {"key": ["a", "b"], "image": [None, b"two"]}), "parquet")
    with pytest.raises(ValueError, match="no bytes, but null"):
        one.content()
    assert two.content() == b"two"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": ["a"], "image": [b"a"]}, "has no column 'key', but name, image: give --key-column"),
        ({"key": ["a"], "jpg": [b"a"]}, "has no column 'image', but key, jpg: give --image-column"),
        ({"key": ["a"], "image": ["text"]}, "column 'image' is string, not the bytes of files"),
        ({"key": [1.5], "image": [b"a"]}, "column 'key' is double, neither text nor whole numbers"),
    ],
)
def test_columns_that_are_not_there(columns: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", columns)
    with pytest.raises(DamagedError, match=said):
        entries(path, "parquet")
    corpus = corpus_of_files(Place.of(str(path)), "parquet", 5)
    with pytest.raises(ValueError, match=f"a.parquet: {said}"):
        Reader(corpus.place.filesystem, "parquet", "key", "image").check(corpus.blocks[0])


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """Ray registers column types with Arrow that unpickle; a file may say that its columns are of them."""
    pytest.importorskip("ray.data")
    pickled = pickle.dumps(Evil(tmp_path / "ran"))
    for name, said in (
        ("ray.data.arrow_pickled_object", b""),
        ("ray.data.arrow_tensor_v2", pickled),
        ("ray.data.arrow_tensor", pickled),
    ):
        about = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": said}
        fields = [
            pyarrow.field("key", pyarrow.string()),
            pyarrow.field("image", pyarrow.large_binary(), metadata=about),
        ]
        table = pyarrow.table([["a"], pyarrow.array([pickled], pyarrow.large_binary())], pyarrow.schema(fields))
        parquet.write_table(table, tmp_path / "a.parquet")
        try:
            for entry in entries(tmp_path / "a.parquet", "parquet"):
                entry.content()
        except ValueError:
            pass
        assert not (tmp_path / "ran").exists()
    pickle.loads(pickled)  # it would have
    assert (tmp_path / "ran").exists()


def test_members_of_a_shard(tmp_path: Path) -> None:
    members = {
        "0.jpg": b"one",
        "0.json": b"{}",
        "deep/1.PNG": b"two",
        "deep/.2.png": b"",
        "0.cls": b"3",
        "x/._3.jpg": b"",
    }
    path = write_shard(tmp_path / "a.tar", members)
    with tarfile.open(path, "a") as shard:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "/etc/passwd"
            shard.addfile(about)
    assert contents(entries(path, "tar")) == [(1, "a.tar/0.jpg", b"one"), (2, "a.tar/deep/1.PNG", b"two")]


def test_a_name_in_another_code_is_shown(tmp_path: Path) -> None:
    (entry,) = entries(write_shard(tmp_path / "a.tar", {"\udcff.png": b"one"}), "tar")
    assert entry.file_name == r"a.tar/\udcff.png"


def test_what_lies_before_damage_is_read(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", {f"{number}.png": bytes(2000) for number in range(4)})
    path.write_bytes(path.read_bytes()[:6000])
    corpus = corpus_of_files(Place.of(str(path)), "tar", 5)
    reading_on = Reader(corpus.place.filesystem, "tar", "", "").entries(corpus.blocks[0])
    assert [next(reading_on).image_id, next(reading_on).image_id] == [1, 2]
    with pytest.raises(DamagedError, match=r"ends in the middle of '2\.png'"):
        next(reading_on)


@pytest.mark.parametrize("content", [b"", b"no shard" * 100, bytes(3)])
def test_what_is_no_shard(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DamagedError, match=r"not a sound \.tar"):
        entries(tmp_path / "a.tar", "tar")


def test_large_ones_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 2_000_000)
    content = bytes(2_000_001)
    said = "2 MB: more than 2 MB are taken for no image"
    shard = write_shard(tmp_path / "a.tar", {"0.png": content, "1.png": b"one"})
    table = write_table(tmp_path / "a.parquet", {"key": ["0", "1"], "image": [content, b"one"]})
    for first, second in (entries(shard, "tar"), entries(table, "parquet")):
        with pytest.raises(ValueError, match=said):
            first.content()
        assert second.content() == b"one"
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        Place.of(str(tmp_path / "0.png")).read(2_000_000)


def test_more_images_than_a_shard_has_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "IDS_OF_SHARD", 2)
    path = write_shard(tmp_path / "a.tar", {f"{number}.png": b"" for number in range(3)})
    with pytest.raises(DamagedError, match="more than 2 images: divide it"):
        entries(path, "tar")


def test_a_member_that_claims_a_terabyte_takes_no_time(tmp_path: Path) -> None:
    about = tarfile.TarInfo("0.png")
    about.size = 1 << 40
    content = io.BytesIO(about.tobuf(tarfile.GNU_FORMAT)).getvalue()
    (tmp_path / "a.tar").write_bytes(content + bytes(1024))
    with pytest.raises(DamagedError, match=r"ends in the middle of '0\.png'"):
        entries(tmp_path / "a.tar", "tar")
