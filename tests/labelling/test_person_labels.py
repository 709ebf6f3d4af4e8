"""What a person's labels are taken for, and which files are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.labelling.person_labels import guess_form, lone_files, open_labels
from labelled import coco_annotation, labelme_shape, square, write_image, write_labelme

SQUARE = [[2, 3], [10, 3], [10, 11], [2, 11]]
APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "  # what macOS writes beside a file on a disk of another system


def open_guessed(form: str, folder: Path) -> Source:
    return open_labels(form, folder / "labels", folder / "images", folder / "view")


@pytest.mark.parametrize(
    ("annotations", "form"),
    [
        ([], "coco"),
        ([coco_annotation(1)], "coco"),
        ([coco_annotation(1, attributes={"blurred": True}), 3], "coco"),
        ([coco_annotation(1, attributes=None), coco_annotation(2, attributes={"occluded": False})], "cvat"),
    ],
)
def test_cvats_coco_is_told_by_its_attributes(tmp_path: Path, annotations: list[Any], form: str) -> None:
    """Its brush masks are instances, though they have iscrowd 1."""
    (tmp_path / "a.json").write_text(json.dumps({"images": [], "annotations": annotations, "categories": []}))
    assert guess_form(tmp_path / "a.json") == form
    assert guess_form(tmp_path) == form


def test_hidden_files_are_no_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_labelme(tmp_path / "labels", [labelme_shape(SQUARE)], imagePath="a.png")
    for name in ("._a.json", "._a.txt", "._a.geojson"):
        (tmp_path / "labels" / name).write_bytes(APPLE)
    assert guess_form(tmp_path / "labels") == "labelme"
    source = open_guessed("labelme", tmp_path)
    assert (len(source), list(source.problems)) == (1, [])
    (tmp_path / "labels" / "a.json").unlink()
    assert guess_form(tmp_path / "labels") is None
    for form in ("labelme", "coco", "yolo", "geojson"):
        assert len(open_guessed(form, tmp_path)) == 0


def write_geojson(path: Path) -> None:
    ring = [[x, y] for x, y in zip(square(2, 3)[::2], square(2, 3)[1::2], strict=True)]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, "properties": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.png.geojson", "elsewhere/a.png.geojson"])
def test_geojson_may_have_the_images_whole_name(tmp_path: Path, name: str) -> None:
    """As ``validate --data geojson:`` reads it."""
    write_image(tmp_path / "images" / "sub" / "a.png")
    write_geojson(tmp_path / "labels" / name)
    source = open_guessed("geojson", tmp_path)
    assert list(source.problems) == []
    assert lone_files("geojson", tmp_path / "labels", tmp_path / "images") == []
    assert [len(source.labels(index).instances) for index in range(len(source))] == [1]


@pytest.mark.parametrize("table", [{"type": "FeatureCollection", "features": []}, [{"type": "Feature"}]])
def test_geojson_is_told_from_other_json(tmp_path: Path, table: object) -> None:
    """QuPath writes a list of features, or none where an image has no object."""
    (tmp_path / "a.json").write_text(json.dumps(table))
    assert guess_form(tmp_path) == "geojson"


def test_a_file_beside_its_image_labels_no_other_of_its_name(tmp_path: Path) -> None:
    for folder in ("", "day2"):
        write_image(tmp_path / "images" / folder / "a.png")
    write_geojson(tmp_path / "images" / "day2" / "a.geojson")
    source = open_labels("geojson", tmp_path / "images" / "day2", tmp_path / "images", tmp_path / "view")
    (path,) = (source.labels(index).path for index in range(len(source)))
    assert path is not None
    assert path.resolve() == tmp_path / "images" / "day2" / "a.png"


def test_two_geojson_files_of_an_image_are_a_problem(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    for name in ("a.geojson", "a.png.geojson"):
        write_geojson(tmp_path / "labels" / name)
    source = open_guessed("geojson", tmp_path)
    (problem,) = source.problems
    assert "it takes one GeoJSON file of the same stem, and has 2" in problem.reason


def test_a_zip_file_is_to_be_unpacked(tmp_path: Path) -> None:
    export = tmp_path / "export.zip"
    export.touch()
    with pytest.raises(ValueError, match="unpack the ZIP file, and give its folder"):
        guess_form(export)
    for form in ("labelme", "cvat", "geojson"):
        with pytest.raises(ValueError, match="unpack the ZIP file, and give its folder"):
            open_labels(form, export, tmp_path, tmp_path / "view")


def test_pictures_in_a_folder_of_their_own_are_label_maps(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "masks" / "a.png")
    assert guess_form(tmp_path / "masks", images=tmp_path / "images") == "labels"
    assert guess_form(tmp_path / "images", images=tmp_path / "images") is None
    (tmp_path / "masks" / "a.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2")
    assert guess_form(tmp_path / "masks", images=tmp_path / "images") == "yolo"


def test_results_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "segmentation": {}, "score": 0.5}]))
    for read in (guess_form, lambda path: open_source(f"coco:{path},{tmp_path}")):
        with pytest.raises(ValueError, match=r"objects\.json: these are results, not annotations: `propose --to coco"):
            read(path)
