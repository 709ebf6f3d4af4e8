"""Exports of Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from instancefcn.data.open import open_source
from instancefcn.export.brush import to_brush_code
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, write_image

# x 2..10, y 3..11 of an image of 32 x 24, in percent
POINTS = [[6.25, 12.5], [31.25, 12.5], [31.25, 100 * 11 / 24], [6.25, 100 * 11 / 24]]


def result(kind: str = "polygonlabels", label: str | None = "cell", value: Any = None, **more: Any) -> dict[str, Any]:
    """A result of a region; a sound polygon unless ``value`` says otherwise."""
    value = {"points": POINTS, "closed": True} if value is None else value
    names = {} if label is None else {kind: [label]}
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"type": kind, "from_name": "tag", "to_name": "image", "value": value | names} | sizes | more


def brush(mask: np.ndarray) -> dict[str, Any]:
    return {"format": "rle", "rle": to_brush_code(mask, 0, 0, HEIGHT, WIDTH)}


def task(*results: Any, image: str = "/data/upload/1/0a1b2c3d-a.png", **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"id": 1, "result": list(results)}]} | more


def write_export(folder: Path, tasks: Any) -> str:
    write_image(folder / "images" / "a.png")
    (folder / "export.json").write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    return f"labelstudio:{folder / 'export.json'},{folder / 'images'}"


def test_literal_regions(tmp_path: Path) -> None:
    mask = box_mask(12, 3, 20, 20) & ~box_mask(14, 5, 16, 9)
    results = [
        result(id="p1"),
        result("brushlabels", "dish", brush(mask), id="b1"),
        result("rectanglelabels", "cell", {"x": 50, "y": 25, "width": 25, "height": 50, "rotation": 0}, id="r1"),
        {"type": "choices", "value": {"choices": ["good"]}, "id": "c1"},
        {"type": "relation", "from_id": "p1", "to_id": "b1"},
    ]
    source = open_source(write_export(tmp_path, [task(*results)]))
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "dish"}
    (sample,) = list(source)
    assert (sample.image_id, sample.file_name) == (1, "a.png")
    assert sample.instances.ids.tolist() == [0, 1, 2]
    assert sample.instances.category_ids.tolist() == [1, 2, 1]
    expected = [box_mask(2, 3, 10, 11), mask, box_mask(16, 6, 24, 18)]
    for rle, wanted in zip(sample.instances.rles, expected, strict=True):
        np.testing.assert_array_equal(decode(rle), wanted)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        # Turned by 90 degrees clockwise about its first corner (24, 6): 8 to the right become 8 down, 6 down 6 left.
        (
            "rectanglelabels",
            {"x": 75, "y": 25, "width": 25, "height": 25, "rotation": 90},
            box_mask(18, 6, 24, 14),
        ),
        ("rectanglelabels", {"x": 50, "y": 25, "width": 25, "height": 50}, box_mask(16, 6, 24, 18)),
        # A circle of radius 2 about (16, 12): rows of 2, 4, 4, 2 pixels.
        (
            "ellipselabels",
            {"x": 50, "y": 50, "radiusX": 6.25, "radiusY": 100 * 2 / 24, "rotation": 30},
            box_mask(15, 10, 17, 14) | box_mask(14, 11, 18, 13),
        ),
        ("polygonlabels", {"points": [*POINTS, POINTS[0]]}, box_mask(2, 3, 10, 11)),
    ],
)
def test_shapes(tmp_path: Path, kind: str, value: dict[str, Any], expected: np.ndarray) -> None:
    source = open_source(write_export(tmp_path, [task(result(), result(kind, value=value))]))
    assert source.problems == []
    np.testing.assert_array_equal(decode(source.labels(0).instances.rles[1]), expected)


def test_a_region_whose_label_is_a_result_of_its_own(tmp_path: Path) -> None:
    """With a tag of shapes and a tag of labels, two results share an id; a region without any label has a category."""
    drawn = result("polygon", None, id="p1")
    named = result("labels", "cell", id="p1")
    bare = result("polygon", None, id="p2")
    source = open_source(write_export(tmp_path, [task(drawn, named, bare)]))
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "object"}
    assert source.labels(0).instances.category_ids.tolist() == [1, 2]


def names(tmp_path: Path, entry: dict[str, Any]) -> list[str]:
    source = open_source(write_export(tmp_path, [entry]))
    assert source.problems == []
    return list(source.categories.values())


def test_which_annotation_counts(tmp_path: Path) -> None:
    def made(label: str, **more: Any) -> dict[str, Any]:
        return {"result": [result(label=label)]} | more

    early, late = {"created_at": "2024-01-01T10:00:00Z"}, {"created_at": "2024-02-01T10:00:00Z"}
    changed = early | {"updated_at": "2024-03-01T10:00:00Z"}
    predictions = [made("first", **late), made("guess", **late)]
    assert names(tmp_path, task(annotations=[made("late", **late), made("early", **early)])) == ["late"]
    assert names(tmp_path, task(annotations=[made("changed", **changed), made("late", **late)])) == ["changed"]
    assert names(tmp_path, task(annotations=[made("one"), made("two")])) == ["two"]
    cancelled = made("cancelled", was_cancelled=True, **late)
    assert names(tmp_path, task(annotations=[made("early", **early), cancelled], predictions=predictions)) == ["early"]
    assert names(tmp_path, task(annotations=[], predictions=predictions)) == ["guess"]
    assert names(tmp_path, task(annotations=[{"result": []}], predictions=predictions)) == []


def test_predictions_are_told_from_annotations(tmp_path: Path) -> None:
    guess = {"result": [result()]}
    for entry, predicted in (
        (task(annotations=[], predictions=[guess]), True),
        (task(annotations=[guess], predictions=[guess]), False),
        (task(annotations=[{"result": []}], predictions=[guess]), False),
    ):
        source = open_source(write_export(tmp_path, [entry]))
        assert source.labels(0).predicted == predicted


def test_json_min(tmp_path: Path) -> None:
    entry = {"points": POINTS, "polygonlabels": ["cell"], "original_width": WIDTH, "original_height": HEIGHT}
    brushed = {"original_width": WIDTH, "original_height": HEIGHT, "brushlabels": ["dish"]}
    tasks = [
        {"image": "s3://bucket/a.png", "id": 1, "poly": [entry], "brush": [brushed | brush(box_mask(1, 1, 5, 5))]}
        | {"choice": "good", "annotator": 1, "annotation_id": 4},
        {"image": "/data/local-files/?d=more/b.png", "id": 2, "annotator": 1, "annotation_id": 5},
    ]
    write_image(tmp_path / "images" / "more" / "b.png")
    source = open_source(write_export(tmp_path, "\ufeff" + json.dumps(tasks, indent=2).replace("\n", "\r\n")))
    assert source.problems == []
    assert source.categories == {1: "cell", 2: "dish"}
    assert [(s.file_name, len(s.instances)) for s in source] == [("a.png", 2), ("more/b.png", 0)]
    np.testing.assert_array_equal(decode(source.labels(0).instances.rles[0]), box_mask(2, 3, 10, 11))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (result(value={"points": POINTS, "closed": False}), "polygon is not closed"),
        (result(value={"points": [[1, 1], [2, 2]]}), "polygon of 2 points"),
        (result(value={"points": [[1, 1], [2, float("nan")], [3, 1]]}), "point[1] is nan, not a finite number"),
        (result(value={"points": [[1, 1], [220, 1], [1, 50]]}), "spans x 0.32..70.4"),
        (result(value={"points": [[1e308, 10], [40, 10], [40, 60]]}), "outside the image"),
        (result(value={"points": [[1, 1], [50, 50], [1, 1]]}), "zero area"),
        (result(value={"points": 3}), "points must be a list"),
        (result("brushlabels", value={"format": "rle", "rle": [0, 0, 0]}), "brush rle is damaged"),
        (result("brushlabels", value={"format": "png", "rle": []}), "brush of the format 'png'"),
        (result("brushlabels", value=brush(box_mask(0, 0, 0, 0))), "zero area"),
        (
            result("rectanglelabels", value={"x": 1, "y": 1, "width": None, "height": 3}),
            "rectangle[2] is None, not a finite number",
        ),
        (result("ellipselabels", value={"x": 1, "y": 1, "radiusX": 5, "radiusY": 0}), "zero area"),
        (
            result("ellipselabels", value={"x": 102, "y": 50, "radiusX": 25, "radiusY": 25}),
            "ellipse spans x 24.64..40.64, y 6..18: outside the image of 32 x 24",
        ),
        (result("keypointlabels", value={"x": 1, "y": 1, "width": 1}), "keypoint is no outline"),
        (result("bitmasklabels", value={"imageDataURL": "data:"}), "bitmask is no outline that can be read"),
        (result("videorectangle", value={"sequence": []}), "video is no outline"),
        (result(image_rotation=90), "turned by 90 degrees in Label Studio: turn it back"),
    ],
)
def test_rejected_region(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    """Of three, the one in the middle; the others are kept."""
    source = open_source(write_export(tmp_path, [task(result(), bad, result())]))
    assert source.labels(0).instances.ids.tolist() == [0, 2]
    (problem,) = source.problems
    assert (problem.file, problem.annotation_id) == (str(tmp_path / "export.json"), 1)
    assert problem.reason.startswith("tasks[0] (id 7): ")
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (task(annotations=[]), "has no annotation that is not cancelled, and no prediction"),
        (task(annotations=[{"result": None}, 3]), "has no annotation"),
        (
            task(annotations=[{"result": [], "was_cancelled": True}], predictions=[{"result": [result()]}]),
            "was skipped in Label Studio: it is not labelled",
        ),
        ({"image": "a.png"}, "neither annotations nor data"),
        (task(image="gone.png"), "'gone.png': no image of this name in"),
        (task(image="twice.png"), "may be one/twice.png or two/twice.png"),
        (task(data={"text": "of no image"}), "its data names no image file"),
        (task(data={"left": "a.png", "right": "b.png"}), "has several images (left, right)"),
        (task(data=3), "names no image file"),
        (task(image="a.png"), "its image a.png is that of tasks[0] (id 7) too"),
        (task(result(original_width=99), image="b.png"), "its annotations are for 99 x 24"),
        (task(result(original_width=0.5), image="b.png"), "original_width 0.5 is no whole number"),
        (task(result(), result(original_width=99), image="b.png"), "its regions are of images of 32 x 24 and 99 x 24"),
        (task(image="broken.png"), "not an image"),
    ],
)
def test_rejected_task(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    for name in ("one/twice.png", "two/twice.png", "b.png"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "images" / "broken.png").write_bytes(b"broken")
    source = open_source(write_export(tmp_path, [task(result()), bad | {"id": 8}]))
    assert [s.file_name for s in source] == ["a.png"]
    (problem,) = source.problems
    assert (problem.file, problem.annotation_id) == (str(tmp_path / "export.json"), None)
    assert problem.reason.startswith("tasks[1] (id 8): ")
    assert reason in problem.reason


@pytest.mark.parametrize(("width", "height"), [(HEIGHT, WIDTH), (WIDTH, HEIGHT)])
def test_labels_are_for_the_upright_photograph_or_for_the_stored_one(tmp_path: Path, width: int, height: int) -> None:
    """By their size: browsers turn photographs upright, some programs don't."""
    spec = write_export(tmp_path, [task(result(original_width=width, original_height=height))])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "a.png", exif=exif)
    source = open_source(spec)
    assert source.problems == []
    assert source[0].image.shape == (height, width, 3)
    assert source[0].instances.rles[0]["size"] == [height, width]


def test_what_is_no_task_costs_no_other(tmp_path: Path) -> None:
    source = open_source(write_export(tmp_path, [3, task(result())]))
    assert [(s.image_id, s.file_name) for s in source] == [(2, "a.png")]
    (problem,) = source.problems
    assert problem.reason == "tasks[0]: is no task of Label Studio's"


def test_rectangles_alone_are_a_problem(tmp_path: Path) -> None:
    rectangle = result("rectanglelabels", value={"x": 50, "y": 25, "width": 25, "height": 50, "rotation": 0})
    source = open_source(write_export(tmp_path, [task(rectangle, rectangle)]))
    assert len(source.labels(0).instances) == 2
    (problem,) = source.problems
    assert problem.reason.startswith("all 2 instances are rectangles, which teach no outlines")


@pytest.mark.parametrize("content", ["{}", "[1]", '{"images": []}', "[", "\x80"])
def test_file_that_is_no_export(tmp_path: Path, content: str) -> None:
    spec = write_export(tmp_path, [])
    (tmp_path / "export.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"export.json: (is no list of tasks|not a JSON file)"):
        open_source(spec)


def test_an_ellipse_at_the_border_is_cut_off_and_noted(tmp_path: Path) -> None:
    value = {"x": 100, "y": 50, "radiusX": 25, "radiusY": 25}
    source = open_source(write_export(tmp_path, [task(result("ellipselabels", value=value))]))
    assert source.problems == []
    (note,) = source.notes
    assert "ellipse spans x 24..40, y 6..18: cut off at the border of the image of 32 x 24" in note.reason
