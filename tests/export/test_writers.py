"""What every writer keeps of objects with holes, parts, scores and crowds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import ExifTags, Image, ImageOps

from instancefcn.data.open import open_source
from instancefcn.data.polygons import polygons_to_rle
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels
from instancefcn.export import label_maps
from instancefcn.export.open import FORMS, open_writer
from instancefcn.export.polygons import to_polygons
from instancefcn.export.upright import upright
from instancefcn.export.writer import Writer
from instancefcn.export.yolo import join
from instancefcn.geometry.rle import decode, encode
from labelled import write_image
from memory import megabytes_for
from oracles import decode_brush
from pictures import rectangle
from synthetic import SyntheticScenes

HEIGHT, WIDTH = 48, 64
SIZE = HEIGHT, WIDTH
NAMES = {0: "cell", 7: 'the "other"'}
SCORES = [0.75, 0.5, 0.25, 0.125]


def masks() -> list[np.ndarray]:
    """A rectangle, one with a hole, one object of two parts, and one that is to be a crowd."""
    ring = rectangle(4, 30, 20, 60, SIZE)
    ring[9:15, 38:50] = False
    parts = rectangle(30, 4, 44, 14, SIZE) | rectangle(32, 20, 42, 30, SIZE)
    return [rectangle(2, 4, 22, 24, SIZE), ring, parts, rectangle(34, 40, 46, 62, SIZE)]


def labels_of(folder: Path, name: str = "deep/a b.png", number: int = 3) -> Labels:
    """One image, which is written, with ``masks``."""
    path = write_image(folder / "images" / name, HEIGHT, WIDTH)
    instances = to_instances(
        [1, 2, 3, 4], [encode(mask) for mask in masks()], [0, 7, 0, 7], [False, False, False, True]
    )
    return Labels(number, name, path, HEIGHT, WIDTH, instances)


def write(form: str, out: Path, *images: Labels, scores: Sequence[float] | None = SCORES, **options: Any) -> Writer:
    writer = open_writer(form, out, NAMES, **options)
    for labels in images:
        writer.add(labels, scores)
    writer.close()
    return writer


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def assert_kept(source: FileSource, expected: Sequence[np.ndarray]) -> None:
    """The first image has these objects, in this order."""
    assert list(source.problems) == []
    found = [decode(rle) for rle in source.labels(0).instances.rles]
    assert [iou(a, b) > 0.97 for a, b in zip(found, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize("form", ["coco", "cvat"])
def test_coco_and_cvat(form: str, tmp_path: Path) -> None:
    writer = write(form, tmp_path / "new" / "out.json", labels_of(tmp_path))
    source = open_source(f"coco:{tmp_path}/new/out.json,{tmp_path}/images")
    assert_kept(source, masks())
    assert source.labels(0).instances.crowd.tolist() == [False, False, False, True]
    table = read(tmp_path / "new/out.json")
    assert [annotation["score"] for annotation in table["annotations"]] == SCORES
    assert [annotation["id"] for annotation in table["annotations"]] == [1, 2, 3, 4]
    assert table["images"][0]["id"] == 3
    assert writer.notes() == []


def test_cvat_knows_crowds_where_no_other_object_has_a_mask(tmp_path: Path) -> None:
    labels = labels_of(tmp_path)
    rles = [labels.instances.rles[index] for index in (0, 3)]
    write("cvat", tmp_path, replace(labels, instances=to_instances([1, 2], rles, [0, 0], [False, True])), scores=None)
    source = open_source(f"cvat:{tmp_path}/cvat.json,{tmp_path}/images")
    assert source.labels(0).instances.crowd.tolist() == [False, True]


def test_cvat_has_masks_for_holes_alone_and_no_category_0(tmp_path: Path) -> None:
    write("cvat", tmp_path, labels_of(tmp_path))
    table = read(tmp_path / "cvat.json")
    segmentations = [annotation["segmentation"] for annotation in table["annotations"]]
    assert [len(found) if isinstance(found, list) else sorted(found) for found in segmentations] == [
        1,
        ["counts", "size"],
        2,
        ["counts", "size"],
    ]
    assert sum(segmentations[1]["counts"]) == HEIGHT * WIDTH
    assert [(category["id"], category["name"]) for category in table["categories"]] == [(1, "cell"), (8, NAMES[7])]
    assert [annotation["category_id"] for annotation in table["annotations"]] == [1, 8, 1, 8]


def test_coco_has_polygons_on_request(tmp_path: Path) -> None:
    write("coco", tmp_path, labels_of(tmp_path), polygons=True)
    segmentations = [annotation["segmentation"] for annotation in read(tmp_path / "coco.json")["annotations"]]
    assert [len(found) if isinstance(found, list) else "RLE" for found in segmentations] == [1, "RLE", 2, "RLE"]
    assert_kept(open_source(f"coco:{tmp_path}/coco.json,{tmp_path}/images"), masks())


def test_coco_keeps_masks_to_the_pixel(tmp_path: Path) -> None:
    labels = labels_of(tmp_path)
    write("coco", tmp_path, labels, scores=None)
    table = read(tmp_path / "coco.json")
    source = open_source(f"coco:{tmp_path}/coco.json,{tmp_path}/images")
    assert source.labels(0).instances.rles == labels.instances.rles
    assert "score" not in table["annotations"][0]
    assert [category["id"] for category in table["categories"]] == [0, 7]


@pytest.mark.parametrize("form", ["labelme", "xanylabeling"])
def test_labelme_and_xanylabeling(form: str, tmp_path: Path) -> None:
    labels = labels_of(tmp_path)
    writer = write(form, tmp_path / "images", labels)
    expected = masks()
    if form == "xanylabeling":
        expected[1] = rectangle(4, 30, 20, 60, SIZE)  # the hole is filled
        assert writer.notes() == ["1 hole was left out: X-AnyLabeling has no place for them"]
    else:
        assert writer.notes() == ["4 scores were left out: labelme has no place for them"]
    source = open_source(f"labelme:{tmp_path}/images")
    assert_kept(source, expected)
    assert source.labels(0).instances.crowd.tolist() == [False, False, False, True]
    table = read(tmp_path / "images/deep/a b.json")
    shapes = table["shapes"]
    assert table["imagePath"] == "a b.png"
    assert [shape["group_id"] for shape in shapes] == [None, None, 3, 3, None]
    assert form == "xanylabeling" or shapes[1]["points"] == [[30, 4], [59, 19]]  # first and last pixel
    assert [shape["shape_type"] == "mask" for shape in shapes] == [False, form == "labelme", False, False, False]
    assert form == "labelme" or [shape["score"] for shape in shapes] == [0.75, 0.5, 0.25, 0.25, 0.125]


def test_labelme_names_images_that_lie_elsewhere(tmp_path: Path) -> None:
    write("labelme", tmp_path / "out", labels_of(tmp_path))
    assert read(tmp_path / "out/deep/a b.json")["imagePath"] == "../../images/deep/a b.png"


def test_label_maps(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, "a.png")
    writer = write("labels", tmp_path, labels)
    assert_kept(open_source(f"labels:{tmp_path}"), masks()[:3])
    assert writer.notes() == [
        "3 scores and 1 crowd region were left out: a label map has no place for them",
        "label maps name no categories",
    ]


@pytest.mark.parametrize(("scores", "seen"), [([0.9, 0.4], [1]), ([0.4, 0.9], [1, 2]), (None, [1, 2])])
def test_label_maps_show_the_better_or_the_smaller(scores: list[float] | None, seen: list[int], tmp_path: Path) -> None:
    rles = [encode(rectangle(0, 0, 20, 20, SIZE)), encode(rectangle(5, 5, 10, 10, SIZE))]
    labels = Labels(1, "a.png", None, HEIGHT, WIDTH, to_instances([1, 2], rles, [0, 0]))
    writer = write("labels", tmp_path, labels, scores=scores)
    with Image.open(tmp_path / "masks/a.png") as picture:
        assert picture.mode == "I;16"
        assert np.unique(np.asarray(picture)).tolist() == [0, *seen]
    assert ("1 hidden object" in "".join(writer.notes())) == (len(seen) == 1)


def test_more_objects_than_16_bits_make_a_tiff_of_32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert label_maps.MAX_LABEL == 65_535
    monkeypatch.setattr(label_maps, "MAX_LABEL", 2)
    write("labels", tmp_path, labels_of(tmp_path, "a.png"))
    with Image.open(tmp_path / "masks/a.tif") as picture:
        assert picture.mode == "I"
    assert_kept(open_source(f"labels:{tmp_path}"), masks()[:3])


def test_yolo(tmp_path: Path) -> None:
    writer = write("yolo", tmp_path, labels_of(tmp_path))
    lines = (tmp_path / "labels/deep/a b.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "0"]
    expected = masks()
    expected[1] = rectangle(4, 30, 20, 60, SIZE)
    for line, mask in zip(lines, expected[:3], strict=True):
        ring = np.array(line.split()[1:], dtype=float).reshape(-1, 2)
        assert ring.min() >= 0
        assert ring.max() <= 1
        found = decode(polygons_to_rle([(ring * (WIDTH, HEIGHT)).ravel().tolist()], HEIGHT, WIDTH))
        assert iou(found, mask) > 0.97
    data = (tmp_path / "data.yaml").read_text().splitlines()
    assert data[1:] == ['train: "images"', 'val: "images"', "names:", '  0: "cell"', '  1: "the \\"other\\""']
    notes = writer.notes()
    assert notes[0] == "3 scores, 1 crowd region and 1 hole were left out: YOLO has no place for them"
    assert len(notes) == 2
    assert "the parts of 1 objects are joined" in notes[1]


def test_yolo_says_where_images_are_to_be(tmp_path: Path) -> None:
    writer = write("yolo", tmp_path / "out", labels_of(tmp_path))
    assert 'train: "../images"' in (tmp_path / "out/data.yaml").read_text()
    assert str(tmp_path / "out/images") in writer.notes()[-1]


@pytest.mark.parametrize(
    ("names", "train"),
    [
        (["images/a.png", "images/s/b.png"], '"images"'),
        (["train/images/a.png", "val/images/a.png"], '["train/images", "val/images"]'),
        (["images/old/images/a.png"], '"images/old/images"'),
    ],
)
def test_yolo_labels_of_images_in_images_are_found(names: list[str], train: str, tmp_path: Path) -> None:
    """By Ultralytics' rule, and by our reader."""
    root = tmp_path / "set"
    images = [replace(labels_of(tmp_path, number=n), file_name=name) for n, name in enumerate(names, start=1)]
    images = [replace(labels, path=write_image(root / labels.file_name, HEIGHT, WIDTH)) for labels in images]
    writer = write("yolo", root, *images, names=names)
    first, last = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
    expected = {Path(last.join(str(one.path).rsplit(first, 1)).rsplit(".", 1)[0] + ".txt") for one in images}
    assert set(root.rglob("*.txt")) == expected == set(writer.paths()) - {root / "data.yaml"}
    assert f"train: {train}\n" in (root / "data.yaml").read_text()
    assert not any("put or link" in line for line in writer.notes())
    source = open_source(f"yolo:{root},train")
    assert [source.labels(index).file_name for index in range(len(source))] == names
    assert_kept(source, [masks()[0], rectangle(4, 30, 20, 60, SIZE), masks()[2]])


def test_yolo_says_where_a_folder_images_is_to_be(tmp_path: Path) -> None:
    labels = labels_of(tmp_path / "set")
    writer = write("yolo", tmp_path / "out", replace(labels, file_name=f"images/{labels.file_name}"))
    assert (tmp_path / "out/labels/deep/a b.txt").is_file()
    assert f"images of {tmp_path}/set/images into {tmp_path}/out/images, and" in writer.notes()[-1]


def test_parts_are_joined_where_they_are_nearest() -> None:
    squares = [np.array([[x + 2, y], [x + 2, y + 2], [x, y + 2], [x, y]], float) for x, y in ((0, 0), (9, 0), (4, 0))]
    ring = join([squares[0], np.roll(squares[1], 1, axis=0), squares[2]])
    lines = shapely.LineString(np.concatenate([ring, ring[:1]]))
    assert lines.length == 3 * 8 + 2 * (2 + 3)  # the way over and back to the middle one, and from there to the last
    assert shapely.Polygon(ring).area == 3 * 4


def test_geojson(tmp_path: Path) -> None:
    writer = write("geojson", tmp_path, labels_of(tmp_path))
    collection = read(tmp_path / "deep/a b.geojson")
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    outlines = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert all(outline.is_valid for outline in outlines)
    assert [outline.geom_type for outline in outlines] == ["Polygon", "Polygon", "MultiPolygon", "Polygon"]
    for outline, rle in zip(outlines, labels_of(tmp_path).instances.rles, strict=True):
        assert outline.equals(to_polygons(rle))
    assert features[1]["properties"] == {
        "objectType": "annotation",
        "classification": {"name": NAMES[7]},
        "measurements": {"score": 0.5},
    }
    assert features[3]["properties"]["metadata"] == {"iscrowd": "1"}
    assert writer.notes() == []


def test_label_studio(tmp_path: Path) -> None:
    writer = write("labelstudio", tmp_path / "tasks.json", labels_of(tmp_path))
    (task,) = read(tmp_path / "tasks.json")
    assert task["data"] == {"image": "/data/local-files/?d=images/deep/a%20b.png"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == np.mean(SCORES[:3])
    results = prediction["result"]
    assert [result["type"] for result in results] == ["polygonlabels", "brushlabels", "brushlabels"]
    assert [result["score"] for result in results] == SCORES[:3]
    assert results[1]["value"]["brushlabels"] == [NAMES[7]]
    points = np.array(results[0]["value"]["points"]) / 100 * (WIDTH, HEIGHT)
    expected = masks()
    assert iou(decode(polygons_to_rle([points.ravel().tolist()], HEIGHT, WIDTH)), expected[0]) > 0.97
    for result, mask in zip(results[1:], expected[1:3], strict=True):
        pixels = decode_brush(result["value"]["rle"], result["original_height"], result["original_width"])
        np.testing.assert_array_equal(pixels[..., 3], mask * 255)
    notes = writer.notes()
    assert notes[0] == "1 crowd region was left out: Label Studio has no place for them"
    assert notes[1].endswith(str(tmp_path))
    assert f"<Label value='{NAMES[7]}'/>" in notes[2]


def test_label_studio_is_told_of_all_places_that_images_lie_in(tmp_path: Path) -> None:
    two = [labels_of(tmp_path / name, number=number) for number, name in enumerate(("b", "a"), start=1)]
    note = write("labelstudio", tmp_path / "tasks.json", *two).notes()[1]
    assert f"has to be {tmp_path / 'a'} and {tmp_path / 'b'}; it can be but one of them" in note


def test_label_studio_takes_labels_without_scores_for_annotations(tmp_path: Path) -> None:
    write("labelstudio", tmp_path / "tasks.json", labels_of(tmp_path), scores=None)
    (task,) = read(tmp_path / "tasks.json")
    assert "predictions" not in task
    assert "score" not in task["annotations"][0]["result"][0]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_without_objects_is_written(form: str, tmp_path: Path) -> None:
    labels = Labels(1, "a.png", None, HEIGHT, WIDTH, to_instances([], [], []))
    write(form, tmp_path / "out", labels, scores=None)
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_written_over_what_was_read(form: str, tmp_path: Path) -> None:
    labels = labels_of(tmp_path)
    write(form, tmp_path / "out", labels)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"would write over .*, among the data that is read: give another --out"):
        write(form, tmp_path / "out", labels, read=[tmp_path / "out"], scores=None)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_no_image_is_written_over_and_no_name_leads_out(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, "../masks/a.png")
    with pytest.raises(ValueError, match="would write over"):
        write("labels", tmp_path, replace(labels, file_name="a.png"))
    with pytest.raises(ValueError, match="leads out of"):
        write("labels", tmp_path, replace(labels, file_name="../a.png"))


def test_images_of_one_stem_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["cat.png", "cat.jpg", "dog.png"]
    images = [labels_of(tmp_path, name) for name in names]
    write("geojson", tmp_path / "known", *images, names=names)
    write("geojson", tmp_path / "unknown", *images)
    known, unknown = (sorted(path.name for path in (tmp_path / out).rglob("*.geojson")) for out in ("known", "unknown"))
    assert known == ["cat.jpg.geojson", "cat.png.geojson", "dog.geojson"]
    assert unknown == ["cat.geojson", "cat.jpg.geojson", "dog.geojson"]


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("coco", "cvat", "labelstudio")])
def test_a_folder_is_asked_for(form: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a folder"):
        open_writer(form, tmp_path / "out.json", NAMES)


@pytest.mark.parametrize("form", ["coco", "labelme"])
def test_a_file_that_is_no_json_is_not_written_over(form: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("of a person")
    with pytest.raises(ValueError, match="mine: is a file: give a folder"):
        open_writer(form, tmp_path / "mine", NAMES)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'voc': give one of coco, cvat"):
        open_writer("voc", tmp_path, NAMES)


# The specs under which what is written into a folder is read back; images lie beside it.
SPECS = {
    "coco": "coco:{0}/coco.json,{0}/images",
    "cvat": "cvat:{0}/cvat.json,{0}/images",
    "labelstudio": "labelstudio:{0}/labelstudio.json,{0}/images",
    "labelme": "labelme:{0}/images",
    "xanylabeling": "xanylabeling:{0}/images",
    "yolo": "yolo:{0},train",
    "geojson": "geojson:{0}",
    "labels": "labels:{0}",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_back(form: str, tmp_path: Path) -> None:
    scenes = SyntheticScenes(4, height=120, width=160, seed=5)
    images: list[Labels] = []
    for index in range(len(scenes)):
        labels = scenes.labels(index)
        path = write_image(tmp_path / "images" / labels.file_name, 120, 160)
        images.append(replace(labels, path=path))
    out = tmp_path / "images" if form in ("labelme", "xanylabeling") else tmp_path
    writer = open_writer(form, out, scenes.categories)
    for labels in images:
        writer.add(labels)
    writer.close()
    source = open_source(SPECS[form].format(tmp_path))
    assert list(source.problems) == []
    assert len(source) == len(images)
    for index, labels in enumerate(images):
        found = source.labels(index)
        assert Path(found.file_name).name == labels.file_name
        pairs = zip(found.instances.rles, labels.instances.rles, strict=True)
        assert min(iou(decode(one), decode(other)) for one, other in pairs) > 0.9
        names, expected = (
            [categories[number] for number in instances.category_ids.tolist()]
            for categories, instances in (
                (source.categories, found.instances),
                (scenes.categories, labels.instances),
            )
        )
        assert form == "labels" or names == expected


@pytest.mark.parametrize("stored", [True, False], ids=["of the stored pixels", "of the upright image"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", FORMS)
def test_masks_stay_on_their_object_in_a_photograph_that_is_turned(
    form: str, orientation: int, stored: bool, tmp_path: Path
) -> None:
    """The object is white on black. Labels are of the upright image, or of the stored pixels, as their size says."""
    scene = Image.fromarray(rectangle(6, 10, 20, 50, SIZE).astype(np.uint8) * 255).convert("RGB")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "images" / "a.jpg"
    path.parent.mkdir()
    scene.save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    seen = scene if stored and orientation > 4 else upright
    white = np.asarray(seen.convert("L")) > 128
    instances = to_instances([1], [encode(white)], [7])
    out = tmp_path / "images" if form in ("labelme", "xanylabeling") else tmp_path
    write(form, out, Labels(1, "a.jpg", path, seen.height, seen.width, instances), scores=None)
    source = open_source(SPECS[form].format(tmp_path))
    assert list(source.problems) == []
    assert iou(decode(source.labels(0).instances.rles[0]), source.image(0).mean(2) > 128) > 0.95


@pytest.mark.parametrize("form", FORMS)
def test_tools_that_turn_photographs_get_labels_of_the_upright_one(form: str, tmp_path: Path) -> None:
    """Their files say its size where they say any; COCO and label maps are of the stored pixels, as they were given."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "images" / "a.jpg"
    path.parent.mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)
    instances = to_instances([1], [encode(rectangle(2, 10, 20, 50, SIZE))], [7])
    out = tmp_path / "images" if form in ("labelme", "xanylabeling") else tmp_path
    write(form, out, Labels(1, "a.jpg", path, *SIZE, instances), scores=None)
    found = open_source(SPECS[form].format(tmp_path)).labels(0)
    kept = form in ("coco", "labels")
    assert (found.height, found.width) == (SIZE if kept else SIZE[::-1])
    box = [10, 2, 50, 20] if kept else [HEIGHT - 20, 10, HEIGHT - 2, 50]
    np.testing.assert_allclose(found.instances.boxes_xyxy[0], box, atol=1)


def test_an_image_is_looked_at_once_for_all_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For which a PNG is decoded, as its orientation may stand behind the pixels."""
    asked: list[Path] = []
    monkeypatch.setattr("instancefcn.export.upright.turn_upright", lambda path, size: asked.append(path))
    for labels in (labels_of(tmp_path, "a.png"), labels_of(tmp_path, "b.png")):
        for form in FORMS:
            write(form, tmp_path / labels.file_name / form, labels)
    assert asked == [tmp_path / "images" / name for name in ("a.png", "b.png")]


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_an_image_that_is_no_file_are_written(form: str, tmp_path: Path) -> None:
    """As those of a member of a shard, which propose-corpus names by both."""
    labels = replace(labels_of(tmp_path), file_name="0.tar/a.png", path=tmp_path / "0.tar" / "a.png")
    assert write(form, tmp_path / "out", labels).images == 1


def test_labels_of_an_embedded_image_are_written(tmp_path: Path) -> None:
    writer = write("labelme", tmp_path / "out", replace(labels_of(tmp_path), path=tmp_path / "A.JSON"))
    assert read(tmp_path / "out" / "deep" / "a b.json")["imagePath"] == "deep/a b.png"
    assert any("embeds" in note for note in writer.notes())


def test_all_that_is_written_of_an_image_that_is_turned_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "a.jpg"
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)
    mask = rectangle(2, 10, 20, 50, SIZE)
    instances = to_instances([1], [encode(mask)], [7], [True])
    labels = Labels(1, "a.jpg", path, *SIZE, instances, void=encode(mask), rejected=[encode(mask)])
    turned = upright(labels)
    assert (turned.height, turned.width) == (WIDTH, HEIGHT)
    expected = np.rot90(mask, -1)  # 6: a quarter to the right
    for rle in (*turned.instances.rles, turned.void, *turned.rejected):
        assert rle is not None
        np.testing.assert_array_equal(decode(rle), expected)
    assert turned.instances.boxes_xyxy.tolist() == [[HEIGHT - 20, 10, HEIGHT - 2, 50]]
    assert turned.instances.crowd.tolist() == [True]
    assert upright(turned) is turned


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_label_map_has_each_pixels_best_object(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows of a mask are decoded at a time."""
    monkeypatch.setattr(label_maps, "ROWS", rows)
    rng = np.random.default_rng(rows)
    random_masks = rng.random((5, HEIGHT, WIDTH)) < 0.3
    instances = to_instances([1, 2, 3, 4, 5], [encode(mask) for mask in random_masks], [0] * 5)
    scores = rng.permutation(5) / 5
    write("labels", tmp_path, Labels(1, "a.png", None, HEIGHT, WIDTH, instances), scores=scores.tolist())
    ranked = [(scores[index], index + 1) for index in range(5)]
    expected = [
        [max([(0, 0), *(ranked[index] for index in np.flatnonzero(random_masks[:, y, x]))])[1] for x in range(WIDTH)]
        for y in range(HEIGHT)
    ]
    expected = np.where(random_masks.any(0), expected, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "masks" / "a.png")), expected)


def test_a_label_map_takes_two_bytes_a_pixel() -> None:
    """Of 12 megapixels, 24 MB; whole masks and four bytes a pixel took 194 MB."""
    setup = """
import tempfile
from pathlib import Path
import numpy as np
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import Labels
from instancefcn.export.open import open_writer
from instancefcn.geometry.rle import encode_edges

def write(height, width):
    instances = to_instances([1], [encode_edges(np.array([0, height * width]), height, width)], [1])
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer("labels", Path(folder), {1: "object"}, 1.0)
        writer.add(Labels(1, "a.png", None, height, width, instances))

write(60, 80)
"""
    assert megabytes_for("write(3000, 4000)", setup=setup) < 70


def test_what_is_not_to_be_judged_is_a_crowd_in_coco(tmp_path: Path) -> None:
    """pycocotools looks at nothing else; a void region is none of the objects, and no background."""
    labels = labels_of(tmp_path)
    ignore, void = np.array([True, False, False, False]), encode(rectangle(0, 0, 2, 9, SIZE))
    labels = replace(labels, instances=replace(labels.instances, ignore=ignore), void=void)
    writer = write("coco", tmp_path / "coco.json", labels, scores=None)
    written = [(one["iscrowd"], one["ignore"]) for one in read(tmp_path / "coco.json")["annotations"]]
    assert written == [(1, 1), (0, 0), (0, 0), (1, 0), (1, 1)]
    assert writer.objects == 4
    (again,) = open_source(f"coco:{tmp_path}/coco.json,{tmp_path}/images", crowds_of_one_part=True)
    np.testing.assert_array_equal(decode(again.instances.rles[4]), decode(void))
    assert again.instances.judged.tolist() == [False, True, True, True, False]


def test_an_image_without_objects_is_no_persons_work_in_label_studio(tmp_path: Path) -> None:
    labels = labels_of(tmp_path)
    empty = replace(labels, instances=to_instances([], [], []))
    for scores, kind in (([], "predictions"), (None, "annotations")):
        write("labelstudio", tmp_path / "tasks.json", empty, scores=scores)
        (task,) = read(tmp_path / "tasks.json")
        assert task[kind][0]["result"] == []
        assert len({"predictions", "annotations"} & set(task)) == 1


@pytest.mark.parametrize("form", ["yolo", "xanylabeling", "labels", "geojson"])
def test_files_that_no_tool_finds_are_told_of(form: str, tmp_path: Path) -> None:
    names = ["cat.png", "cat.jpg", "dog.png"]
    images = [labels_of(tmp_path, name) for name in names]
    notes = " ".join(write(form, tmp_path / form, *images, scores=None, names=names).notes())
    assert "2 images share their stem with another" in notes
    by_stem = form in ("yolo", "labels")
    assert ("and --data go by the stem" in notes) == by_stem
    spec = f"{form}:{tmp_path / form}" + {"yolo": ",train", "xanylabeling": f",{tmp_path / 'images'}"}.get(form, "")
    if form == "geojson":  # images/ lies beside its files
        shutil.copytree(tmp_path / "images", tmp_path / form / "images")
    if not by_stem:
        assert len(open_source(spec)) == 3
    notes = " ".join(write("labelme", tmp_path / "labelme", *images, scores=None, names=names).notes())
    assert "2 images share their stem with another" in notes
    assert "labelme goes by the stem" in notes  # --data by what the file says


@pytest.mark.parametrize("form", ["labelme", "yolo", "labels", "geojson"])
def test_names_that_differ_in_capitals_alone_are_two(form: str, tmp_path: Path) -> None:
    """Where the disk tells them apart, as it does for the images."""
    names = ["CAT.png", "cat.png", "dog.png"]
    images = [labels_of(tmp_path, name) for name in names]
    if len(list((tmp_path / "images").iterdir())) < len(names):
        pytest.skip("this disk does not tell capitals from small letters")
    writer = write(form, tmp_path / form, *images, scores=None, names=names)
    assert len({path.stem for path in writer.written if path.is_file()}) == len(names)
    with pytest.raises(ValueError, match=r"dog\.png: two images have this name"):
        write(form, tmp_path / form, *[images[2]] * 3, scores=None, names=names)


@pytest.mark.parametrize(("form", "file"), [("labelme", "a.json"), ("yolo", "data.yaml")])
def test_images_are_found_from_behind_a_linked_folder(form: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "disk" / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "a" / "b")
    out = tmp_path / "link" / form
    write(form, out, labels_of(tmp_path, "a.png"), scores=None)
    text = (out / file).read_text()
    way = json.loads(text)["imagePath"] if form == "labelme" else json.loads(text.split("train: ")[1].split("\n")[0])
    assert os.path.exists(os.path.join(out, way))  # as the system resolves "..", behind the link


def test_an_island_in_a_hole_is_filled_with_it(tmp_path: Path) -> None:
    square = rectangle(4, 4, 44, 44, SIZE)
    island = square & ~rectangle(10, 10, 38, 38, SIZE) | rectangle(18, 18, 30, 30, SIZE)
    labels = replace(labels_of(tmp_path, "a.png"), instances=to_instances([1], [encode(island)], [0]))
    write("yolo", tmp_path / "labels", labels, scores=None)
    (line,) = (tmp_path / "labels/labels/a.txt").read_text().splitlines()
    ring = np.array(line.split()[1:], dtype=float).reshape(-1, 2) * (WIDTH, HEIGHT)
    assert iou(decode(polygons_to_rle([ring.ravel().tolist()], HEIGHT, WIDTH)), square) > 0.97


def test_any_parts_are_joined_by_the_shortest_ways() -> None:
    """Every part is gone round once, and left as it was reached."""
    rng = np.random.default_rng(0)
    parts = [rng.random((rng.integers(3, 9), 2)) + 3 * rng.random(2) for _ in range(9)]
    ring = join(parts)
    points, times = np.unique(ring, axis=0, return_counts=True)
    assert len(points) == sum(map(len, parts))
    assert times.sum() == len(points) + 2 * (len(parts) - 1)
    lengths = [np.hypot(*(part - np.roll(part, 1, axis=0)).T).sum() for part in parts]
    around = np.hypot(*(ring - np.roll(ring, 1, axis=0)).T).sum()
    every = np.concatenate(parts)
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    apart = np.hypot(*(every[:, None] - every).T)
    tree, ways = {0}, 0.0  # the shortest ways that join all parts, by Prim's rule
    while len(tree) < len(parts):
        inside = np.isin(owner, list(tree))
        rows, columns = np.flatnonzero(inside), np.flatnonzero(~inside)
        between = apart[np.ix_(rows, columns)]
        ways += between.min()
        tree.add(int(owner[columns[between.min(0).argmin()]]))
    assert around == pytest.approx(sum(lengths) + 2 * ways)
