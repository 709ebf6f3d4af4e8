"""YOLO segmentation labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.data.yolo import _read_line
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, write_image

SQUARE = "0.0625 0.125 0.3125 0.125 0.3125 0.4583333333 0.0625 0.4583333333"  # x 2..10, y 3..11 of 32 x 24
TRIANGLE = "0.5 0.5 0.75 0.5 0.75 0.75"


def write_yolo(
    root: Path, lines: dict[str, str | bytes | None], yaml: str | None = "names: [cell, dish]\n", swap: bool = False
) -> Path:
    """A split ``val`` with images and their lines; None for an image without a text file."""
    images, labels = (root / ("val" if swap else name) / (name if swap else "val") for name in ("images", "labels"))
    labels.mkdir(parents=True)
    for name, text in lines.items():
        write_image(images / name)
        if text is not None:
            (labels / name).with_suffix(".txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def reasons(source: Source) -> list[tuple[str, int | None, str]]:
    return [(Path(problem.file).name, problem.annotation_id, problem.reason) for problem in source.problems]


def test_literal_lines(tmp_path: Path) -> None:
    lines = f"\ufeff1 {SQUARE}\r\n\r\n0 0 0 1 0 1 1 0 1\r\n"
    source = open_source(f"yolo:{write_yolo(tmp_path, {'a.png': lines, 'b.png': None, 'c.png': ''})},val")
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "dish"}
    assert [(s.image_id, s.file_name, len(s.instances)) for s in source] == [
        (1, "images/val/a.png", 2),
        (2, "images/val/b.png", 0),
        (3, "images/val/c.png", 0),
    ]
    instances = source.labels(0).instances
    assert instances.ids.tolist() == [1, 3]
    assert instances.category_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(decode(instances.rles[0]), box_mask(2, 3, 10, 11))
    assert decode(instances.rles[1]).all()


@pytest.mark.parametrize(
    ("yaml", "swap"),
    [
        ("names: {0: cell, 1: dish}\nval: images/val\n", False),
        ("names: {'1': dish, '0': cell}\n", False),
        ("names: [cell, dish]\npath: .\nval: [images/val]\n", False),
        ("names: [cell, dish]\nval: ../val/images\n", True),
        ("names: [cell, dish]\npath: /absent/place\nval: /absent/val\n", False),
        ("names: [cell, dish]\npath: ../elsewhere\nval: images\\val\n", False),
        ("names: [cell, dish]\nval: val.txt\n", False),
        (f"names: [cell, dish]\nval: {'long' * 2000}\n", False),
        ("\ufeffnames: [cell, dish]\r\n", True),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_layouts(tmp_path: Path, yaml: str, swap: bool, by_file: bool) -> None:
    root = write_yolo(tmp_path, {"a.png": f"0 {SQUARE}"}, yaml, swap)
    (root / "val.txt").write_text("./images/val/a.png\n")
    source = open_source(f"yolo:{root / 'data.yaml' if by_file else root},val")
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "dish"}
    assert len(source.labels(0).instances) == 1


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a.png": f"0 {SQUARE}"})
    (root / "data.yaml").rename(root / "classes.yaml")
    for path in (root / "._classes.yaml", root / "labels" / "val" / "._a.txt"):
        path.write_bytes(b"\0\5\x16\7")
    source = open_source(f"yolo:{root},val")
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "dish"}


def test_images_below_the_split_and_of_another_suffix(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a.png": f"0 {SQUARE}"})
    write_image(root / "images" / "val" / "sub" / "a.JPG")
    (root / "labels" / "val" / "sub").mkdir()
    (root / "labels" / "val" / "sub" / "a.txt").write_text(f"1 {TRIANGLE}\n0 {SQUARE}\n")
    source = open_source(f"yolo:{root},val")
    assert [(s.file_name, len(s.instances)) for s in source] == [("images/val/a.png", 1), ("images/val/sub/a.JPG", 2)]


def test_the_last_folder_of_that_name_has_its_labels_beside_it(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a.png": None}, "names: [cell]\nval: images/more/images\n")
    write_image(root / "images" / "more" / "images" / "a.png")
    (root / "images" / "more" / "labels").mkdir()
    (root / "images" / "more" / "labels" / "a.txt").write_text(f"0 {SQUARE}")
    assert [len(s.instances) for s in open_source(f"yolo:{root},val")] == [1]


def test_a_folder_that_is_named_from_below(tmp_path: Path) -> None:
    """Roboflow's data.yaml says ``../valid/images`` of the folder beside it."""
    root = write_yolo(tmp_path, {"a.png": f"0 {SQUARE}"}, "names: [cell]\nval: ../valid/images\n", swap=True)
    (root / "val").rename(root / "valid")
    assert [s.file_name for s in open_source(f"yolo:{root},val")] == ["valid/images/a.png"]


def test_without_a_data_yaml_classes_are_named_by_number(tmp_path: Path) -> None:
    source = open_source(f"yolo:{write_yolo(tmp_path, {'a.png': f'2 {SQUARE}'}, yaml=None)},val")
    assert source.problems == []
    assert source.categories == {1: "0", 2: "1", 3: "2"}
    assert source.labels(0).instances.category_ids.tolist() == [3]


def test_labels_are_for_the_upright_photograph(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a.png": "0 0 0 1 0 1 0.5 0 0.5"})
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images" / "val" / "a.png", exif=exif)
    sample = open_source(f"yolo:{root},val")[0]
    assert sample.image.shape == (WIDTH, HEIGHT, 3)
    assert decode(sample.instances.rles[0]).sum(axis=0).tolist() == [WIDTH // 2] * HEIGHT


def test_points_beyond_the_image_are_clipped(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a.png": "0 0.5 -0.05 1.08 -0.05 1.08 1.0001 0.5 1"})
    source = open_source(f"yolo:{root},val")
    assert source.problems == []
    np.testing.assert_array_equal(decode(source.labels(0).instances.rles[0]), box_mask(16, 0, 32, 24))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2 0.2", "is a box, not a mask: YOLO segmentation has `class x1 y1 x2 y2 x3 y3 ...`"),
        ("0", "polygon of 0 points"),
        ("0 0.1 0.1", "polygon of 1 points"),
        (f"0 {SQUARE} 0.93", "9 numbers after the class: x and y do not pair (save without confidences)"),
        (f"-1 {SQUARE}", "class -1 is none of"),
        (f"0.5 {SQUARE}", "class 0.5 is none of"),
        (f"nan {SQUARE}", "class nan is none of"),
        (f"cell {SQUARE}", "holds more than numbers"),
        ("0 2 3 10 3 10 11", "spans 2..11: YOLO's are shares"),
        ("0 -0.2 0.1 0.5 0.1 0.5 0.5", "spans -0.2..0.5"),
        ("0 nan 0.1 0.5 0.1 0.5 0.5", "is nan, not a finite number"),
        ("0 inf 0.1 0.5 0.1 0.5 0.5", "spans 0.1..inf"),
        ("0 0.1 0.1 0.5 0.5 0.1 0.1", "zero area"),
    ],
)
def test_rejected_line(tmp_path: Path, line: str, reason: str) -> None:
    """Of three, the one in the middle; the others are kept."""
    root = write_yolo(tmp_path, {"a.png": f"0 {SQUARE}\n{line}\n1 {TRIANGLE}\n"})
    source = open_source(f"yolo:{root},val")
    assert source.labels(0).instances.ids.tolist() == [1, 3]
    ((name, number, found),) = reasons(source)
    assert (name, number) == ("a.txt", 2)
    assert reason in found


def test_a_class_without_a_name_costs_no_mask(tmp_path: Path) -> None:
    source = open_source(f"yolo:{write_yolo(tmp_path, {'a.png': f'7 {SQUARE}'})},val")
    assert source.problems == []
    assert [str(note) for note in source.notes] == [
        f"{tmp_path}/labels/val/a.txt: annotation 1: class 7 is none of data.yaml's; the mask is kept"
    ]
    assert source.categories == {1: "cell", 2: "dish", 3: "7"}
    assert source.labels(0).instances.category_ids.tolist() == [3]


def test_names_that_grow_without_bound(tmp_path: Path) -> None:
    """A list of lists of the same lists."""
    yaml = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(ValueError, match="is no list, nor a table"):
        open_source(f"yolo:{write_yolo(tmp_path, {'a.png': None}, yaml + 'names: [*a29]')},val")


def test_rejected_files(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"boxes.png": "0 .5 .5 .1 .1\n1 .5 .5 .2 .2", "latin.png": b"\xe9 0 0", "ok.png": None})
    write_image(root / "images" / "val" / "ok.jpg")
    (root / "images" / "val" / "broken.png").write_bytes(b"no image")
    (root / "labels" / "val" / "lone.txt").write_text("")
    (root / "labels" / "val" / "classes.txt").write_text("cell\ndish\n")
    source = open_source(f"yolo:{root},val")
    assert [(s.file_name, len(s.instances)) for s in source] == [("images/val/latin.png", 0), ("images/val/ok.jpg", 0)]
    found = {name: reason for name, _, reason in reasons(source)}
    assert list(found) == ["boxes.png", "broken.png", "latin.txt", "ok.png", "lone.txt"]
    assert "boxes.txt: every line is a box, not a mask" in found["boxes.png"]
    assert "export the labels as segmentation, or draw masks" in found["boxes.png"]
    assert "not an image" in found["broken.png"]
    assert "holds more than numbers" in found["latin.txt"]
    assert found["ok.png"] == "ok.jpg has the same stem and is taken"
    assert found["lone.txt"] == "no image of this name in the split 'val'"


def test_a_list_of_images_that_leads_outside(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"a.png": f"0 {SQUARE}"}, "names: [cell]\nval: val.txt\n")
    write_image(tmp_path / "outside.png")
    (root / "val.txt").write_text("images/val/a.png\n../outside.png\n/etc/passwd\nimages/val/gone.png\n")
    source = open_source(f"yolo:{root},val")
    assert [s.file_name for s in source] == ["images/val/a.png"]
    assert [(name, number) for name, number, _ in reasons(source)] == [
        ("val.txt", 2),
        ("val.txt", 3),
        ("gone.png", None),
    ]
    assert "leads out of" in source.problems[0].reason
    assert "absolute" in source.problems[1].reason


@pytest.mark.parametrize(
    "content", ["\ufeffimages\\val\\caf\u00e9 1.png \r\n".encode(), b"images\\val\\caf\xe9 1.png\r\n\r\n"]
)
def test_a_list_of_images_from_windows(tmp_path: Path, content: bytes) -> None:
    root = write_yolo(tmp_path, {"caf\u00e9 1.png": f"0 {SQUARE}"}, "names: [cell]\nval: val.txt\n")
    (root / "val.txt").write_bytes(content)
    source = open_source(f"yolo:{root},val")
    assert source.problems == []
    assert [s.file_name for s in source] == ["images/val/caf\u00e9 1.png"]


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("names: cell", "data.yaml: names 'cell' is no list"),
        ("names: {a: cell}", "no list, nor a table from 0"),
        ("names: {0: a, 100000000000: b}", "no list, nor a table from 0"),
        ("train: images", "names None is no list"),
        ("- 1", "holds no table"),
        ("a: [", "not a YAML file"),
        ("!!python/object/apply:os.system [ls]", "not a YAML file"),
    ],
)
def test_file_that_is_no_data_yaml(tmp_path: Path, yaml: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        open_source(f"yolo:{write_yolo(tmp_path, {'a.png': None}, yaml)},val")


def test_names_of_classes_txt_where_there_is_no_data_yaml(tmp_path: Path) -> None:
    lines = {"a.png": f"1 {SQUARE}\n2 {SQUARE}\n"}
    root = write_yolo(tmp_path, lines, yaml=None)
    assert open_source(f"yolo:{root},val").categories == {1: "0", 2: "1", 3: "2"}
    (root / "classes.txt").write_text("cell\r\na dish \r\n")
    source = open_source(f"yolo:{root},val")
    assert source.categories == {1: "cell", 2: "a dish", 3: "2"}
    assert source.labels(0).instances.category_ids.tolist() == [2, 3]
    (root / "data.yaml").write_text("names: [a, b, c]")
    assert open_source(f"yolo:{root},val").categories == {1: "a", 2: "b", 3: "c"}


def test_a_folder_that_is_not_divided(tmp_path: Path) -> None:
    """As Label Studio exports it."""
    root = write_yolo(tmp_path, {}, yaml=None)
    write_image(root / "images" / "a.png")
    (root / "labels" / "a.txt").write_text(f"1 {SQUARE}\n")
    with pytest.raises(ValueError, match=r"no images/train or train/images; give the split \. for all of images/"):
        open_source(f"yolo:{root},train")
    source = open_source(f"yolo:{root},.")
    assert (source.problems, [(s.file_name, len(s.instances)) for s in source]) == ([], [("images/a.png", 1)])


def test_missing_folders(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"a.png": None}, "names: [cell]\ntrain: gone\n")
    write_image(tmp_path / "val" / "images" / "a.png")
    with pytest.raises(
        ValueError, match=r"no images of the split 'train': gone, by .*data.yaml, is not inside, and there is no"
    ):
        open_source(f"yolo:{root},train")
    with pytest.raises(ValueError, match=r"no images of the split '\.\./val'"):
        open_source(f"yolo:{root},../val")
    (root / "labels" / "val").rmdir()
    with pytest.raises(ValueError, match="labels/val: no such folder; it should hold a text file for each image"):
        open_source(f"yolo:{root},val")
    (root / "images" / "val" / "a.png").unlink()
    with pytest.raises(ValueError, match="val: holds no image"):
        open_source(f"yolo:{root},val")


@settings(deadline=None)  # the first one may be compiled
@given(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, WIDTH), st.integers(1, HEIGHT))
def test_round_trip_of_boxes(x: int, y: int, width: int, height: int) -> None:
    right, bottom = min(x + width, WIDTH), min(y + height, HEIGHT)
    points = [(x, y), (right, y), (right, bottom), (x, bottom)]
    words = ["1", *(f"{share:.6f}" for px, py in points for share in (px / WIDTH, py / HEIGHT))]
    shape = _read_line(words, (HEIGHT, WIDTH), ["a", "b"])
    assert shape.name == "b"
    np.testing.assert_array_equal(decode(shape.rle), box_mask(x, y, right, bottom))


def test_whole_paths_count_where_they_lead_inside_and_what_is_not_there_is_a_problem(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"a.png": f"0 {SQUARE}"})
    write_image(root / "more" / "images" / "b.png")
    here = root.resolve()
    (root / "list.txt").write_text(f"{here}/images/val/a.png\n{tmp_path}/c.png\n")
    yaml = f"path: {here}\nnames: [cell]\nval: [images/val, {here}/more/images, gone/images]\nlisted: list.txt\n"
    (root / "data.yaml").write_text(yaml)
    source = open_source(f"yolo:{root},val")
    assert [s.file_name for s in source] == ["images/val/a.png", "more/images/b.png"]
    assert reasons(source) == [("data.yaml", None, "val: 'gone/images' is not inside")]
    source = open_source(f"yolo:{root},listed")
    assert [s.file_name for s in source] == ["images/val/a.png"]
    assert [(name, number) for name, number, _ in reasons(source)] == [("list.txt", 2)]
    (root / "list.txt").write_text(f"{tmp_path}/c.png\n")
    with pytest.raises(ValueError, match=r"list.txt: holds no image; .*c.png"):
        open_source(f"yolo:{root},listed")
