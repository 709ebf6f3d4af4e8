from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from instancefcn.data.open import open_source
from instancefcn.data.source import Problem
from instancefcn.data.validation import background_note, count_labels
from labelled import HEIGHT, WIDTH, coco_annotation, square, write_coco, write_image
from synthetic import SyntheticScenes


def test_report_counts_what_is_kept_and_lists_the_rest(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "images" / "b.png")
    images = [
        {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for i, name in enumerate(["a.png", "b.png", "absent.png"], start=1)
    ]
    annotations = [
        coco_annotation(1, segmentation=[square(2, 3, 7)]),
        coco_annotation(2, segmentation=[square(2, 3, 8)]),
        coco_annotation(3, segmentation=[square(2, 3, 16)], category_id=2, ignore=1),
        coco_annotation(4, segmentation=[square(2, 3, 16)], iscrowd=1),
        coco_annotation(5, segmentation=[[1, 1, 5, 5]]),
        coco_annotation(6, segmentation=[square(2, 3, 99)]),
        coco_annotation(6, image_id=99),
        coco_annotation(1),  # of another square than the first one of this id, so it is kept
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(["thing", "stuff", "unseen"], start=1)]
    spec = "partial+" + write_coco(tmp_path, annotations, images, categories)
    source = open_source(spec)
    report = count_labels(source)
    assert (source.name, source.partial) == (spec, True)
    assert (report.images, report.empty_images) == (2, 1)
    assert (report.instances, report.crowds, report.ignored) == (5, 1, 1)
    assert report.instances_per_category == {"thing": 4, "stuff": 1, "unseen": 0}
    assert report.size_histogram == {
        "<8": 1,
        "8-16": 2,
        "16-32": 1,
        **dict.fromkeys(["32-64", "64-96", "96-128", "128-256", "256-512", ">=512"], 0),
    }
    assert [(Path(p.file).name, p.annotation_id) for p in source.problems] == [
        ("absent.png", None),
        ("a.png", 5),
        ("a.png", 6),
        ("coco.json", 6),
    ]
    assert report.instances == sum(int((sample.instances.ids >= 0).sum()) for sample in source)


def test_images_without_an_object_are_told_where_nobody_may_have_looked_at_them(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(1, 5)]
    for image in images:
        write_image(tmp_path / "images" / image["file_name"])
    unsound = coco_annotation(2, image_id=2, segmentation=[[1, 1, 5, 5]])
    spec = write_coco(tmp_path, [coco_annotation(1), unsound], images)
    note = background_note(open_source(spec))
    assert note is not None
    assert note.startswith("2 of 4 images have no object and are taken as background")
    assert "partial+coco:..." in note
    assert background_note(open_source(f"partial+{spec}")) is None
    assert background_note(replace(open_source(spec), name=f"labels:{tmp_path}")) is None
    assert background_note(open_source(write_coco(tmp_path, [], images))) is None
    every = [coco_annotation(i, image_id=i) for i in range(1, 5)]
    assert background_note(open_source(write_coco(tmp_path, every, images))) is None


def test_report_of_nothing(tmp_path: Path) -> None:
    source = open_source(write_coco(tmp_path, [], images=[]))
    report = count_labels(source)
    assert (report.images, report.instances, len(source.problems)) == (0, 0, 0)
    assert set(report.size_histogram.values()) == {0}


@pytest.mark.parametrize("length", [0, 4])
def test_report_of_synthetic_scenes(length: int) -> None:
    scenes = SyntheticScenes(length)
    report = count_labels(scenes)
    assert report.images == length
    assert sum(report.size_histogram.values()) == report.instances == sum(len(scene.instances) for scene in scenes)


def test_problem_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert str(Problem.from_error(path, ValueError(f"{path}: is empty"))) == f"{path}: is empty"
    assert str(Problem("a.png", 3, "zero area")) == "a.png: annotation 3: zero area"
