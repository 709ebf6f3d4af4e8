from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation.average_recall import ImageRecall, recall_per_image
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.per_image import category_rows, image_rows, image_table, names_where_sound
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from labelled import annotation, coco, random_scenes, rectangle_rle, result


def recall_of(ground_truth: Any, results: Any) -> ImageRecall:
    images = parse_ground_truth(ground_truth)
    return recall_per_image(images, parse_results(results, images), "segm")


def test_a_row_is_the_recall_of_its_image_alone() -> None:
    ground_truth, results = random_scenes(np.random.default_rng(0), 8, 20)
    recall = recall_of(ground_truth, results)
    names = {image["id"]: f"{image['id']}.png" for image in ground_truth["images"]}
    for row in image_rows(recall, names):
        own = dict.fromkeys(("id", "image_id"), row["image_id"])
        alone = ground_truth | {
            key: [entry for entry in ground_truth[key] if entry[field] == own[field]]
            for key, field in (("images", "id"), ("annotations", "image_id"))
        }
        one = recall_of(alone, [found for found in results if found["image_id"] == row["image_id"]])
        assert row["file_name"] == names[row["image_id"]]
        assert row["instances"] == len(one.best_iou[0])
        assert row["missed"] == (one.best_iou[0].max(1, initial=0) < 0.5).sum()
        for limit in (10, 100, 1000):
            expected = one.metrics()["coco"][f"AR@{limit}"] if row["instances"] else None
            assert row[f"AR@{limit}"] == (None if expected is None else pytest.approx(expected))


def test_the_table_has_the_most_missed_first() -> None:
    ars = {"AR@10": None, "AR@100": 12.345, "AR@1000": 100.0}
    rows = [{"image_id": i, "file_name": name, "instances": 4, "missed": i} | ars for i, name in ((1, "a"), (3, 'b",'))]
    read = list(csv.DictReader(image_table(rows).decode().splitlines()))
    assert [row["file_name"] for row in read] == ['b",', "a"]
    assert (read[1]["AR@10"], read[1]["AR@100"], read[1]["missed"]) == ("", "12.35", "1")


def test_recall_of_a_category_is_that_of_its_instances_alone() -> None:
    ground_truth, results = random_scenes(np.random.default_rng(1), 12, 20)
    for found in results:
        found["category_id"] = 1
    names = {1: "one", 2: "two", 3: "three", 4: "four"}
    images = parse_ground_truth(ground_truth, categories=names)
    rows = category_rows(recall_of(ground_truth, results), images, names)
    assert list(rows) == ["one", "two", "three"]
    for row in rows.values():
        own = [entry for entry in ground_truth["annotations"] if entry["category_id"] == row["id"]]
        alone = recall_of(ground_truth | {"annotations": own}, results)
        assert row["instances"] == alone.instances[:, 0].sum()
        assert row["AR@10"] == pytest.approx(alone.metrics()["hosang"]["AR@10"])
        assert row["recall@0.75"] == pytest.approx(alone.curves(np.array([0.75]))[-1, 0])


def test_categories_are_looked_at_where_all_are_sound() -> None:
    table = coco({1: (10, 10)}, [annotation(1, 1, rectangle_rle(10, 10, 0, 0, 5, 5))])
    assert names_where_sound(table, "a.json") == {1: "1", 2: "2", 3: "3"}
    table["annotations"][0]["category_id"] = 9
    assert names_where_sound(table, "a.json") is None
    table["categories"] = "none"
    assert names_where_sound(table, "a.json") is None
    with pytest.raises(ValueError, match=r"^a\.json: has no list \"images\""):
        names_where_sound({}, "a.json")


@pytest.mark.parametrize("categories", [[], None, [{"id": 1, "name": "a"}], "nonsense"])
def test_wrong_categories_do_not_stop_recall(categories: Any, tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(2), 4, 10)
    (tmp_path / "p.json").write_text(json.dumps(results))
    (tmp_path / "a.json").write_text(json.dumps(ground_truth))
    expected = evaluate(tmp_path / "p.json", tmp_path / "a.json", tmp_path / "out")["segm"]
    assert [of["id"] for of in expected["categories"].values()] == [1, 2, 3]
    assert "Recall by category" in (tmp_path / "out/report.html").read_text()
    (tmp_path / "a.json").write_text(json.dumps(ground_truth | {"categories": categories}))
    found = evaluate(tmp_path / "p.json", tmp_path / "a.json", tmp_path / "out")["segm"]
    assert found == expected | {"categories": {}}
    assert "Recall by category" not in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("many", "given"), [(3, {"10": 3, "100": 3, "1000": 3}), (12, {"10": 10, "100": 12, "1000": 12})]
)
def test_the_most_proposals_of_an_image_are_told(many: int, given: dict[str, int], tmp_path: Path) -> None:
    mask = rectangle_rle(10, 10, 0, 0, 5, 5)
    (tmp_path / "a.json").write_text(json.dumps(coco({1: (10, 10), 2: (10, 10)}, [annotation(1, 1, mask)])))
    (tmp_path / "p.json").write_text(json.dumps([result(1, mask, 0.5)] * many + [result(2, mask, 0.5)]))
    other = tmp_path / "q.json"
    other.write_text(json.dumps([result(1, mask, 0.5)] * 2000))
    written = evaluate(tmp_path / "p.json", tmp_path / "a.json", tmp_path / "out", others=[other])
    assert written["segm"]["given"] == given
    assert written["compare"]["q"]["metrics"]["given"] == {"10": 10, "100": 100, "1000": 1000}
    page = (tmp_path / "out/report.html").read_text()
    assert f"AR@1000 ({many} given)" in page
    assert f"AR@100 ({many} given)" in page
    assert ("AR@10 (3 given)" in page) == (many == 3)
    assert f"<td>100.0 ({many} given)</td><td>100.0</td>" in page  # of both files, in one row
