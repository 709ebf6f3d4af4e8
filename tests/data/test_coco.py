from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from instancefcn.data.coco import source_to_coco
from instancefcn.data.open import open_source, places_of
from instancefcn.data.validation import count_labels
from instancefcn.geometry.rle import decode, encode, to_json
from labelled import HEIGHT, WIDTH, box_mask, coco_annotation, square, write_coco, write_image
from synthetic import SyntheticScenes


def image_entry(image_id: Any, file_name: Any, **fields: Any) -> dict[str, Any]:
    return {"id": image_id, "file_name": file_name, "height": HEIGHT, "width": WIDTH} | fields


def test_every_kind_of_segmentation(tmp_path: Path) -> None:
    mask = box_mask(10, 5, 20, 15)
    counts = np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=1)), prepend=0)
    annotations = [
        coco_annotation(7),
        coco_annotation(3, segmentation=to_json(encode(mask)), bbox=[10, 5, 10, 10], iscrowd=1, category_id=2),
        coco_annotation(5, segmentation={"size": [HEIGHT, WIDTH], "counts": counts.tolist()}, ignore=1, bbox=None),
    ]
    spec = write_coco(tmp_path, annotations, categories=[{"id": 1, "name": "thing"}, {"id": 2, "name": "crowd"}])
    source = open_source(spec)
    assert (source.name, source.partial, len(source), source.problems) == (spec, False, 1, [])
    assert source.categories == {1: "thing", 2: "crowd"}
    sample = source[0]
    assert (sample.image_id, sample.file_name, sample.partial, sample.void) == (1, "a.png", False, None)
    with Image.open(tmp_path / "images" / "a.png") as image:
        np.testing.assert_array_equal(sample.image, np.asarray(image))
    instances = sample.instances
    assert instances.ids.tolist() == [7, 3, 5]
    assert instances.category_ids.tolist() == [1, 2, 1]
    assert instances.crowd.tolist() == [False, True, False]
    assert instances.ignore.tolist() == [False, False, True]
    assert instances.boxes_xyxy.tolist() == [[2, 3, 10, 11], [10, 5, 20, 15], [10, 5, 20, 15]]
    for rle, expected in zip(instances.rles, [box_mask(2, 3, 10, 11), mask, mask], strict=True):
        np.testing.assert_array_equal(decode(rle), expected)


def test_masks_are_those_of_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    polygons = [rng.uniform([0, 0], [WIDTH, HEIGHT], (n, 2)).ravel().tolist() for n in (3, 4, 7, 12)]
    annotations = [coco_annotation(i, segmentation=[polygon], bbox=None) for i, polygon in enumerate(polygons, start=1)]
    source = open_source(write_coco(tmp_path, annotations))
    reference = COCO(str(tmp_path / "coco.json"))
    for i, rle in zip(source.labels(0).instances.ids, source.labels(0).instances.rles, strict=True):
        np.testing.assert_array_equal(decode(rle), reference.annToMask(reference.anns[i]))
    assert len(source.labels(0).instances) == 4
    assert "index created" in capsys.readouterr().out


def test_partial_images_without_size_and_categories(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "sub" / "a.png")
    images = [{"id": 4, "file_name": "sub/a.png"}]
    spec = "partial+" + write_coco(tmp_path, [coco_annotation(1, 4, category_id=9)], images, categories=[])
    source = open_source(spec)
    assert (source.name, source.partial, source[0].partial) == (spec, True, True)
    assert [note.reason for note in source.notes] == [
        "1 images have no width and height: `instancefcn evaluate` needs them, and `instancefcn convert` writes them"
    ]
    assert (source.labels(0).height, source.labels(0).width) == (HEIGHT, WIDTH)
    assert source.labels(0).path == tmp_path / "images" / "sub" / "a.png"
    assert len(source.labels(0).instances) == 1


def test_image_without_annotations_stays(tmp_path: Path) -> None:
    source = open_source(write_coco(tmp_path, []))
    assert len(source) == 1
    assert len(source[0].instances) == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"segmentation": [[1, 1, 5, 5]]}, "polygon of 2 points"),
        ({"segmentation": [square(100, 3)]}, "outside the image"),
        ({"segmentation": [square(2, float("nan"))]}, "polygon[1] is nan, not a finite number"),
        ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "zero area"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zz"}}, "bad RLE"),
        ({"segmentation": {"size": [1, 2], "counts": [1, 1]}}, "bad RLE"),
        ({"segmentation": [[2, 3, 10**400, 3, 10, 11]]}, "polygon[2] is 1000"),
        ({"segmentation": None}, "segmentation is missing"),
        ({"segmentation": "mask"}, "segmentation must be polygons, [[x, y, x, y, ...], ...], or an RLE"),
        ({"iscrowd": "no"}, "iscrowd 'no' is neither 0 nor 1"),
        ({"ignore": 2}, "ignore 2 is neither 0 nor 1"),
    ],
)
def test_rejected_annotation(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    """Of three, the one in the middle; the others are kept."""
    bad = coco_annotation(2, **fields)
    source = open_source(write_coco(tmp_path, [coco_annotation(1), bad, coco_annotation(3)]))
    assert source.labels(0).instances.ids.tolist() == [1, 3]
    (problem,) = source.problems
    assert problem.file == str(tmp_path / "images" / "a.png")
    assert problem.annotation_id == 2
    assert reason in problem.reason


def test_rejected_for_its_ids(tmp_path: Path) -> None:
    annotations = [coco_annotation(1, 99), coco_annotation(2, "one")]
    source = open_source(write_coco(tmp_path, annotations))
    assert len(source.labels(0).instances) == 0
    found = [(Path(p.file).name, p.annotation_id, p.reason) for p in source.problems]
    assert found == [
        ("coco.json", 1, "unknown image_id 99: no image has it"),
        ("coco.json", 2, "image_id 'one' is no whole number"),
    ]


@pytest.mark.parametrize("largest", [6, 2**63 - 1])
def test_an_id_costs_no_mask(tmp_path: Path, largest: int) -> None:
    source = open_source(write_coco(tmp_path, [coco_annotation(i) for i in (3.5, True, "f81d4fae", largest)]))
    first, second, third, fourth = source.labels(0).instances.ids.tolist()
    assert source.problems == []
    assert [note.reason for note in source.notes] == [
        f"annotations[0]: id 3.5 is no whole number: taken for id {first}",
        f"annotations[1]: id True is no whole number: taken for id {second}",
        f"annotations[2]: id 'f81d4fae' is no whole number: taken for id {third}",
    ]
    assert len({first, second, third, largest}) == 4
    assert fourth == largest


def test_numbers_as_text_and_ids_that_are_missing(tmp_path: Path) -> None:
    annotations = [coco_annotation(None), coco_annotation("7", "1", iscrowd="0"), coco_annotation(3.0, iscrowd="1")]
    del annotations[0]["id"]
    images = [image_entry("1", "a.png", width=float(WIDTH), height=str(HEIGHT))]
    write_image(tmp_path / "images" / "a.png")
    source = open_source(write_coco(tmp_path, annotations, images, categories=[{"id": "1", "name": "thing"}]))
    assert source.problems == []
    assert source[0].instances.ids.tolist() == [8, 7, 3]
    assert source[0].instances.crowd.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "bbox", [[0, 0, 0, 0], [-5, 0, 99, 9], [10**400, 3, 8, 8], [2, 3, float("nan"), 8], [1, 2], "box", None]
)
def test_a_box_never_costs_a_mask(tmp_path: Path, bbox: Any) -> None:
    source = open_source(write_coco(tmp_path, [coco_annotation(1, bbox=bbox)]))
    assert source.problems == []
    assert len(source.notes) == (bbox is not None)
    assert source[0].instances.boxes_xyxy.tolist() == [[2, 3, 10, 11]]


def test_name_written_on_windows(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "sub" / "a.png")
    source = open_source(write_coco(tmp_path, [], [image_entry(1, "sub\\a.png")]))
    assert source.problems == []
    assert source.labels(0).file_name == "sub/a.png"


def test_categories_of_one_id_are_a_problem(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "ball"}, {"id": 1, "name": "box"}]
    source = open_source(write_coco(tmp_path, [coco_annotation(1)], categories=categories))
    (problem,) = source.problems
    assert problem.reason == "categories: id 1 is ball and box: each needs its own id"
    assert source.categories == {1: "ball"}


def test_categories_of_one_name_are_counted_apart(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "ball"}, {"id": 4, "name": "ball"}]
    annotations = [coco_annotation(1), coco_annotation(2, category_id=4)]
    source = open_source(write_coco(tmp_path, annotations, categories=categories))
    (problem,) = source.problems
    assert problem.reason == "categories: ids 1 and 4 are both ball: counted apart"
    assert source.categories == {1: "ball", 4: "ball (4)"}
    assert count_labels(source).instances_per_category == {"ball": 1, "ball (4)": 1}


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ("things", "coco.json: categories must be a list of {id, name}, not 'things'"),
        (["thing"], "coco.json: categories[0]: 'thing' has no id that is a whole number: it is left out"),
        ([{"id": "x", "name": "thing"}], "categories[0]: {'id': 'x', 'name': 'thing'} has no id that is a whole"),
    ],
)
def test_categories_that_cannot_be_read(tmp_path: Path, categories: Any, reason: str) -> None:
    source = open_source(write_coco(tmp_path, [coco_annotation(1)], categories=categories))
    (problem,) = source.problems
    assert reason in str(problem)
    assert source.categories == {1: "object"}
    assert len(source.labels(0).instances) == 1


def test_a_category_that_is_not_listed_costs_no_mask(tmp_path: Path) -> None:
    """A name instead of an id is clear where a category has it; where there is one category alone, so is none."""
    ids = [9, "thing", "other", "other", None, 1]
    annotations = [coco_annotation(number, category_id=value) for number, value in enumerate(ids, start=1)]
    source = open_source(write_coco(tmp_path, annotations))
    assert source.problems == []
    assert [(note.annotation_id, note.reason) for note in source.notes] == [
        (1, "unknown category_id 9: no category has it; the mask is kept"),
        (3, "unknown category_id 'other': no category has it; the mask is kept"),
        (4, "unknown category_id 'other': no category has it; the mask is kept"),
    ]
    assert source.labels(0).instances.category_ids.tolist() == [9, 1, 10, 10, 1, 1]
    assert source.categories == {1: "thing", 9: "9", 10: "'other'"}


def test_categories_of_a_file_that_lists_none_are_counted(tmp_path: Path) -> None:
    annotations = [coco_annotation(1, category_id=9), coco_annotation(2), coco_annotation(3, category_id=None)]
    source = open_source(write_coco(tmp_path, annotations, categories=[]))
    assert (source.problems, source.notes) == ([], [])
    assert count_labels(source).instances_per_category == {"9": 1, "object": 2}


def test_annotations_of_one_id(tmp_path: Path) -> None:
    """What is the same is counted once; what differs is kept."""
    annotations = [coco_annotation(3), coco_annotation(3), coco_annotation(3, segmentation=[square(12, 3)])]
    source = open_source(write_coco(tmp_path, annotations))
    assert source.problems == []
    assert [(note.annotation_id, note.reason) for note in source.notes] == [
        (3, "the same as another of this id: left out"),
        (3, "duplicate id 3: taken for id 5"),
    ]
    instances = source.labels(0).instances
    assert instances.ids.tolist() == [3, 5]
    assert instances.boxes_xyxy.tolist() == [[2, 3, 10, 11], [12, 3, 20, 11]]


def test_rejected_images(tmp_path: Path) -> None:
    for name in ("a.png", "size.png", "cut.png", "twice.png", "b.png"):
        write_image(tmp_path / "images" / name)
    write_image(tmp_path / "outside.png")
    cut = tmp_path / "images" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    images = [
        image_entry(1, "a.png"),
        image_entry(2, "absent.png"),
        image_entry(3, "size.png", width=WIDTH + 1),
        image_entry(4, "cut.png"),
        image_entry(5, "../outside.png"),
        image_entry("six", "a.png"),
        image_entry(7, None),
        image_entry(8, "a.png", height=-1),
        image_entry(9, "b.png"),
        image_entry(9, "c.png"),
        image_entry(10, "twice.png"),
        image_entry(11, "./twice.png"),
        image_entry(12, "b.png", width=10**5, height=10**5),
    ]
    annotations = [coco_annotation(i, i) for i in (1, 2, 9)] + [coco_annotation(10, 2)]
    source = open_source(write_coco(tmp_path, annotations, images))
    assert [source.labels(i).file_name for i in range(len(source))] == ["a.png"]
    found = [(Path(p.file).name, p.reason.replace(str(tmp_path), "")) for p in source.problems]
    duplicate = "duplicate id 9: no image of this id can be used (its annotations, 1, are skipped too)"
    shared = "twice.png is images 10 and 11: give all its labels one id"
    assert found == [
        ("coco.json", "images[4] (id 5): file name '../outside.png' leads out of /images: it must name a file inside"),
        ("coco.json", "images[5]: id 'six' is no whole number"),
        ("coco.json", "images[6] (id 7): has no file_name"),
        ("coco.json", "images[7] (id 8): 32 x -1 is no size of an image (up to 100 megapixels)"),
        ("coco.json", "images[12] (id 12): 100000 x 100000 is no size of an image (up to 100 megapixels)"),
        ("coco.json", f"images[8] (id 9): {duplicate}"),
        ("coco.json", f"images[9] (id 9): {duplicate}"),
        ("coco.json", f"images[10] (id 10): {shared}"),
        ("coco.json", f"images[11] (id 11): {shared}"),
        ("absent.png", "no such file (its annotations, 2, are skipped too)"),
        ("size.png", "is 32 x 24 pixels, but its annotations are for 33 x 24"),
        ("cut.png", found[-1][1]),
    ]


@pytest.mark.parametrize(("folder", "name"), [("train2017", "a.png"), (".", "train2017/a.png")])
def test_lvis_names_images_by_their_address(folder: str, name: str, tmp_path: Path) -> None:
    """IMAGES_DIR is the folder of a split, or that of all of COCO's splits."""
    write_image(tmp_path / "images" / "train2017" / "a.png")
    entry = image_entry(1, None) | {"coco_url": "http://images.cocodataset.org/train2017/a.png"}
    del entry["file_name"]
    spec = write_coco(tmp_path, [coco_annotation(1, 1)], [entry])
    labels, images = spec.split(",")
    source = open_source(f"{labels},{Path(images) / folder}")
    assert [source.labels(index).file_name for index in range(len(source))] == [name]
    assert len(source.labels(0).instances) == 1
    assert source.image(0).shape == (HEIGHT, WIDTH, 3)


def test_linked_images_are_followed(tmp_path: Path) -> None:
    """Names may not lead out of the folder, but data sets made of links are usual."""
    write_image(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert len(open_source(write_coco(tmp_path, [], [image_entry(1, "a.png")]))) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a JSON file"),
        ("[]", 'no list "images"'),
        ('{"images": []}', 'no list "annotations"'),
        ('{"images": [1], "annotations": []}', 'no list "images" of objects'),
        ("[" * 100_000, "not a JSON file"),
        ("\x80", "not a JSON file"),
    ],
)
def test_file_that_is_not_coco(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "coco.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=f"coco.json: .*{reason}"):
        open_source(f"coco:{tmp_path / 'coco.json'},{tmp_path}")


@pytest.mark.parametrize(("labels", "images"), [("a", "b, c,d"), ("a,x", "b"), ("a,x", "b,c")])
def test_names_may_have_commas(labels: str, images: str, tmp_path: Path) -> None:
    write_coco(tmp_path, [coco_annotation(1)])
    (tmp_path / "images").rename(tmp_path / images)
    (tmp_path / "coco.json").rename(tmp_path / labels)
    spec = f"coco:{tmp_path / labels},{tmp_path / images}"
    source = open_source(spec)
    assert source.problems == []
    assert source.labels(0).path == tmp_path / images / "a.png"
    assert {tmp_path / labels, tmp_path / images} <= set(places_of(f"partial+{spec}"))


def test_of_several_commas_the_last_one_counts_where_paths_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a,b/JPEGImages: no such folder"):
        open_source(f"voc:{tmp_path}/a,b,val")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("coco:a.json", "needs two parts .* coco:ANNOTATIONS.json,IMAGES_DIR"),
        ("coco:a.json,", "needs two parts"),
        ("partial+voc:,val", "needs two parts .* voc:VOC_DIR,SPLIT"),
        ("coco", "unknown data 'coco'"),
        ("labels:", "unknown data"),
        ("kitti:a,b", "unknown data 'kitti:a,b': give one of coco:ANN.*, labelme:DIR"),
        ("yolo:a", "needs two parts .* yolo:DIR,SPLIT"),
        ("yolo:absent,val", "absent: no such folder; it should hold images/ and labels/, or give a data.yaml"),
        ("yolo:absent.yaml,val", "absent.yaml: not a YAML file that can be read: .*No such file"),
        ("geojson:absent", "absent: no such folder; it should hold images/, and a GeoJSON file"),
        ("xanylabeling:absent", "absent: no such folder"),
        ("coco:absent.json,absent", "absent.json: cannot be read: No such file"),
        ("labels:absent", "absent/images: no such folder; it should hold images"),
        ("voc:absent,val", "absent/JPEGImages: no such folder"),
        ("sbd:absent,val", "absent/img: no such folder"),
        ("labelme:absent", "absent: no such folder"),
    ],
)
def test_unknown_data(spec: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        open_source(spec)


def test_images_folder_is_missing(tmp_path: Path) -> None:
    write_coco(tmp_path, [])
    with pytest.raises(ValueError, match="absent: no such folder; it should hold the images of"):
        open_source(f"coco:{tmp_path / 'coco.json'},{tmp_path / 'absent'}")


def test_comma_in_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    (folder / "coco.json").write_text(json.dumps({"images": [], "annotations": []}))
    assert len(open_source(f"coco:{folder / 'coco.json'},{tmp_path}")) == 0


def test_round_trip_through_coco(tmp_path: Path) -> None:
    scenes = SyntheticScenes(5, 40, 60, seed=3)
    table = source_to_coco(scenes)
    (tmp_path / "images").mkdir()
    for i in range(len(scenes)):
        Image.fromarray(scenes[i].image).save(tmp_path / "images" / scenes[i].file_name)
    (tmp_path / "coco.json").write_text(json.dumps(table))
    source = open_source(f"coco:{tmp_path / 'coco.json'},{tmp_path / 'images'}")
    assert source.problems == []
    assert source.categories == scenes.categories
    assert len(source) == len(scenes)
    for i in range(len(scenes)):
        ours, theirs = scenes[i], source[i]
        assert (ours.image_id, ours.file_name) == (theirs.image_id, theirs.file_name)
        np.testing.assert_array_equal(ours.image, theirs.image)
        assert ours.instances.rles == theirs.instances.rles
        np.testing.assert_array_equal(ours.instances.boxes_xyxy, theirs.instances.boxes_xyxy)
        np.testing.assert_array_equal(ours.instances.category_ids, theirs.instances.category_ids)
    assert source_to_coco(source) == table


def test_export(tmp_path: Path) -> None:
    annotations = [
        coco_annotation(0),
        coco_annotation(8, iscrowd=1, ignore=1, segmentation=[square(4, 4, 5)]),
        coco_annotation(9, iscrowd=1, segmentation=[square(4, 4, 6)]),
        coco_annotation(10, ignore=1, segmentation=[square(4, 4, 7)]),
    ]
    table = source_to_coco(open_source(write_coco(tmp_path, annotations)))
    assert table["images"] == [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}]
    assert table["categories"] == [{"id": 1, "name": "thing"}]
    first, second, *others = table["annotations"]
    assert first == {
        "id": 1,  # pycocotools takes a match with annotation 0 for none
        "image_id": 1,
        "category_id": 1,
        "segmentation": to_json(encode(box_mask(2, 3, 10, 11))),
        "bbox": [2.0, 3.0, 8.0, 8.0],
        "area": 64,
        "iscrowd": 0,
        "ignore": 0,
    }
    assert (second["id"], second["iscrowd"], second["ignore"], second["area"]) == (2, 1, 1, 25)
    assert [(other["iscrowd"], other["ignore"]) for other in others] == [(1, 0), (1, 1)]  # COCO knows crowds alone
    json.dumps(table)
