"""A large COCO file, read as text: the labels, problems and notes of a small one, read as Python's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.test_coco_cache import facts
from instancefcn.data import coco, coco_cache
from instancefcn.data.coco_table import parse_table
from instancefcn.data.open import open_source
from labelled import HEIGHT, WIDTH, coco_annotation, square, write_coco, write_image

FATES: list[dict[str, Any]] = [
    {},
    *({"id": one} for one in (None, "7", 8.0, "x", 2**70, True, 3)),  # 3 is there already
    *({"image_id": one} for one in (None, "1", 1.0, 99, [1], 2, 3, 4)),
    *({"category_id": one} for one in (None, 9, "cat", "1", 1.0)),
    *({"iscrowd": one} for one in (None, 1, "1", True, 2, "true")),
    {"ignore": 1},
    {"ignore": 5, "bbox": None},  # its polygons say where it lies
    *({"bbox": one} for one in (None, [], [1, 2, 3], [1, 2, "3", 4], [500, 500, 3, 3], [1, 2, 0, 0], [True, 2, 3, 4])),
    *(
        {"segmentation": one}
        for one in (None, [], [[]], [square(2, 3), [1, 2]], square(2, 3), "x", 5, {}, [[1, 2, "3"]])
    ),
    {"segmentation": [[str(number) for number in square(2, 3)]]},
    {"segmentation": [[square(2, 3)[:2], square(2, 3)[2:4], square(2, 3)[4:6]]]},
    {"segmentation": [square(28, 3)]},  # is cut off
    {"segmentation": [square(500, 3)]},
    {"segmentation": [[1, 1, 5, 1, 9, 1]]},  # a line
    {"segmentation": [square(1, 1), square(5, 5), square(20, 10)]},
    {"segmentation": [[1e0, 2, 9.123456789012345678, 2, 9, 9]]},
    {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 10, HEIGHT * WIDTH - 15]}},
    {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "50"}},
]


def both(folder: Path, annotations: list[Any], images: list[Any], monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    for name in ("a", "b", "c"):
        write_image(folder / "images" / f"{name}.png")
    spec = write_coco(folder, annotations, images=images, **more)
    small = facts(open_source(spec))
    texts: list[bool] = []
    parse = coco.parse_table

    def noting(content: bytes) -> Any:
        table = parse(content)
        texts.append(table is not None)
        return table

    with monkeypatch.context() as patch:
        patch.setenv("INSTANCEFCN_CACHE", "")
        patch.setattr(coco_cache, "LARGE", 0)
        patch.setattr(coco, "parse_table", noting)
        large = facts(open_source(spec))
    return small, large, texts


def test_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = [coco_annotation(fate.get("id", number + 1)) | fate for number, fate in enumerate(FATES)]
    images = [
        {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": "2", "file_name": "b.png", "width": float(WIDTH), "height": str(HEIGHT)},
        {"id": 3, "file_name": "gone.png"},
        {"id": 4, "file_name": "c.png", "width": 5, "height": 6},
    ]
    small, large, texts = both(tmp_path, annotations, images, monkeypatch)
    assert texts == [True]
    assert large == small
    assert len(small[0][3]) > 15  # problems
    assert len(small[0][4]) > 10  # notes


def test_sizes_that_are_not_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [{"id": 1, "file_name": "a.png"}]
    small, large, _ = both(tmp_path, [coco_annotation(1), coco_annotation(2)], images, monkeypatch)
    assert large == small


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"images": [], "annotations": {}}', b'{"images": [1], "annotations": []}', b"[" * 100_000],
)
def test_another_form_is_left_to_others(content: bytes) -> None:
    assert parse_table(content) is None


def test_what_json_lacks_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation = coco_annotation(1, segmentation=[[float("nan"), 2, 3, 4, 5, 6]])
    images = [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}]
    small, large, texts = both(tmp_path, [annotation, coco_annotation(2)], images, monkeypatch)
    assert texts == [False]
    assert large == small


def test_categories_are_as_they_stand(tmp_path: Path) -> None:
    content = json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "a", "more": [1.5]}]})
    table = parse_table(content.encode())
    assert table is not None
    assert table["categories"] == [{"id": 1, "name": "a", "more": [1.5]}]
