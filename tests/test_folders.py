"""Files of a folder and of those below: their order, hidden ones, links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from instancefcn.folders import files_below


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_below(folder: Path, *left_out: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in files_below(folder, left_out)]


def test_files_below_are_in_natural_order_without_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "s2/a", "s10/a", "10", "2", ".hidden", ".git/a", "s2/t/b", "ours/a", "s2/ours/a")
    assert names_below(tmp_path, tmp_path / "ours", tmp_path / "none") == [
        "2",
        "10",
        *("s2/a", "s2/ours/a", "s2/t/b", "s10/a"),
    ]
    assert names_below(tmp_path / "ours", tmp_path / "ours") == ["a"]
    assert files_below(tmp_path / "none") == []


def test_linked_folders_are_followed_once_each(tmp_path: Path) -> None:
    root, other = touch(tmp_path / "root", "1", "z/2"), touch(tmp_path / "other", "3", "deep/4", "ours/5")
    (root / "a").symlink_to(root / "z")  # which has a name of its own
    (root / "b").symlink_to(other)
    (root / "c").symlink_to(other / "deep")  # again
    (root / "z/circle").symlink_to(root)
    (other / "deep/back").symlink_to(root / "b")
    (root / "gone").symlink_to(tmp_path / "none")
    (root / "6").symlink_to(other / "3")
    assert names_below(root, other / "ours") == ["1", "6", "gone", "b/3", "b/deep/4", "z/2"]
    assert names_below(root / "b") == ["3", "deep/4", "ours/5"]


def test_a_folder_that_cannot_be_looked_into_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not hold the superuser, who may run this."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a").touch()
    scan = os.scandir

    def refuse(path: str) -> Any:
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r"lost\+found: Permission denied: what is in this folder is left out"):
        assert files_below(tmp_path) == [tmp_path / "a"]
