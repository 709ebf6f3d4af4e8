from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colours import rgb, smallest_difference
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.evaluation.curves import (
    CURVE_THRESHOLDS,
    FILE_COLORS,
    LIMIT_COLORS,
    draw_curves,
    draw_recall_panels,
    render,
)
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.gallery import FOUND_COLOUR, MISSED_COLOUR
from instancefcn.evaluation.published import RECALL_TABLES, TABLE_1, TABLE_2, TABLE_3
from instancefcn.evaluation.regions import IouType
from labelled import annotation, coco, compare_files, random_scenes, rectangle_rle, result


class Balanced(HTMLParser):
    """Collects tags and text, and fails where an element is not closed by its own end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


GIVEN = {"10": 10, "100": 100, "1000": 1000}


def write(folder: Path, ground_truth: Any, results: Any, name: str = "proposals.json") -> tuple[Path, Path]:
    proposals, annotations = folder / name, folder / "annotations.json"
    proposals.write_text(json.dumps(results))
    annotations.write_text(json.dumps(ground_truth))
    return proposals, annotations


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_folder_holds_numbers_curves_and_report(tmp_path: Path, iou: IouType) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(0), 10, 30)
    proposals, annotations = write(tmp_path, ground_truth, results)
    out = tmp_path / "new" / "out"
    returned = evaluate(proposals, annotations, out, iou)
    assert sorted(path.name for path in out.iterdir()) == [
        "images.csv",
        "metrics.json",
        "recall_curves.png",
        "recall_curves.svg",
        "report.html",
    ]
    assert json.loads((out / "metrics.json").read_text()) == returned
    assert list(returned) == [iou]
    metrics, expected = returned[iou], average_recall(ground_truth, results, iou)
    assert metrics["coco"] == pytest.approx(expected["coco"])
    assert metrics["hosang"] == pytest.approx(expected["hosang"])
    assert metrics["recall@0.5"] == pytest.approx(expected["recall@0.5"])
    assert metrics["counts"]["proposals"] == len(results)
    crowds = sum(labelled["iscrowd"] for labelled in ground_truth["annotations"])
    assert metrics["counts"]["crowd_regions"] == crowds > 0
    assert metrics["counts"]["instances"] == len(ground_truth["annotations"]) - crowds
    assert metrics["counts"]["instances_large"] == sum(
        labelled["area"] >= 96**2 and not labelled["iscrowd"] for labelled in ground_truth["annotations"]
    )
    assert len(metrics["curves"]["N=100"]) == len(metrics["curves"]["iou"]) == len(CURVE_THRESHOLDS)
    assert (out / "recall_curves.png").read_bytes().startswith(b"\x89PNG")

    page = Balanced((out / "report.html").read_text())
    words = [word for text in page.words for word in text.split()]
    for kind, name in (("coco", "AR@100"), ("hosang", "AR@100"), ("hosang", "AR_hosang@100")):
        assert f"{metrics[kind][name]:.1f}" in words


def test_report_needs_no_network_and_runs_nothing(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(1), 3, 10)
    name = '<script>alert("&")<|script>.json'
    proposals, annotations = write(tmp_path, ground_truth, results, name)
    evaluate(proposals, annotations, tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = Balanced(text)
    assert "svg" in page.tags
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    addresses = [value for key, value in page.attributes if key in ("src", "href", "xlink:href", "data")]
    assert addresses  # matplotlib's own, to marks within the drawing
    assert all(value is not None and value.startswith("#") for value in addresses)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert any(name in words for words in page.words)


def test_nothing_to_find_is_said_as_such(tmp_path: Path) -> None:
    whole = rectangle_rle(10, 10, 0, 0, 10, 10)
    ground_truth = coco({1: (10, 10), 2: (9, 9)}, [])
    proposals, annotations = write(tmp_path, ground_truth, [result(1, whole, 0.5)] * 1002)
    returned = evaluate(proposals, annotations, tmp_path / "out")["segm"]
    assert returned["coco"]["AR@10"] is None
    assert returned["hosang"]["AR@10"] is None
    assert set(returned["curves"]["N=10"]) == {None}
    assert returned["counts"] == {
        "images": 2,
        "images_without_instances": 2,
        "images_without_proposals": 1,
        "instances": 0,
        "instances_small": 0,
        "instances_medium": 0,
        "instances_large": 0,
        "crowd_regions": 0,
        "proposals": 1002,
        "proposals_beyond_limit": 2,
    }
    assert "–" in Balanced((tmp_path / "out" / "report.html").read_text()).words


def test_bad_file_writes_nothing(tmp_path: Path) -> None:
    proposals, annotations = write(tmp_path, coco({1: (10, 10)}, []), [{"image_id": 2}])
    with pytest.raises(ValueError, match=r"proposals\.json: results\[0\] .*: image_id 2 "):
        evaluate(proposals, annotations, tmp_path / "out")
    with pytest.raises(ValueError, match=r"none\.json: cannot be read: No such file"):
        evaluate(proposals, tmp_path / "none.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_curves_are_drawn_the_same_each_time() -> None:
    curves = np.stack([np.linspace(level, 0, len(CURVE_THRESHOLDS)) for level in (20, 40, 60)])
    svgs = [render(draw_curves(curves, [10.0, 20.0, 30.0], "$ & <a>", GIVEN), "svg") for _ in range(2)]
    assert svgs[0] == svgs[1]
    other = render(draw_curves(curves / 2, [10.0, 20.0, 30.0], "$ & <a>", GIVEN), "svg")
    assert other != svgs[0]


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_other_files_are_set_beside_the_first(tmp_path: Path, iou: IouType) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(2), 8, 20)
    first, annotations = write(tmp_path, ground_truth, results[::2], "first.json")
    other, _ = write(tmp_path, ground_truth, results, "other.json")
    third, _ = write(tmp_path, ground_truth, results[::3], "third.json")
    written = evaluate(first, annotations, tmp_path / "out", iou, others=[other, third], seed=3)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == written
    assert list(written) == [iou, "compare", "files"]
    assert written["files"] == {path.stem: str(path) for path in (first, other, third)}
    assert list(written["compare"]) == ["other", "third"]
    assert written[iou] == evaluate(first, annotations, tmp_path / "alone", iou)[iou]
    page = Balanced((tmp_path / "out/report.html").read_text())
    for path in (other, third):
        beside = written["compare"][path.stem]
        assert beside["metrics"] == evaluate(path, annotations, tmp_path / "alone", iou)[iou]
        expected = compare_files(first, path, annotations, iou, seed=3)
        assert list(beside["difference"]) == list(expected)
        for name, difference in expected.items():
            keys = ("first", "second", "difference", "low", "high", "images", "decided")
            assert beside["difference"][name] == {key: getattr(difference, key) for key in keys}, name
        difference = expected["coco/AR@100"]
        assert f"{difference.second:.1f} ({beside['metrics']['given']['100']} given)" in page.words
        low, high = (
            f"{end:+.2f}".replace("+0.00", "0.00").replace("-", "\N{MINUS SIGN}")
            for end in (difference.low, difference.high)
        )
        assert f"{low} to {high}" in page.words
        assert str(path) in page.words
    assert "COCO AR@100, small" in page.words
    assert not [word for word in page.words if "coco/" in word or "hosang/" in word]


def test_a_file_beside_itself_differs_by_nothing(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(3), 5, 10)
    proposals, annotations = write(tmp_path, ground_truth, results)
    written = evaluate(proposals, annotations, tmp_path / "out", others=[proposals])
    assert list(written["compare"]) == ["proposals (2)"]
    differences = written["compare"]["proposals (2)"]["difference"]
    assert {(found["low"], found["difference"], found["high"]) for found in differences.values()} == {(0, 0, 0)}
    assert not any(found["decided"] for found in differences.values())
    assert "0.00 to 0.00" in Balanced((tmp_path / "out/report.html").read_text()).words


def test_difference_of_nothing_to_find_is_none(tmp_path: Path) -> None:
    whole = rectangle_rle(10, 10, 0, 0, 10, 10)
    ground_truth = coco({1: (10, 10)}, [annotation(1, 1, whole, area=100)])
    proposals, annotations = write(tmp_path, ground_truth, [result(1, whole, 0.5)])
    other, _ = write(tmp_path, ground_truth, [], "other.json")
    differences = evaluate(proposals, annotations, tmp_path, others=[other])["compare"]["other"]["difference"]
    assert differences["coco/AR@10"]["difference"] == differences["coco/AR@10"]["low"] == -100
    assert differences["coco/AR@10"]["images"] == 1
    assert not differences["coco/AR@10"]["decided"]  # by one image
    assert "1 images" in Balanced((tmp_path / "report.html").read_text()).words
    large = differences["coco/AR@10_large"]
    assert not large.pop("decided")
    assert large.pop("images") == 0
    assert set(large.values()) == {None}


def test_names_of_compared_files_are_text(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(4), 3, 10)
    names = ["<script>alert(1)<|script>", "_$x$ & --> \N{CJK UNIFIED IDEOGRAPH-4E00}", "long" * 50]
    (first, annotations), *others = [write(tmp_path, ground_truth, results, f"{name}.json") for name in names]
    written = evaluate(first, annotations, tmp_path / "out", others=[path for path, _ in others])
    assert list(written["compare"]) == names[1:]
    page = Balanced((tmp_path / "out/report.html").read_text())
    assert "script" not in page.tags
    for name in names:
        assert name in page.words


def test_a_panel_for_each_limit_with_a_line_for_each_file() -> None:
    curves = np.stack([np.linspace(level, 0, len(CURVE_THRESHOLDS)) for level in (20, 40, 60)])
    figure = draw_recall_panels({"$one$": curves, "_two\n": curves / 2}, "title")
    assert [axes.get_title("left") for axes in figure.axes] == ["N = 10", "N = 100", "N = 1,000"]
    for index, axes in enumerate(figure.axes):
        first, second = axes.get_lines()
        np.testing.assert_array_equal(first.get_ydata(), curves[index])
        np.testing.assert_array_equal(second.get_ydata(), curves[index] / 2)
        assert [first.get_color(), second.get_color()] == list(FILE_COLORS[:2])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["$one$", "_two\N{REPLACEMENT CHARACTER}"]
    again = draw_recall_panels({"$one$": curves, "_two\n": curves / 2}, "title")
    assert render(figure, "svg") == render(again, "svg")


def test_lines_are_told_apart_by_colour_blind_people() -> None:
    assert smallest_difference([rgb(color) for color in FILE_COLORS]) > 15
    assert smallest_difference([rgb(color) for color in LIMIT_COLORS]) > 15
    assert smallest_difference([MISSED_COLOUR, FOUND_COLOUR]) > 50


def test_more_files_than_colours_are_refused(tmp_path: Path) -> None:
    proposals, annotations = write(tmp_path, coco({1: (10, 10)}, []), [])
    with pytest.raises(ValueError, match="8 files to compare with; the figure has colours for 7"):
        evaluate(proposals, annotations, tmp_path / "out", others=[proposals] * 8)
    assert not (tmp_path / "out").exists()


def test_what_is_no_list_or_no_folder_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"others must be a list of paths, not 'half\.json'"):
        evaluate("none.json", "none.json", tmp_path, others="half.json")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: is a file, and a folder is needed"):
        evaluate("none.json", "none.json", tmp_path / "file")


def test_published_tables_agree_with_each_other() -> None:
    full_images = dict(TABLE_2.rows)["InstanceFCN, full images"]
    assert full_images == dict(TABLE_1.rows)["k = 5"] == dict(TABLE_3.rows)["InstanceFCN"]
    assert dict(TABLE_2.rows)["~DeepMask, crops"] == dict(TABLE_3.rows)["~DeepMask"]
    for table in RECALL_TABLES:
        for method, numbers in table.rows:
            known = [number for number in numbers if number is not None]
            assert known == sorted(known), method  # recall rises with N


def test_drawing_and_matching_are_imported_late() -> None:
    code = (
        "import sys, instancefcn.evaluation.evaluate, instancefcn.evaluation.compare; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'hotcoco')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_of_other_images_under_the_same_ids_are_refused(tmp_path: Path) -> None:
    """``propose`` and ``convert`` number images each in its own order."""
    mask = rectangle_rle(48, 64, 4, 4, 24, 24)
    labels = coco(dict.fromkeys((1, 2), (48, 64)), [annotation(1, 1, mask)])
    for image, name in zip(labels["images"], ("10.jpg", "sub/2.jpg"), strict=True):
        image["file_name"] = name
    labels_file, results, run = tmp_path / "labels.json", tmp_path / "run" / "r.json", tmp_path / "run" / "images.json"
    run.parent.mkdir()
    labels_file.write_text(json.dumps(labels))
    results.write_text(json.dumps([result(1, mask, 0.5)]))

    def named(*names: str, **more: Any) -> None:
        images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=1)]
        run.write_text(json.dumps({"images": images, "annotations": [], "categories": []} | more))

    named("2.jpg", "10.jpg")
    with pytest.raises(ValueError, match=r"image 1 is '2.jpg', by .*images.json, but '10.jpg' in .*--annotations"):
        evaluate(results, labels_file, tmp_path / "report")
    for same in (lambda: named("10.jpg", "2.jpg", "3.jpg"), lambda: named("2.jpg", annotations=labels["annotations"])):
        same()
        assert evaluate(results, labels_file, tmp_path / "report")["segm"]["coco"]["AR@10"] == 100
