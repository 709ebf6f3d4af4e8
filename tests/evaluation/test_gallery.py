from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.test_evaluate import Balanced
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.gallery import FOUND_COLOUR, MISSED_COLOUR, SIDE, draw_missed, worst_images
from instancefcn.evaluation.results import parse_ground_truth
from labelled import annotation, coco, rectangle_rle, result

HOSTILE = (
    '"><img src=x onerror="alert(1)">.png',
    "'><script>alert(1)<|script>.png",
    "javascript:alert(1).png",
    "a&amp;b.png",
    "$x$ \N{CJK UNIFIED IDEOGRAPH-4E00}.png",
)


def scene(folder: Path, names: tuple[str, ...], side: int = 40) -> tuple[Path, Path]:
    """Images of noise, of which the first misses one object, the second two, and so on; results and annotations."""
    masks = [rectangle_rle(side, side, 3 * i, 0, 3 * i + 2, side) for i in range(1 + len(names))]
    labelled = [(image, mask) for image in range(len(names)) for mask in masks[: image + 2]]
    table = coco(
        dict.fromkeys(range(len(names)), (side, side)),
        [annotation(1 + i, image, mask) for i, (image, mask) in enumerate(labelled)],
    )
    for image, name in zip(table["images"], names, strict=True):
        image["file_name"] = name
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "PNG")
    results, annotations = folder / "p.json", folder / "a.json"
    results.write_text(json.dumps([result(image, masks[0], 0.5) for image in range(len(names))]))  # finds the first
    annotations.write_text(json.dumps(table))
    return results, annotations


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def test_the_report_shows_the_images_with_the_most_missed(tmp_path: Path) -> None:
    results, annotations = scene(tmp_path, tuple(f"{i}.png" for i in range(23)), side=80)
    evaluate(results, annotations, tmp_path / "out", photographs=tmp_path)
    page = (tmp_path / "out/report.html").read_text()
    captions = [words for words in Balanced(page).words if re.fullmatch(r"\d+ of \d+ missed", words)]
    assert captions == [f"{n} of {n + 1} missed" for n in range(23, 3, -1)]
    assert len(pictures(page)) == 20


def test_pictures_are_small_however_large_the_photographs_are(tmp_path: Path) -> None:
    results, annotations = scene(tmp_path, ("a.png",), side=1500)
    evaluate(results, annotations, tmp_path / "out", photographs=tmp_path)
    page = (tmp_path / "out/report.html").read_text()
    assert [picture.size for picture in pictures(page)] == [(SIDE, SIDE)]
    assert len(page) < 300_000  # of noise, which JPEG shrinks least


def test_without_photographs_names_are_listed(tmp_path: Path) -> None:
    results, annotations = scene(tmp_path, ("a.png", "b.png"))
    evaluate(results, annotations, tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "b.png" in page
    assert "<img" not in page
    assert "--images DIR" in page


def test_a_photograph_that_is_not_there_is_told(tmp_path: Path) -> None:
    results, annotations = scene(tmp_path, ("a.png", "b.png"))
    (tmp_path / "b.png").unlink()
    evaluate(results, annotations, tmp_path / "out", photographs=tmp_path)
    page = (tmp_path / "out/report.html").read_text()
    assert len(pictures(page)) == 1
    assert re.search(r'<p class="lead">[^<]*b\.png', page)


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_missed_instances_are_orange_and_found_ones_blue(iou: Any) -> None:
    masks = [rectangle_rle(60, 60, 5, 5, 25, 55), rectangle_rle(60, 60, 35, 5, 55, 55)]
    table = coco({1: (60, 60)}, [annotation(i, 1, mask) for i, mask in enumerate([masks[0], *masks], start=1)])
    table["annotations"][0]["iscrowd"] = 1  # and counts for nothing
    (labelled,) = parse_ground_truth(table, iou)
    drawn = draw_missed(np.full((60, 60, 3), 128, dtype=np.uint8), labelled, np.array([False, True]))

    def places(colour: np.ndarray) -> tuple[int, int]:
        rows = np.flatnonzero((np.abs(drawn.astype(int) - colour).max(-1) < 30).any(1))
        return int(rows.min()), int(rows.max())

    for colour, (first, last) in ((FOUND_COLOUR, (5, 24)), (MISSED_COLOUR, (35, 54))):
        top, bottom = places(colour)
        assert (abs(top - first) <= 1, abs(bottom - last) <= 1) == (True, True)
    inside = drawn[45, 30].astype(int) - 128
    assert (inside[0] > 20 and inside[2] < -20) == (iou == "segm")  # masks are filled
    assert (drawn[15, 30] == 128).all()  # found ones are not


def test_the_worst_images_miss_something() -> None:
    rows = [{"missed": number % 7} for number in range(60)]
    worst = worst_images(rows)
    assert [rows[index]["missed"] for index in worst] == [6] * 8 + [5] * 8 + [4] * 4
    assert worst[:8] == sorted(worst[:8])
    assert worst_images([{"missed": 0}]) == []


@pytest.mark.parametrize("with_pictures", [True, False])
def test_hostile_names_stay_text(with_pictures: bool, tmp_path: Path) -> None:
    _, annotations = scene(tmp_path, HOSTILE)
    table = json.loads(annotations.read_text())
    names = ["<script>alert(2)</script>", '" onmouseover="alert(2)', "javascript:alert(2)"]
    table["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    for index, entry in enumerate(table["annotations"]):
        entry["category_id"] = 1 + index % 3
    annotations = annotations.with_name('<img src=x onerror=alert(3)>".json')
    annotations.write_text(json.dumps(table))
    first = table["annotations"][0]["segmentation"]
    found = [result(image, first, 0.5, category_id=1 + image % 3) for image in range(len(HOSTILE))]
    other = tmp_path / "<iframe>.json"
    other.write_text(json.dumps(found))
    photographs = tmp_path if with_pictures else None
    evaluate(
        other, annotations, tmp_path / "out", others=[other], per_class=True, objects=True, photographs=photographs
    )
    page = Balanced((tmp_path / "out/report.html").read_text())
    assert not {"script", "iframe", "object", "link", "base", "form", "a"} & set(page.tags)
    assert page.tags.count("img") == (len(HOSTILE) if with_pictures else 0)
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    addresses = [
        value or "" for key, value in page.attributes if key in ("src", "href", "xlink:href", "data", "action")
    ]
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in addresses)
    text = " ".join(page.words)
    for name in (*HOSTILE, *names, annotations.name, other.stem):
        assert name in text, name
    if with_pictures:
        assert {value for key, value in page.attributes if key == "alt"} == set(HOSTILE)


def test_a_hostile_name_stays_text_where_its_photograph_is_not_there(tmp_path: Path) -> None:
    results, annotations = scene(tmp_path, ("a.png", HOSTILE[0]))
    (tmp_path / HOSTILE[0]).unlink()
    evaluate(results, annotations, tmp_path / "out", photographs=tmp_path)
    page = Balanced((tmp_path / "out/report.html").read_text())
    assert page.tags.count("img") == 1
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert f"{tmp_path / HOSTILE[0]}: no such file" in page.words
