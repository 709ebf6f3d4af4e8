"""The journal by itself; ``apps/test_resume.py`` has it within a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from instancefcn.journal import Journal

SETTINGS = {"--size": 3}


def started(folder: Path) -> Journal:
    """A journal of one file, with a head and one step."""
    journal = Journal(folder / ".unfinished", {"a": folder / "a.txt"}, SETTINGS)
    journal.begin({"a": b"["})
    journal.write("a", b"1")
    journal.commit({"done": 1})
    return journal


def again(folder: Path) -> Journal:
    journal = Journal(folder / ".unfinished", {"a": folder / "a.txt"}, SETTINGS)
    assert journal.resume()
    return journal


def test_an_end_that_does_not_fit_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes half of the tail: what is gone on from ends with the last step."""
    monkeypatch.setattr("instancefcn.journal.SYNC_SECONDS", -1.0)
    journal, write = started(tmp_path), os.write
    full = OSError(errno.ENOSPC, "No space left on device")

    def write_a_little(descriptor: int, content: Any) -> int:
        if len(content) < 4:
            raise full
        return write(descriptor, bytes(content)[:2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_a_little)
        with pytest.raises(OSError, match="No space") as caught:
            journal.close({"a": b", 2]"}, finished=True)
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()
    resumed = again(tmp_path)
    assert resumed.counts == {"done": 1}
    resumed.close({"a": b"]"}, finished=True)
    assert (tmp_path / "a.txt").read_text() == "[1]"


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """Somebody puts a link to another file where the journal's was."""
    started(tmp_path).close({}, finished=False, in_place=False)
    file = tmp_path / ".unfinished" / "a"
    (tmp_path / "others").write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(tmp_path / "others")
    with pytest.raises(ValueError, match=r"a\.txt: gone since the run stopped: leave out --resume"):
        again(tmp_path)
    assert (tmp_path / "others").read_bytes() == b"[1"
