"""Where the user's cache folder is, and that it gives back what it got or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from instancefcn.user_cache import Summed, cache_folder, keep, keep_written, kept


def test_it_follows_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("INSTANCEFCN_CACHE", raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for system, place in (("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")):
        monkeypatch.setattr("sys.platform", system)
        assert cache_folder() == tmp_path / place / "instancefcn"
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/instancefcn")


def test_it_gives_back_what_it_got(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTANCEFCN_CACHE", str(tmp_path / "a" / "b"))
    assert kept("x") is None
    for content in (b"", b"old", b"new"):
        keep("x", content)
        assert kept("x") == content
    left = tmp_path / "a" / "b" / ".x.0123456789abcdef.tmp"
    left.write_bytes(b"of a killed writer")
    keep("x", b"newer")
    assert [path.name for path in left.parent.iterdir()] == ["x"]
    (left.parent / "x").write_bytes(b"short")
    assert kept("x") is None


def test_pieces_are_kept_as_one_and_never_in_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTANCEFCN_CACHE", str(tmp_path))

    def write(file: Summed) -> None:
        for piece in (b"one ", memoryview(b"after "), b"another"):
            assert file.write(piece) == len(piece)

    def fail(file: Summed) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    keep_written("x", write)
    assert kept("x") == b"one after another"
    keep_written("x", fail)
    assert kept("x") == b"one after another"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
