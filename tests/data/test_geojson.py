"""GeoJSON of QuPath's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode
from labelled import box_mask, write_image


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    """Closed, as GeoJSON wants it."""
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(coordinates: Any, kind: str = "Polygon", name: str | None = "Tumor", **more: Any) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "1b2c", "geometry": geometry, "properties": properties} | more


SOUND = feature([ring(2, 3, 10, 11)])


def write_geojson(folder: Path, table: Any, name: str = "a", place: str = "annotations/a.geojson") -> str:
    write_image(folder / "images" / f"{name}.png")
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return f"geojson:{folder}"


def test_literal_features(tmp_path: Path) -> None:
    cell = feature([ring(20, 2, 30, 12)], name="Cell", nucleusGeometry={"type": "Polygon", "coordinates": [[]]})
    cell["properties"]["objectType"] = "cell"
    features = [
        feature([ring(2, 3, 14, 15), ring(4, 5, 7, 8)]),
        feature([[ring(16, 14, 20, 18)], [ring(22, 14, 30, 20), ring(24, 16, 26, 18)]], "MultiPolygon", None),
        cell,
    ]
    source = open_source(write_geojson(tmp_path, {"type": "FeatureCollection", "features": features}))
    assert source.problems == []
    assert source.categories == {1: "Tumor", 2: "object", 3: "Cell"}
    instances = source.labels(0).instances
    assert instances.ids.tolist() == [0, 1, 2]
    assert instances.category_ids.tolist() == [1, 2, 3]
    expected = [
        box_mask(2, 3, 14, 15) & ~box_mask(4, 5, 7, 8),
        box_mask(16, 14, 20, 18) | box_mask(22, 14, 30, 20) & ~box_mask(24, 16, 26, 18),
        box_mask(20, 2, 30, 12),
    ]
    for rle, mask in zip(instances.rles, expected, strict=True):
        np.testing.assert_array_equal(decode(rle), mask)


@pytest.mark.parametrize("table", [[SOUND], SOUND, {"features": [SOUND]}, "\ufeff" + json.dumps([SOUND])])
@pytest.mark.parametrize(
    "place", ["annotations/a.geojson", "a.json", "images/a.GeoJSON", "annotations/a.png.geojson", "a.JSON"]
)
def test_forms_and_places(tmp_path: Path, table: Any, place: str) -> None:
    source = open_source(write_geojson(tmp_path, table, place=place))
    assert source.problems == []
    assert source.categories == {1: "Tumor"}
    np.testing.assert_array_equal(decode(source[0].instances.rles[0]), box_mask(2, 3, 10, 11))


def test_images_of_one_stem_have_files_of_their_whole_names(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.webp"):
        write_image(tmp_path / name)
    for name in ("a.png", "a.bmp"):
        (tmp_path / f"{name}.geojson").write_text(json.dumps([SOUND]))
    source = open_source(f"geojson:{tmp_path}")
    assert sorted(source.labels(index).file_name for index in range(len(source))) == ["a.bmp", "a.png"]
    (problem,) = source.problems
    assert str(problem).endswith("a.webp: a.bmp has the same stem and is taken")


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    spec = write_geojson(tmp_path, SOUND)
    (tmp_path / "annotations" / "._a.geojson").write_bytes(b"\0\5\x16\7")
    assert open_source(spec).problems == []


def test_images_beside_their_files(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.geojson").write_text(json.dumps([SOUND]))
    assert len(open_source(f"geojson:{tmp_path}")[0].instances) == 1


@pytest.mark.parametrize("place", ["annotations/", "", "images/"])
def test_equal_stems_in_folders_below_are_kept_apart(tmp_path: Path, place: str) -> None:
    for number, folder in enumerate(("", "s/", "t/u/")):
        table = [feature([ring(2, 3, 10 + number, 11)])]
        spec = write_geojson(tmp_path, table, f"{folder}a", f"{place}{folder}a.geojson")
    source = open_source(spec)
    assert source.problems == []
    for number, name in enumerate(("a.png", "s/a.png", "t/u/a.png")):
        assert source.labels(number).file_name == name
        np.testing.assert_array_equal(decode(source[number].instances.rles[0]), box_mask(2, 3, 10 + number, 11))


@pytest.mark.parametrize(
    ("classification", "category"),
    [
        ("Tumor", "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ({"name": ""}, "object"),
        (None, "object"),
        ({"colorRGB": -3}, "object"),
    ],
)
def test_classifications(tmp_path: Path, classification: Any, category: str) -> None:
    table = feature([ring(2, 3, 10, 11)], properties={"classification": classification})
    assert open_source(write_geojson(tmp_path, [table])).categories == {1: category}


def test_what_is_no_object_is_skipped_and_what_is_ignored_is_marked(tmp_path: Path) -> None:
    """Tiles are a grid, and QuPath's class Ignore* is no object to be found."""
    tile, root, ignored = feature([ring(0, 0, 4, 4)]), feature([ring(0, 0, 4, 4)]), feature([ring(1, 1, 4, 4)])
    tile["properties"]["objectType"] = "tile"
    root |= {"id": "PathRootObject", "properties": None, "geometry": None}
    ignored["properties"]["classification"] = {"name": "Ignore*"}
    marked, crowd = feature([ring(1, 1, 4, 4)]), feature([ring(1, 1, 4, 4)])
    marked["properties"]["metadata"] = {"ignore": "1", "iscrowd": "0"}
    crowd["properties"]["metadata"] = {"iscrowd": "1"}
    source = open_source(write_geojson(tmp_path, [tile, root, SOUND, ignored, marked, crowd]))
    assert source.problems == []
    assert source.labels(0).instances.ids.tolist() == [2, 3, 4, 5]
    assert source.labels(0).instances.ignore.tolist() == [False, True, True, False]
    assert source.labels(0).instances.crowd.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (feature([1, 2], "Point"), "geometry 'Point' has no area"),
        (feature([[1, 2], [3, 4]], "LineString"), "geometry 'LineString' has no area"),
        (feature([]), "polygon of 0 points"),
        (feature(None), "coordinates of the Polygon are no lists of rings"),
        (feature([], "MultiPolygon"), "coordinates of the MultiPolygon are no lists of rings"),
        (feature([ring(2, 3, 10, 11)], "MultiPolygon"), "point must be a flat list"),
        (feature([[]], "MultiPolygon"), "polygon of 0 points"),
        (feature([[[2, 3], [10, 3]]]), "polygon of 2 points"),
        (feature([[[2, 3, 0], [10, 3, 0], [5, 5, 0]]]), "point of 3 numbers"),
        (feature([ring(2, 3, float("nan"), 11)]), "point[0] is nan, not a finite number"),
        (feature([ring(2, 3, 99, 11)]), "outside the image"),
        (feature([ring(2, 3, 2, 11)]), "zero area"),
        (feature([ring(2, 3, 10, 11), ring(1, 2, 12, 13)]), "zero area"),
        ({"type": "Feature", "geometry": None}, "no Feature with a geometry"),
        (3, "no Feature with a geometry"),
    ],
)
def test_rejected_feature(tmp_path: Path, bad: Any, reason: str) -> None:
    source = open_source(write_geojson(tmp_path, [SOUND, bad, SOUND]))
    assert source.labels(0).instances.ids.tolist() == [0, 2]
    (problem,) = source.problems
    assert (problem.file, problem.annotation_id) == (str(tmp_path / "annotations" / "a.geojson"), 1)
    assert reason in problem.reason


def test_rejected_files(tmp_path: Path) -> None:
    write_geojson(tmp_path, [SOUND])
    write_geojson(tmp_path, {"type": "Topology"}, "form", "form.geojson")
    write_geojson(tmp_path, "{", "json", "json.geojson")
    write_geojson(tmp_path, [], "twice", "twice.json")
    write_geojson(tmp_path, [], "twice", "annotations/twice.geojson")
    write_geojson(tmp_path, [], "none", "annotations/lone.geojson")
    write_image(tmp_path / "images" / "a.tif")
    spec = f"geojson:{tmp_path}"
    source = open_source(spec)
    assert [s.file_name for s in source] == ["a.png"]
    found = {Path(problem.file).name: problem.reason for problem in source.problems}
    assert list(found) == ["a.tif", "form.png", "json.png", "none.png", "twice.png", "lone.geojson"]
    assert "form.geojson: is no FeatureCollection" in found["form.png"]
    assert "json.geojson: not a JSON file" in found["json.png"]
    assert found["none.png"] == "it takes one GeoJSON file of the same stem, and has 0: none"
    assert "has 2: twice.json, annotations/twice.geojson" in found["twice.png"]
    assert "no image of this name" in found["lone.geojson"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no image"):
        open_source(f"geojson:{tmp_path / 'empty'}")
