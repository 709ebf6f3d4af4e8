"""Names that data files give."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from instancefcn.file_names import path_inside


def test_name_of_a_file_inside(tmp_path: Path) -> None:
    assert path_inside(Path("."), "b/../a.png") == Path("a.png")
    assert path_inside(tmp_path, "sub\\a.png") == tmp_path / "sub" / "a.png"
    (tmp_path / "sub\\a.png").touch()
    assert path_inside(tmp_path, "sub\\a.png") == tmp_path / "sub\\a.png"


@pytest.mark.parametrize(("given", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC"), ("NFD", "NFD")])
def test_accents_as_one_sign_or_two(
    tmp_path: Path, given: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"]
) -> None:
    name = "sub/caf\u00e9.png"
    file = tmp_path / unicodedata.normalize(on_disk, name)
    file.parent.mkdir()
    file.touch()
    assert path_inside(tmp_path, unicodedata.normalize(given, name)) == file
    missing = unicodedata.normalize(given, "caf\u00e9.jpg")
    assert path_inside(tmp_path, missing) == tmp_path / missing


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.png", "leads out of images: it must name a file inside"),
        ("b/../../a.png", "leads out"),
        ("..\\a.png", "leads out"),
        ("", "leads out"),
        ("b/..", "leads out"),
        ("/images/a.png", "is absolute: make it relative to the folder images"),
        (os.path.abspath("images/a.png"), "is absolute"),
        ("C:\\images\\a.png", "is absolute"),
        ("a\ud800.png", "has a sign that no file's name can have"),
        ("\\\\server\\images\\a.png", "is absolute"),
    ],
)
def test_name_that_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^file name .* {reason}"):
        path_inside(Path("images"), name)
