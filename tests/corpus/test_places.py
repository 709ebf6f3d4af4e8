"""Files in an object store, for which a folder stands in: whole or not there."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from corpus.holding import store
from instancefcn.corpus.places import Place


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    place = Place.of(str(tmp_path / "bucket")) if request.param == "disk" else store(tmp_path)
    place.filesystem.create_dir(place.path)
    return place


def test_what_is_written_is_there(place: Place, tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        with (place / "a").whole() as file:
            file.write(content)
            assert [path.name for path in (tmp_path / "bucket").iterdir() if path.name == "a"] == ["a"] * (
                content != b"one"
            )
        assert (place / "a").read(3) == content
    assert [info.base_name for info in place.files()] == ["a"]
    (place / "a").remove()
    (place / "a").remove()
    assert place.files() == []


def test_after_an_error_all_is_as_before(place: Place, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "a").write_bytes(b"before")

    def fail() -> None:
        with (place / "a").whole() as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.read_bytes() for path in (tmp_path / "bucket").iterdir()] == [b"before"]


def test_what_a_killed_writer_left_is_removed(place: Place, tmp_path: Path) -> None:
    killed = (place / "a").whole()
    killed.__enter__()
    (tmp_path / "bucket" / "mine.tmp").write_bytes(b"")
    assert len(place.files()) == 2
    place.remove_temporary()
    assert [info.base_name for info in place.files()] == ["mine.tmp"]


def test_no_folder_has_no_files(place: Place) -> None:
    assert (place / "gone").files() == []
    (place / "gone").remove_temporary()


def test_a_place_goes_to_other_processes(place: Place) -> None:
    with (place / "a").whole() as file:
        file.write(b"one")
    assert (pickle.loads(pickle.dumps(place)) / "a").read(3) == b"one"


def test_a_uri_of_nothing_that_is_known() -> None:
    with pytest.raises(ValueError, match=r"ftp://a/b: .*; give a path, or a URI that starts with s3:// or gs://"):
        Place.of("ftp://a/b")
