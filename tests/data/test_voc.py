"""VOC's and SBD's images with maps of objects and classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, write_image, write_palette

scipy_io = pytest.importorskip("scipy.io")

OBJECTS = 1 * box_mask(2, 3, 10, 11) + 2 * box_mask(12, 3, 20, 20) + 255 * box_mask(20, 3, 22, 20)
CLASSES = 15 * box_mask(2, 3, 10, 11) + 8 * box_mask(12, 3, 20, 20) + 255 * box_mask(20, 3, 22, 20)


def write_voc(folder: Path, objects: np.ndarray, classes: np.ndarray, stem: str = "2007_000001") -> str:
    write_image(folder / "JPEGImages" / f"{stem}.jpg")
    write_palette(folder / "SegmentationObject" / f"{stem}.png", objects)
    write_palette(folder / "SegmentationClass" / f"{stem}.png", classes)
    write_list(folder / "ImageSets" / "Segmentation" / "val.txt", stem)
    return f"voc:{folder},val"


def write_sbd(folder: Path, objects: np.ndarray, classes: np.ndarray, stem: str = "2008_000002") -> str:
    write_image(folder / "img" / f"{stem}.jpg")
    for name, struct, segmentation in (("inst", "GTinst", objects), ("cls", "GTcls", classes)):
        (folder / name).mkdir(exist_ok=True)
        fields = {"Segmentation": segmentation.astype(np.uint8), "Boundaries": np.zeros((2, 1), dtype=object)}
        scipy_io.savemat(folder / name / f"{stem}.mat", {struct: fields}, do_compression=True)
    write_list(folder / "val.txt", stem)
    return f"sbd:{folder},val"


def write_list(path: Path, stem: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lines:
        lines.write(f"{stem}\n")


def reasons(source: Source) -> list[tuple[str, int | None, str]]:
    return [(Path(p.file).name, p.annotation_id, p.reason) for p in source.problems]


@pytest.mark.parametrize("write", [write_voc, write_sbd])
def test_instances_and_classes(tmp_path: Path, write: Callable[..., str]) -> None:
    write(tmp_path, OBJECTS, CLASSES)
    source = open_source(write(tmp_path, 0 * OBJECTS, 0 * CLASSES, stem="2011_1"))
    assert source.problems == []
    assert len(source.categories) == 20
    assert [s.image_id for s in source] == [1, 2]
    sample = source[0]
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert sample.instances.ids.tolist() == [1, 2]
    assert [source.categories[c] for c in sample.instances.category_ids.tolist()] == ["person", "cat"]
    np.testing.assert_array_equal(decode(sample.instances.rles[1]), box_mask(12, 3, 20, 20))
    assert sample.void is not None
    np.testing.assert_array_equal(decode(sample.void), box_mask(20, 3, 22, 20))
    assert len(source[1].instances) == 0
    assert source[1].void is None


@pytest.mark.parametrize("write", [write_voc, write_sbd])
def test_class_of_most_pixels(tmp_path: Path, write: Callable[..., str]) -> None:
    """Void and background do not vote, and an object that is nothing else has no class: it is left aside."""
    classes = np.full((HEIGHT, WIDTH), 255)
    classes[4, 2:6], classes[5, 2:5] = 12, 3
    source = open_source(write(tmp_path, OBJECTS, classes))
    assert source.labels(0).instances.ids.tolist() == [1]
    assert source.labels(0).instances.category_ids.tolist() == [12]
    assert source[0].instances.ignore.tolist() == [False, True]
    np.testing.assert_array_equal(decode(source[0].instances.rles[1]), OBJECTS == 2)
    ((_, label, reason),) = reasons(source)
    assert label == 2
    assert "class 0 is none of VOC's" in reason


@pytest.mark.parametrize("write", [write_voc, write_sbd])
def test_segmentations_that_are_rejected(tmp_path: Path, write: Callable[..., str]) -> None:
    spec = write(tmp_path, OBJECTS, CLASSES[1:])
    write(tmp_path, OBJECTS[1:], CLASSES[1:], stem="size")
    write(tmp_path, OBJECTS, CLASSES, stem="absent")
    write(tmp_path, OBJECTS, CLASSES, stem="cut")
    write(tmp_path, OBJECTS, CLASSES, stem="sound")
    for path in tmp_path.rglob("absent.jpg"):
        path.unlink()
    (cut,) = [path for path in tmp_path.rglob("cut.*") if path.parent.name in ("inst", "SegmentationObject")]
    cut.write_bytes(cut.read_bytes()[:60])
    write_list(next(tmp_path.rglob("val.txt")), "unlisted")
    source = open_source(spec)
    assert [(s.image_id, s.file_name) for s in source] == [(5, "sound.jpg")]
    first, *rest = reasons(source)
    assert "map of classes (23, 32) is not of the size of its map of objects (24, 32)" in first[2]
    found = {name: reason for name, _, reason in rest}
    assert found["size.jpg"] == "is 32 x 24 pixels, but its annotations are for 32 x 23"
    assert found["absent.jpg"] == "no such file"
    assert str(cut) in found["cut.jpg"]
    assert found["unlisted.jpg"].endswith("no such file")


@pytest.mark.parametrize("write", [write_voc, write_sbd])
def test_splits(tmp_path: Path, write: Callable[..., str]) -> None:
    spec = write(tmp_path, OBJECTS, CLASSES)
    with pytest.raises(ValueError, match=r"train\.txt: no such list of images; splits here: val"):
        open_source(spec.removesuffix("val") + "train")
    with pytest.raises(ValueError, match="leads out"):
        open_source(spec.removesuffix("val") + "../val")
    split = next(tmp_path.rglob("val.txt"))
    stem = split.read_text().strip()
    split.write_text(f"{stem} 1\n\n{stem}\n../{stem}\n")  # with a flag, twice, and out of the folder
    source = open_source(spec)
    assert len(source) == 1
    assert ["leads out of" in reason for _, _, reason in reasons(source)] == [True]
    split.write_text("\n")
    with pytest.raises(ValueError, match="lists no image"):
        open_source(spec)


@pytest.mark.parametrize("write", [write_voc, write_sbd])
@pytest.mark.parametrize(
    ("stem", "content"),
    [
        ("a", b"\xef\xbb\xbfa\r\n"),  # a byte order mark, and Windows' ends of lines
        ("a", b"\xff\xfea\0\r\0\n\0"),  # UTF-16
        ("my photo", b"my photo\n"),
        ("my photo", b"  my photo \t\n\n"),
        ("caf\u00e9", b"caf\xe9 1\n"),  # Windows' code page
        ("caf\u00e9", "caf\u00e9".encode()),
    ],
)
def test_lists_of_other_systems(tmp_path: Path, write: Callable[..., str], stem: str, content: bytes) -> None:
    spec = write(tmp_path, OBJECTS, CLASSES, stem=stem)
    next(tmp_path.rglob("val.txt")).write_bytes(content)
    source = open_source(spec)
    assert source.problems == []
    assert [labels.file_name for labels in source.all_labels] == [f"{stem}.jpg"]


def test_mat_without_the_field(tmp_path: Path) -> None:
    spec = write_sbd(tmp_path, OBJECTS, CLASSES, stem="a")
    scipy_io.savemat(tmp_path / "inst" / "a.mat", {"other": 1})
    source = open_source(spec)
    assert len(source) == 0
    assert "holds no GTinst.Segmentation" in source.problems[0].reason
