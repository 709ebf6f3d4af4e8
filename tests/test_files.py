"""JSON, and writing whole files or none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from instancefcn.files import read_json, whole_file, write_whole


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"[1, 2", b"\xff\xfe\x00", b"", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.json: not a JSON file"):
            read_json(path)
    path.write_bytes(b"\xef\xbb\xbf[1, 2]")  # Windows' editors write a byte order mark
    assert read_json(path) == [1, 2]
    path.write_bytes('["\u00e9"]'.encode("utf-16"))  # PowerShell's
    assert read_json(path) == ["\u00e9"]
    path.write_bytes(b'["\xe9"]')
    with pytest.raises(ValueError, match=r"a\.json: not a JSON file: .*save it as UTF-8"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json: not a JSON file that can be read: it is nested too deeply"):
        read_json(path)
    with pytest.raises(ValueError, match=r"b\.json: cannot be read: No such file"):
        read_json(tmp_path / "b.json")


def test_writing_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.bin"
    for content in (b"old, and longer", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]
    write_whole(path, "wörds")
    assert path.read_text(encoding="utf-8") == "wörds"
    (tmp_path / "b.bin").touch()
    assert path.stat().st_mode == (tmp_path / "b.bin").stat().st_mode


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_writing_that_fails_leaves_the_old_file_and_no_other(
    error: type[BaseException], step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    if step != "write":
        monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(error) as caught, whole_file(path) as file:  # noqa: PT012 (the block or its end fails)
        file.write(b"new")
        if step == "write":
            fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    if error is OSError:
        assert str(path) in str(caught.value)


def test_another_writers_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instancefcn.files.secrets.token_hex", lambda _: "0")
    theirs = tmp_path / ".a.bin.0.tmp"  # or a link to any file
    theirs.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.bin", b"ours")
    assert theirs.read_bytes() == b"theirs"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole_file(path) as first, whole_file(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"  # the last one to end
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"of a person")
    path = tmp_path / "a.bin"
    path.symlink_to(tmp_path / "mine")
    write_whole(path, b"ours")
    assert (tmp_path / "mine").read_bytes() == b"of a person"
    assert path.read_bytes() == b"ours"
    assert not path.is_symlink()


def test_a_temporary_name_is_of_the_same_folder_new_each_time_and_no_longer_than_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".json")  # 255 bytes
    seen = set()
    for _ in range(2):
        with whole_file(path):
            seen.update(tmp_path.glob(".*"))
    assert len(seen) == 2
    assert path.exists()


def test_the_folder_is_on_the_disk_after_a_file_took_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    path, fsync = tmp_path / "a.bin", os.fsync

    def noted(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(path, b"ours")
    assert [name.startswith(str(tmp_path / ".a.bin.")) for name, _ in synced] == [True, False]
    assert synced[1] == (str(tmp_path), True)


def test_a_file_that_cant_be_made_is_named_and_not_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError) as caught:
            write_whole(tmp_path / "next.txt", "a.png")
    assert caught.value.filename == str(tmp_path / "next.txt")
