"""Images found by the names of an export."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import pytest

from instancefcn.data.image_folder import ImageFolder, has_image_name, images_below, images_by_stem
from labelled import write_image


@pytest.fixture
def folder(tmp_path: Path) -> ImageFolder:
    names = "a.jpg one/b.jpg two/b.jpg x%20y.png 0123abcd-e.jpg two/e.jpg f.jpg one/f.jpg"
    for name in [
        *names.split(),
        "two/deep/c d.PNG",
        "my photo (1).jpg",
        "g h.jpg",
        "one/g_h.jpg",
        "i!.jpg",
        "one/i.jpg",
        "Box 1/j.jpg",
        "K\u00e4sten/j.jpg",
        "one/k l.jpg",
        "two/k (l).jpg",
        "k%20m.jpg",
        "one/k%20m.jpg",
        "k m.jpg",
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.jpg").touch()
    return ImageFolder(tmp_path, "images")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("../../etc/a.jpg", "a.jpg"),
        ("/somewhere/else/a.jpg", "a.jpg"),
        ("C:\\photos\\two\\b.jpg", "two/b.jpg"),
        ("one/b.jpg", "one/b.jpg"),
        ("/data/upload/7/fedc9876-a.jpg", "a.jpg"),
        ("/data/upload/7/0123abcd-e.jpg", "0123abcd-e.jpg"),
        ("/data/local-files/?d=set/two/b.jpg", "two/b.jpg"),
        ("/data/local-files/?d=two%2Fdeep%2Fc%20d.PNG", "two/deep/c d.PNG"),
        ("s3://bucket/two/b.jpg", "two/b.jpg"),
        ("https://host/two/deep/c%20d.PNG?width=3", "two/deep/c d.PNG"),
        ("x%20y.png", "x%20y.png"),
        ("f.jpg", "f.jpg"),
        ("/data/upload/7/fedc9876-my_photo_1.jpg", "my photo (1).jpg"),  # as Django names what is sent to it
        ("/data/upload/7/fedc9876-g_h.jpg", "one/g_h.jpg"),  # has this very name
        ("/data/local-files/?d=set/Box%201/j.jpg", "Box 1/j.jpg"),  # the names of folders tell only when decoded
        ("/data/local-files/?d=set/K%C3%A4sten/j.jpg", "K\u00e4sten/j.jpg"),
        ("https://host/set/Box%201/j.jpg", "Box 1/j.jpg"),
    ],
)
def test_found(folder: ImageFolder, given: str, found: str) -> None:
    assert folder.find(given, prefixed=True) == folder.folder / found


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("b.jpg", r"'b.jpg' may be one/b.jpg or two/b.jpg in .*: give the folder that holds one of them"),
        ("three/b.jpg", "may be one/b.jpg or two/b.jpg"),
        ("set/f.jpg", "may be f.jpg or one/f.jpg"),
        ("/data/local-files/?d=set/Box%202/j.jpg", "may be Box 1/j.jpg or K\u00e4sten/j.jpg"),
        ("set/k%20m.jpg", "may be k%20m.jpg or one/k%20m.jpg"),  # never another name, where some have this one
        ("/data/upload/7/fedc9876-k_l.jpg", r"may be one/k l.jpg or two/k \(l\).jpg"),  # as Django names both
        ("z.jpg", "'z.jpg': no image of this name in"),
        ("notes.txt", "no image of this name"),
        (".hidden.jpg", "no image of this name"),
        ("", "no image of this name"),
        ("http://[", "no image of this name"),
        ("..", "no image of this name"),
    ],
)
def test_not_found(folder: ImageFolder, given: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        folder.find(given, prefixed=True)


def test_prefix_belongs_to_the_name_unless_the_tool_adds_it(folder: ImageFolder) -> None:
    with pytest.raises(ValueError, match="no image of this name"):
        folder.find("fedc9876-a.jpg")


def test_names_of_images() -> None:
    names = ["a.jpg", "A.PNG", "s3://b/a.tif", "/data/local-files/?d=sub/a.webp", "https://h/a.jpg?x=1"]
    assert all(map(has_image_name, names))
    assert not any(map(has_image_name, ["", "a", "a.txt", "a sentence. Or two", "http://[", "/?d=a.txt"]))


def test_images_by_stem(folder: ImageFolder) -> None:
    (folder.folder / "a.PNG").touch()
    assert [path.name for path in images_by_stem(folder.folder)["a"]] == ["a.PNG", "a.jpg"]
    assert "notes" not in images_by_stem(folder.folder)
    assert ".hidden" not in images_by_stem(folder.folder)


def test_accents_as_one_sign_or_two(tmp_path: Path) -> None:
    written, given = (unicodedata.normalize(form, "caf\u00e9/caf\u00e9.png") for form in ("NFD", "NFC"))
    for path in (tmp_path / written, tmp_path / "other" / written.split("/")[1]):
        path.parent.mkdir()
        path.touch()
    assert ImageFolder(tmp_path, "images").find(f"s3://bucket/{given}") == tmp_path / written


def test_a_folder_that_is_named_like_an_image_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    write_image(tmp_path / "s" / "a.jpg")
    assert ImageFolder(tmp_path, "images").find("a.jpg") == tmp_path / "s" / "a.jpg"
    assert images_by_stem(tmp_path) == {}
    assert list(images_below(tmp_path)[0]) == [PurePosixPath("s/a")]


def test_a_place_is_compared_sign_by_sign(tmp_path: Path) -> None:
    """Where the path starts, accents may be of one sign or two; what can be no path leads nowhere."""
    written, given = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFD", "NFC"))
    for name in ("a.jpg", f"{written}/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = ImageFolder(tmp_path, "images")
    assert folder.find("a.jpg", near=[tmp_path / given]) == tmp_path / written / "a.jpg"
    assert folder.find("a.jpg", near=[tmp_path / "gone", tmp_path / given]) == tmp_path / written / "a.jpg"
    assert folder.find("a.jpg", near=[tmp_path / "gone"]) == tmp_path / "a.jpg"
    for name in ("", ".", "..", "/", "\0", "\ud800.jpg", "../" * 99 + "b.jpg"):
        with pytest.raises(ValueError, match="no image of this name"):
            folder.find(name, near=[tmp_path])


@pytest.mark.parametrize("given", ["photos/a.jpg", "/data/local-files/?d=photos/a.jpg", "D:\\trip\\photos\\a.jpg"])
def test_the_folders_own_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """As in the addresses that we write for Label Studio; also where the folder is given as another's "."."""
    for name in ("a.jpg", "one/a.jpg", "one/photos-2/a.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    assert ImageFolder(tmp_path / "photos", "images").find(given) == tmp_path / "photos" / "a.jpg"
    monkeypatch.chdir(tmp_path / "photos")
    assert ImageFolder(Path(), "images").find(given) == Path("a.jpg")
