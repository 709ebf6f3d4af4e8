"""CVAT's exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode
from labelled import HEIGHT, WIDTH, box_mask, square, write_image

# As CVAT 2 writes it: a square of 8 x 8 from (2, 3), column by column, background first
COUNTS = [2 * HEIGHT + 3, *([8, HEIGHT - 8] * 7), 8, HEIGHT - 11 + (WIDTH - 10) * HEIGHT]
MASK = {"counts": COUNTS, "size": [HEIGHT, WIDTH]}


def annotation(number: int, segmentation: Any, iscrowd: int, image_id: int = 1, **attributes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 2,
        "segmentation": segmentation,
        "area": 64.0,
        "bbox": [2.0, 3.0, 8.0, 8.0],
        "iscrowd": iscrowd,
        "attributes": {"occluded": False} | attributes,
    }


def write_export(
    folder: Path, annotations: list[Any], subset: str = "default", images: tuple[str, ...] = ("a.png",)
) -> Path:
    entries = [
        {"id": number, "width": WIDTH, "height": HEIGHT, "file_name": name, "license": 0, "flickr_url": ""}
        for number, name in enumerate(images, start=1)
    ]
    categories = [{"id": 1, "name": "dish", "supercategory": ""}, {"id": 2, "name": "cell", "supercategory": ""}]
    table = {"licenses": [], "info": {}, "categories": categories, "images": entries, "annotations": annotations}
    path = folder / "annotations" / f"instances_{subset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))
    return path


def test_masks_and_polygons_are_instances(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    polygons = [square(12, 3, 4), square(18, 3, 4)]
    path = write_export(tmp_path, [annotation(3, MASK, 1), annotation(5, polygons, 0)])
    source = open_source(f"cvat:{path},{tmp_path / 'images'}")
    assert source.problems == []
    assert source.categories == {1: "dish", 2: "cell"}
    instances = source[0].instances
    assert instances.ids.tolist() == [3, 5]
    assert instances.category_ids.tolist() == [2, 2]
    assert instances.crowd.tolist() == [False, False]
    np.testing.assert_array_equal(decode(instances.rles[0]), box_mask(2, 3, 10, 11))
    np.testing.assert_array_equal(decode(instances.rles[1]), box_mask(12, 3, 16, 7) | box_mask(18, 3, 22, 7))


def crowds(tmp_path: Path, *annotations: dict[str, Any]) -> list[bool]:
    write_image(tmp_path / "images" / "a.png")
    source = open_source(f"cvat:{write_export(tmp_path, list(annotations))},{tmp_path / 'images'}")
    return source.labels(0).instances.crowd.tolist()


def test_when_a_mask_is_a_crowd(tmp_path: Path) -> None:
    """An attribute says so; or another tool wrote the file, as CVAT writes iscrowd 1 for every mask."""
    plain, marked = annotation(1, MASK, 1), annotation(2, MASK, 1, Crowd="true")
    assert crowds(tmp_path, plain, marked) == [False, True]
    assert crowds(tmp_path, plain, annotation(2, MASK, 1, is_crowd=True, crowd=False)) == [False, True]
    assert crowds(tmp_path, plain, annotation(2, MASK, 1, crowd="false")) == [False, False]
    assert crowds(tmp_path, plain, annotation(2, MASK, 0)) == [True, False]
    assert crowds(tmp_path, plain, annotation(2, [square(2, 3)], 1)) == [False, True]


def test_a_box_is_a_problem(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    path = write_export(tmp_path, [annotation(1, [], 0), annotation(2, MASK, 1)])
    source = open_source(f"cvat:{path},{tmp_path / 'images'}")
    assert source.labels(0).instances.ids.tolist() == [2]
    (problem,) = source.problems
    assert problem.annotation_id == 1
    assert "no polygon (a box is no mask)" in problem.reason


@pytest.mark.parametrize("place", ["images/a.png", "images/default/a.png", "a.png"])
def test_folder_of_an_export(tmp_path: Path, place: str) -> None:
    write_image(tmp_path / place)
    write_export(tmp_path, [annotation(1, MASK, 1)])
    source = open_source(f"cvat:{tmp_path}")
    assert source.problems == []
    assert source.labels(0).path == tmp_path / place


def test_names_that_lead_out_or_are_none_are_problems(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "default" / "a.png")
    path = write_export(tmp_path, [], images=("a.png", "../../x.png", "", "sub\\gone.png"))
    table = json.loads(path.read_text())
    table["images"][2]["file_name"] = None
    path.write_text(json.dumps(table))
    source = open_source(f"cvat:{tmp_path}")
    assert [s.file_name for s in source] == ["default/a.png"]
    assert [("leads out" in p.reason, "no file_name" in p.reason, "gone.png" in p.file) for p in source.problems] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_several_files_of_annotations(tmp_path: Path) -> None:
    for subset in ("train", "val"):
        write_export(tmp_path, [], subset)
    with pytest.raises(ValueError, match=r"several files of annotations: give one of cvat:.*instances_train.json,"):
        open_source(f"cvat:{tmp_path}")


def test_what_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no annotations/instances_\*.json or annotations.xml"):
        open_source(f"cvat:{tmp_path}")
    with pytest.raises(ValueError, match="unpack the ZIP file, and give its folder"):
        open_source(f"cvat:{tmp_path / 'task.zip'}")
    with pytest.raises(ValueError, match="needs two parts"):
        open_source(f"cvat:{tmp_path / 'absent'}")
    for content in ("[]", '{"annotations": 3}', '{"images": [1], "annotations": []}'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(ValueError, match=r"a.json: has no list"):
            open_source(f"cvat:{tmp_path / 'a.json'},{tmp_path}")
    with pytest.raises(ValueError, match=r"absent: no such folder; it should hold the images"):
        open_source(f"cvat:{tmp_path / 'a.json'},{tmp_path / 'absent'}")


def xml(*shapes: str, image: str = f'id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}"') -> str:
    """A file of one image, as CVAT 2 writes it."""
    labels = "".join(f"<label><name>{name}</name><color>#fff</color></label>" for name in ("dish", "cell"))
    meta = f"<meta><task><id>1</id><labels>{labels}</labels></task></meta>"
    body = f"<version>1.1</version>{meta}<image {image}>{''.join(shapes)}</image>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{body}</annotations>'


SQUARE = '<polygon label="cell" source="manual" occluded="0" points="2.00,3.00;10.00,3.00;10.00,11.00;2.00,11.00"/>'


def write_xml(folder: Path, content: str) -> str:
    write_image(folder / "images" / "a.png")
    (folder / "annotations.xml").write_text(content, encoding="utf-8")
    return f"cvat:{folder}"


def test_xml(tmp_path: Path) -> None:
    shapes = [
        SQUARE,
        # Row by row within 4 x 3: three of background, then pixels 3 to 6, then the rest
        '<mask label="dish" rle="3, 4, 5" left="20" top="10" width="4" height="3" occluded="0" z_order="0"></mask>',
        '<polygon label="cell" group_id="7" points="12,3;14,3;14,5;12,5"/>',
        '<polygon label="cell" group_id="7" points="16,3;18,3;18,5;16,5"/>',
        '<ellipse label="cell" cx="16" cy="20" rx="2" ry="2" rotation="10"/>',
        '<mask label="cell" rle="0,1" left="0" top="0" width="1" height="1">'
        '<attribute name="crowd">true</attribute></mask>',
        '<tag label="dish" source="manual"></tag>',
    ]
    source = open_source(write_xml(tmp_path, xml(*shapes)))
    assert source.problems == []
    assert source.categories == {1: "dish", 2: "cell"}
    instances = source[0].instances
    assert instances.ids.tolist() == [0, 1, 2, 4, 5]
    assert instances.category_ids.tolist() == [2, 1, 2, 2, 2]
    assert instances.crowd.tolist() == [False, False, False, False, True]
    expected = [
        box_mask(2, 3, 10, 11),
        box_mask(23, 10, 24, 11) | box_mask(20, 11, 23, 12),
        box_mask(12, 3, 14, 5) | box_mask(16, 3, 18, 5),
        box_mask(15, 18, 17, 22) | box_mask(14, 19, 18, 21),
        box_mask(0, 0, 1, 1),
    ]
    for rle, mask in zip(instances.rles, expected, strict=True):
        np.testing.assert_array_equal(decode(rle), mask)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('<box label="cell" xtl="1" ytl="1" xbr="5" ybr="5"/>', "box is no outline: draw a polygon or a mask"),
        ('<points label="cell" points="1,1"/>', "points is no outline"),
        ('<polygon label="cell" points="1,1;5,5"/>', "polygon of 2 points"),
        ('<polygon label="cell"/>', "polygon of 0 points"),
        ('<polygon label="cell" points="1,1;5,1;5"/>', "polygon of 2 points"),
        ('<polygon label="cell" points="1,1;5,1;5,6;3"/>', "x and y do not pair"),
        ('<polygon label="cell" points="1,1;5,1;5,nan"/>', "points 'nan' is no number"),
        ('<polygon label="cell" points="1,1;5,1;5,b"/>', "points 'b' is no number"),
        ('<polygon label="cell" points="1,1;5,1;5,99"/>', "outside the image"),
        ('<polygon label="cell" points="1,1;5,5;1,1"/>', "zero area"),
        ('<mask label="cell" rle="3,4" left="0" top="0" width="4" height="3"/>', "does not fill 4 x 3 pixels"),
        ('<mask label="cell" rle="13,-1" left="0" top="0" width="4" height="3"/>', "does not fill"),
        ('<mask label="cell" rle="nan" left="0" top="0" width="4" height="3"/>', "rle 'nan' is no number"),
        ('<mask label="cell" rle="1.5,10.5" left="0" top="0" width="4" height="3"/>', "does not fill"),
        ('<mask label="cell" left="0" top="0" width="4" height="3"/>', "rle '' is no number"),
        ('<mask label="cell" rle="0,12" left="30" top="0" width="4" height="3"/>', "outside the image of 32 x 24"),
        ('<mask label="cell" rle="0,12" left="-1" top="0" width="4" height="3"/>', "outside the image"),
        ('<mask label="cell" rle="0,12" top="0" width="4" height="3"/>', "left '' is no number"),
        ('<mask label="cell" rle="0,12" left="1e99" top="0" width="4" height="3"/>', "left '1e99' is no whole number"),
        ('<mask label="cell" rle="12" left="0" top="0" width="4" height="3"/>', "zero area"),
        ('<ellipse label="cell" cx="9" cy="9" rx="1e200" ry="2"/>', "ellipse is longer than 1000000 pixels"),
        (
            '<ellipse label="cell" cx="33" cy="12" rx="6" ry="4"/>',
            "ellipse spans x 27..39, y 8..16: outside the image of 32 x 24",
        ),
    ],
)
def test_rejected_shape_of_xml(tmp_path: Path, bad: str, reason: str) -> None:
    source = open_source(write_xml(tmp_path, xml(SQUARE, bad, SQUARE)))
    assert source.labels(0).instances.ids.tolist() == [0, 2]
    (problem,) = source.problems
    assert (problem.file, problem.annotation_id) == (str(tmp_path / "annotations.xml"), 1)
    assert problem.reason.startswith("image 0 (a.png): ")
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ('id="1" name="gone.png"', "gone.png: no such file"),
        ('id="1" name="../annotations.xml"', "leads out of"),
        ('id="1"', "it must name a file inside"),
        ('id="1" name="a.png"', "its image a.png is that of image 0 (a.png) too: put its labels into one image"),
        ('id="1" name="b.png" width="9" height="24"', "its annotations are for 9 x 24"),
        ('id="1" name="b.png" width="b" height="24"', "width 'b' is no number"),
    ],
)
def test_rejected_image_of_xml(tmp_path: Path, image: str, reason: str) -> None:
    write_image(tmp_path / "images" / "b.png")
    content = xml(SQUARE).replace("</image>", f"</image><image {image}>{SQUARE}</image>")
    source = open_source(write_xml(tmp_path, content))
    assert [s.file_name for s in source] == ["a.png"]
    (problem,) = source.problems
    assert problem.reason.startswith("image 1 (")
    assert reason in problem.reason


def test_two_images_of_one_name_and_number_in_xml(tmp_path: Path) -> None:
    content = xml(SQUARE).replace("</image>", f'</image><image id="0" name="a.png">{SQUARE}</image>')
    source = open_source(write_xml(tmp_path, content))
    assert [len(s.instances.rles) for s in source] == [1]
    (problem,) = source.problems
    assert "its image a.png is that of image 0 (a.png) too" in problem.reason


def test_subset_of_xml(tmp_path: Path) -> None:
    spec = write_xml(tmp_path, xml(SQUARE, image='id="0" name="b.png" subset="Train"'))
    write_image(tmp_path / "images" / "Train" / "b.png")
    assert [s.file_name for s in open_source(spec)] == ["Train/b.png"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<annotations>", "not an XML file that can be read"),
        ("{}", "not an XML file"),
        ("<svg/>", "no file of CVAT's for images"),
        ("<annotations><track/></annotations>", 'export as "CVAT for images 1.1"'),
        ('<!DOCTYPE a [<!ENTITY b "cccccccc">]><annotations>&b;</annotations>', "declares a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "declares a document type"),
        ('<?xml version="1.0" encoding="none"?><annotations/>', "not an XML file"),
    ],
)
def test_file_that_is_not_cvats_xml(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"annotations.xml: .*{reason}"):
        open_source(write_xml(tmp_path, content))


def test_xml_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.xml: cannot be read: No such file"):
        open_source(f"cvat:{tmp_path / 'a.xml'},{tmp_path}")


def test_an_ellipse_at_the_border_is_cut_off_and_noted(tmp_path: Path) -> None:
    source = open_source(write_xml(tmp_path, xml(SQUARE, '<ellipse label="cell" cx="30" cy="12" rx="6" ry="4"/>')))
    assert source.problems == []
    assert source.labels(0).instances.ids.tolist() == [0, 1]
    (note,) = source.notes
    assert "ellipse spans x 24..36, y 8..16: cut off at the border of the image of 32 x 24" in note.reason


@pytest.mark.parametrize("spec", ["cvat:{}", "cvat:{},{}/photos", "labelstudio:{},photos", "labels:{}", "yolo:{},x"])
def test_a_zip_file_is_to_be_unpacked(tmp_path: Path, spec: str) -> None:
    export = tmp_path / "export.ZIP"
    export.touch()
    with pytest.raises(ValueError, match=r"export\.ZIP: unpack the ZIP file, and give its folder"):
        open_source(spec.format(export, tmp_path))
