from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instancefcn.data.embedded import place_embedded, read_embedded
from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, labelme_shape, write_image, write_labelme

SQUARE = [[2, 3], [10, 3], [10, 11], [2, 11]]


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def lines(text: str) -> str:
    """Broken after every 20 characters, as MIME has it."""
    broken = "\r\n".join(text[i : i + 20] for i in range(0, len(text), 20))
    return f"data:image/png;base64,{broken}\n"


def circle(x: float, y: float, radius: float) -> np.ndarray:
    mask = [[(j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2 <= radius**2 for j in range(WIDTH)] for i in range(HEIGHT)]
    return np.array(mask)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (labelme_shape(SQUARE), box_mask(2, 3, 10, 11)),
        (labelme_shape(SQUARE, kind=None), box_mask(2, 3, 10, 11)),
        (labelme_shape([[10, 11], [2, 3]], "rectangle"), box_mask(2, 3, 10, 11)),
        (labelme_shape(SQUARE, "rectangle"), box_mask(2, 3, 10, 11)),
        (labelme_shape(SQUARE, "rotation", direction=0.5, score=0.9, difficult=False), box_mask(2, 3, 10, 11)),
        (labelme_shape(SQUARE, "oriented_rectangle", flags=None, description=None), box_mask(2, 3, 10, 11)),
        (labelme_shape([*SQUARE, SQUARE[0], SQUARE[0]]), box_mask(2, 3, 10, 11)),
        (labelme_shape([[12, 10], [15, 14]], "circle"), circle(12, 10, 5)),
        (labelme_shape([[30.2, 22], [25.5, 22]], "circle"), circle(30.2, 22, 4.7)),
        (labelme_shape([[0, 0], [31, 23]], "circle"), circle(0, 0, np.hypot(31, 23))),
        (labelme_shape([[2, 3], [9, 10]], "mask", mask=png(np.ones((8, 8), dtype=np.uint8))), box_mask(2, 3, 10, 11)),
        (labelme_shape([[28, 18], [34, 25]], "mask", mask=png(np.ones((8, 7), dtype=bool))), box_mask(28, 18, 32, 24)),
        (
            labelme_shape([[-0.8, -0.8], [4, 4]], "mask", mask=png(np.ones((6, 6), dtype=np.uint8))),
            box_mask(0, 0, 5, 5),
        ),
        (  # the ends of its box, as some write
            labelme_shape([[2, 3], [10, 11]], "mask", mask=png(np.ones((8, 8), dtype=np.uint8))),
            box_mask(2, 3, 10, 11),
        ),
        (  # base64 in lines, and with its kind of content
            labelme_shape([[2, 3], [9, 10]], "mask", mask=lines(png(np.ones((8, 8), dtype=np.uint8)))),
            box_mask(2, 3, 10, 11),
        ),
    ],
)
def test_shapes(tmp_path: Path, shape: dict[str, Any], expected: np.ndarray) -> None:
    write_labelme(tmp_path, [shape])
    source = open_source(f"labelme:{tmp_path}")
    assert source.problems == []
    (rle,) = source[0].instances.rles
    np.testing.assert_array_equal(decode(rle), expected)


def test_groups_and_categories(tmp_path: Path) -> None:
    """Shapes of one label and one group are one instance; the categories are the labels of all files."""
    shapes = [
        labelme_shape(SQUARE, group_id=1),
        labelme_shape([[20, 3], [24, 9]], "rectangle", group_id=2),
        labelme_shape([[14, 3], [18, 9]], "rectangle", group_id=1),
        labelme_shape(SQUARE, label="other", group_id=1),
        labelme_shape(SQUARE),
    ]
    write_labelme(tmp_path, shapes)
    write_labelme(tmp_path / "sub", [labelme_shape(SQUARE, label="another")], name="b")
    source = open_source(f"partial+labelme:{tmp_path}")
    assert source.partial
    assert source.problems == []
    assert source.categories == {1: "another", 2: "other", 3: "thing"}
    assert [(s.image_id, s.file_name) for s in source] == [(1, "a.png"), (2, "sub/b.png")]
    instances = source[0].instances
    assert instances.ids.tolist() == [0, 1, 3, 4]
    assert instances.category_ids.tolist() == [3, 3, 2, 3]
    np.testing.assert_array_equal(decode(instances.rles[0]), box_mask(2, 3, 10, 11) | box_mask(14, 3, 18, 9))
    assert source[1].instances.category_ids.tolist() == [1]


def test_embedded_image_where_the_file_is_missing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    write_labelme(tmp_path, [labelme_shape(SQUARE)], imagePath="gone.png", imageData=png(pixels))
    write_labelme(tmp_path, [], name="b", imagePath="../outside.png", imageData=png(pixels))
    beside = write_image(tmp_path / "beside.png")
    write_labelme(tmp_path, [], name="c", imagePath="beside.png", imageData=png(pixels))
    source = open_source(f"labelme:{tmp_path}")
    assert source.problems == []
    np.testing.assert_array_equal(source[0].image, pixels)
    np.testing.assert_array_equal(source[1].image, pixels)
    with Image.open(beside) as image:
        np.testing.assert_array_equal(source[2].image, np.asarray(image))
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a\.json: has no list"):
        source[0]


def test_embedded_images_are_read_one_at_a_time(tmp_path: Path) -> None:
    """What places them keeps none in memory: data sets embed gigabytes."""
    content = png(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
    write_labelme(tmp_path, [], imagePath="gone.png", imageData=content)
    source = open_source(f"labelme:{tmp_path}")
    placed, sources = place_embedded([source.labels(0)], tmp_path / "out")
    assert (placed[0].file_name, sources) == ("a.png", {tmp_path / "out" / "a.png": tmp_path / "a.json"})
    assert read_embedded(tmp_path / "a.json") == base64.b64decode(content)


def test_paths_of_windows_and_of_a_neighbour_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_labelme(tmp_path / "labels", [labelme_shape(SQUARE)], imagePath="..\\images\\a.png")
    source = open_source(f"labelme:{tmp_path}")
    assert source[0].file_name == "images/a.png"
    outside = open_source(f"labelme:{tmp_path / 'labels'}")
    assert len(outside) == 0
    assert "leads out of" in outside.problems[0].reason
    assert "labelme:DIR,IMAGES_DIR" in outside.problems[0].reason
    assert "give the folder of the images, too, as labelme:DIR,IMAGES_DIR" in outside.problems[0].reason


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (labelme_shape([[1, 1], [5, 5]]), "polygon of 2 points"),
        (labelme_shape([]), "polygon of 0 points"),
        (labelme_shape(None), "polygon of 0 points"),
        (labelme_shape([[1, 1], [5, 5], 3]), "point must be a flat list"),
        (labelme_shape([[1, 1], [5, 5], [3]]), "point of 1 numbers"),
        (labelme_shape([[1, 1], [5, float("nan")], [3, 3]]), "point[1] is nan, not a finite number"),
        (labelme_shape([[1, 1], [5, 10**400], [3, 3]]), "point[1] is 1000"),
        (labelme_shape([[1, 1], [99, 1], [3, 3]]), "outside the image"),
        (labelme_shape([[1, 1], [99, 1]], "circle"), "circle spans x 1..99"),
        (labelme_shape([[1, 1], [1, 1]], "circle"), "zero area"),
        (labelme_shape([[1, 1], [5, 5]], "rotation"), "rotation of 2 points: it takes 4"),
        (labelme_shape([[1, 1]], "circle"), "circle of 1 points: it takes 2"),
        (labelme_shape([[1, 1], [1, 9]], "rectangle"), "zero area"),
        (labelme_shape([[1, 1], [5, 5]], "line"), "shape_type line has no area"),
        (labelme_shape([[1, 1], [5, 5]], "mask"), "mask is missing"),
        (labelme_shape([[1, 1], [5, 5]], "mask", mask=1), "mask must be a file as base64, not 1"),
        (labelme_shape([[1, 1], [5, 5]], "mask", mask="?"), "mask is not base64"),
        (labelme_shape([[1, 1], [5, 5]], "mask", mask=png(np.zeros((5, 5), dtype=np.uint8))), "zero area"),
        (labelme_shape([[32.9, 24.9], [33, 25]], "mask", mask=png(np.ones((1, 1), dtype=np.uint8))), "zero area"),
        (
            labelme_shape([[1, 1], [8, 8]], "mask", mask=png(np.ones((5, 6), dtype=np.uint8))),
            "mask of 6 x 5 pixels is not its box, of 8 x 8",
        ),
        (labelme_shape([[1, 1], [99, 1], [3, 3]], group_id=4), "outside the image"),
        (labelme_shape(SQUARE, 3), "shape_type 3 is no text"),
    ],
)
def test_rejected_shape(tmp_path: Path, shape: dict[str, Any], reason: str) -> None:
    """With a part, the whole instance; the others stay."""
    write_labelme(tmp_path, [labelme_shape(SQUARE), shape, labelme_shape(SQUARE, group_id=4)])
    source = open_source(f"labelme:{tmp_path}")
    assert source.labels(0).instances.ids.tolist() == ([0] if shape["group_id"] == 4 else [0, 2])
    (problem,) = source.problems
    assert problem.file == str(tmp_path / "a.json")
    assert problem.annotation_id == 1
    assert reason in problem.reason


@pytest.mark.parametrize(
    "part", [labelme_shape([[1, 1], [5, 5]]), labelme_shape([[1, 1], [5, 5]], "line"), labelme_shape([], "point")]
)
def test_a_part_without_area_costs_no_other(tmp_path: Path, part: dict[str, Any]) -> None:
    write_labelme(tmp_path, [part | {"group_id": 4}, labelme_shape(SQUARE, group_id=4)])
    source = open_source(f"labelme:{tmp_path}")
    assert source.problems == []
    assert [(note.annotation_id, note.reason.endswith(": left out")) for note in source.notes] == [(0, True)]
    np.testing.assert_array_equal(decode(source.labels(0).instances.rles[0]), box_mask(2, 3, 10, 11))


def test_a_label_that_is_no_text_costs_no_mask(tmp_path: Path) -> None:
    write_labelme(tmp_path, [labelme_shape(SQUARE, label=3), labelme_shape(SQUARE, label=None)])
    source = open_source(f"labelme:{tmp_path}")
    assert source.problems == []
    assert [note.reason for note in source.notes] == ["label 3 is no text", "label None is no text"]
    assert sorted(source.categories.values()) == ["3", "object"]
    assert len(source.labels(0).instances) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"shapes": None}, 'no list "shapes"'),
        ({"shapes": [1]}, 'no list "shapes" of objects'),
        ({"imagePath": None}, "has no imagePath"),
        ({"imagePath": "gone.png"}, "gone.png: no such file"),
        ({"imagePath": "gone.png", "imageData": "?"}, "not base64"),
        ({"imagePath": "gone.png", "imageData": 3}, "imageData must be a file as base64, not 3"),
        ({"imagePath": "gone.png", "imageData": "AAAA"}, "embedded image: not an image"),
        ({"imageWidth": "wide"}, "imageWidth 'wide' is no whole number"),
        ({"imageWidth": "5"}, "its annotations are for 5 x 24"),
    ],
)
def test_rejected_file(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    write_image(tmp_path / "bad.png")
    fields = {"shapes": [], "imagePath": "bad.png"} | fields
    write_labelme(tmp_path, fields.pop("shapes"), name="bad", **fields)
    write_labelme(tmp_path, [], name="sound")
    source = open_source(f"labelme:{tmp_path}")
    assert [s.file_name for s in source] == ["sound.png"]
    (problem,) = source.problems
    assert (problem.file, problem.annotation_id) == (str(tmp_path / "bad.json"), None)
    assert reason in problem.reason


def test_folder_without_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no JSON file"):
        open_source(f"labelme:{tmp_path}")


def test_xanylabeling_is_labelmes_form(tmp_path: Path) -> None:
    shapes = [labelme_shape(SQUARE, score=0.93, group_id=None, description="", difficult=False, attributes={})]
    path = write_labelme(tmp_path, shapes, version="2.4.4", flags={}, checked=False)
    path.rename(tmp_path / "a.JSON")
    (tmp_path / "a.JSON").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.JSON").read_bytes().replace(b", ", b",\r\n"))
    source = open_source(f"xanylabeling:{tmp_path}")
    assert source.problems == []
    assert source.name == f"xanylabeling:{tmp_path}"
    np.testing.assert_array_equal(decode(source[0].instances.rles[0]), box_mask(2, 3, 10, 11))


def test_flags_that_mark_crowds_and_what_is_ignored(tmp_path: Path) -> None:
    """One part's flag is the instance's; a flag of another name, or one that is off, says nothing."""
    flags = [{"iscrowd": True}, {"ignore": True}, {"ignore": False, "blurred": True}, None]
    shapes = [labelme_shape(SQUARE, flags=flag) for flag in flags]
    shapes += [labelme_shape(SQUARE, group_id=1, flags={}), labelme_shape(SQUARE, group_id=1, flags={"ignore": True})]
    write_labelme(tmp_path, shapes)
    instances = open_source(f"labelme:{tmp_path}").labels(0).instances
    assert instances.crowd.tolist() == [True, False, False, False, False]
    assert instances.ignore.tolist() == [False, True, False, False, True]


def test_a_second_file_of_an_image_is_a_problem_also_under_the_same_name(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "a.jpg")
    for person in ("alice", "bob"):
        write_labelme(tmp_path / "lab" / person, [labelme_shape(SQUARE)], imagePath="a.jpg")
    source = open_source(f"labelme:{tmp_path / 'lab'},{tmp_path / 'photos'}")
    (problem,) = source.problems
    assert problem.file == str(tmp_path / "lab" / "bob" / "a.json")
    assert problem.reason == "its image a.jpg is that of alice/a.json too: put its labels into one file"
    assert [labels.partial for labels in map(source.labels, range(len(source)))] == [True]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    """As macOS writes them beside each file on a disk of another system."""
    write_labelme(tmp_path, [labelme_shape(SQUARE)])
    (tmp_path / "._a.json").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    source = open_source(f"labelme:{tmp_path}")
    assert (len(source), source.problems) == (1, [])


def test_files_and_images_may_lie_in_two_folders(tmp_path: Path) -> None:
    write_labelme(tmp_path / "all", [labelme_shape(SQUARE)])
    labels, images = tmp_path / "labels", tmp_path / "images"
    labels.mkdir()
    (tmp_path / "all" / "a.json").rename(labels / "a.json")
    (tmp_path / "all").rename(images)
    assert len(open_source(f"labelme:{labels}")) == 0
    source = open_source(f"labelme:{labels},{images}")
    assert [(source.labels(0).file_name, len(source.labels(0).instances))] == [(next(images.iterdir()).name, 1)]
    with_comma = tmp_path / "a,b"
    images.rename(with_comma)
    (labels / "a.json").rename(with_comma / "a.json")
    assert len(open_source(f"labelme:{with_comma}")) == 1


@pytest.mark.parametrize(
    ("file", "image_path", "found"),
    [
        ("photos/day2/a.json", "a.png", "day2/a.png"),  # beside it, though others have the name
        ("photos/day2/a.json", "./a.png", "day2/a.png"),
        ("photos/day2/a.json", "..\\a.png", "a.png"),
        ("photos/day2/a.json", "../day3/a.png", "day3/a.png"),
        ("photos/day4/a.json", "a.png", "a.png"),  # by its name
        ("labels/a.json", "a.png", "a.png"),
        ("labels/day2/a.json", "a.png", "day2/a.png"),  # the same place
        ("labels/day2/a.json", "../a.png", "a.png"),
        ("labels/day2/a.json", "../../photos/day3/a.png", "day3/a.png"),
        ("labels/day2/a.json", "day3/a.png", "day3/a.png"),
        ("labels/day2/a.json", "/gone/day3/a.png", "day3/a.png"),
        ("labels/day2/a.json", "C:\\gone\\day3\\a.png", "day3/a.png"),
        ("copies/day3/a.json", "a.png", "day3/a.png"),  # the image beside it lies outside
        ("copies/a.json", "day2/a.png", "day2/a.png"),
    ],
)
def test_where_a_file_lies_decides_between_images_of_one_name(
    tmp_path: Path, file: str, image_path: str, found: str
) -> None:
    for name in ("photos/a.png", "photos/day2/a.png", "photos/day3/a.png", "copies/day3/a.png", "copies/day2/a.png"):
        write_image(tmp_path / name)
    path = tmp_path / file
    write_labelme(path.parent, [labelme_shape(SQUARE)], imagePath=image_path)
    source = open_source(f"labelme:{tmp_path / path.relative_to(tmp_path).parts[0]},{tmp_path / 'photos'}")
    assert source.problems == []
    assert [(source.labels(0).file_name, source.labels(0).path)] == [(found, tmp_path / "photos" / found)]


def test_an_absolute_image_path_names_the_very_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folders are given from another one."""
    for name in ("photos/a.png", "photos/day2/a.png"):
        write_image(tmp_path / name)
    write_labelme(tmp_path / "photos", [labelme_shape(SQUARE)], imagePath=str(tmp_path / "photos" / "a.png"))
    monkeypatch.chdir(tmp_path)
    source = open_source("labelme:photos,photos")
    assert [source.labels(0).path] == [Path("photos/a.png")]


def test_a_circle_at_a_corner_is_cut_off_and_noted(tmp_path: Path) -> None:
    """Labelme keeps its two points inside, so they are no other image's, though three quarters of it are outside."""
    write_labelme(tmp_path, [labelme_shape([[0, 0], [0, 8]], "circle")])
    source = open_source(f"labelme:{tmp_path}")
    assert source.problems == []
    (note,) = source.notes
    assert "circle spans x -8..8, y -8..8: cut off at the border of the image of 32 x 24" in note.reason
