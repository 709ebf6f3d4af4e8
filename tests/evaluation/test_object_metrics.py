"""Measures of objects over images, and the tables of a file of them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracles
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.object_metrics import OBJECT_IOUS, object_metrics
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.geometry import rle as rle_codec
from labelled import annotation, coco, random_scenes, rectangle_rle, result

Scene = tuple[list[tuple[float, set]], list[set], list[set]]


def measure(ground_truth: Any, results: Any, iou: IouType = "segm", **options: Any) -> dict[str, Any]:
    images = parse_ground_truth(ground_truth, iou)
    return object_metrics(images, parse_results(results, images, iou), **options)


def pixels(segmentation: Any) -> set[tuple[int, int]]:
    mask = rle_codec.decode(rle_codec.from_json(segmentation))
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


def as_sets(ground_truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[int, Scene]:
    """Objects, instances and crowds of each image as sets of pixels."""
    images: dict[int, Scene] = {image["id"]: ([], [], []) for image in ground_truth["images"]}
    for own in sorted(results, key=lambda own: -own["score"]):
        images[own["image_id"]][0].append((own["score"], pixels(own["segmentation"])))
    for own in ground_truth["annotations"]:
        images[own["image_id"]][1 + own["iscrowd"]].append(pixels(own["segmentation"]))
    return images


@pytest.mark.parametrize("min_score", [None, 0.4])
def test_every_measure_by_a_slow_twin(min_score: float | None) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(0), 12, 20)
    found = measure(ground_truth, results, min_score=min_score)
    images, least = as_sets(ground_truth, results), min_score or 0.0
    sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth["images"]}
    assert list(found["at"]) == [str(limit) for limit in OBJECT_IOUS]
    for limit in OBJECT_IOUS:
        row = found["at"][str(limit)]
        counts = oracles.count_objects(list(images.values()), least, limit)
        assert {name: row[name] for name in ("right", "wrong", "missed")} == {
            name: counts[name] for name in ("right", "wrong", "missed")
        }
        right, wrong, missed = (counts[name] for name in ("right", "wrong", "missed"))
        pair_ious, outlines = [], []
        for image_id, (objects, instances, crowds) in images.items():
            taken = [mask for score, mask in objects if score >= least]
            distance = max(1, round(0.02 * np.hypot(*sizes[image_id])))
            for mask, index in zip(taken, oracles.match_objects(taken, instances, crowds, limit), strict=True):
                if isinstance(index, int):
                    other = instances[index]
                    pair_ious.append(len(mask & other) / len(mask | other))
                    rims = oracles.boundary(mask, distance), oracles.boundary(other, distance)
                    outlines.append(len(rims[0] & rims[1]) / len(rims[0] | rims[1]))
        assert right > 0 < wrong
        expected = {
            "precision": right / (right + wrong),
            "recall": right / (right + missed),
            "F1": right / (right + (wrong + missed) / 2),
            "AP": right / (right + wrong + missed),
            "SQ": np.mean(pair_ious),
            "RQ": right / (right + (wrong + missed) / 2),
            "PQ": sum(pair_ious) / (right + (wrong + missed) / 2),
            "boundary_iou": np.mean(outlines),
        }
        for name, share in expected.items():
            assert row[name] == pytest.approx(100 * share), (limit, name)
        assert row["PQ"] == pytest.approx(row["SQ"] * row["RQ"] / 100)

    off, scores, hits = [], [], []
    for of_image in found["images"]:
        objects, instances, crowds = images[of_image["image_id"]]
        taken = [own for own in objects if own[0] >= least]
        matched = oracles.match_objects([mask for _, mask in taken], instances, crowds, 0.5)
        kept = [(score, index != "wrong") for (score, _), index in zip(taken, matched, strict=True) if index != "crowd"]
        assert of_image == {"image_id": of_image["image_id"], "labelled": len(instances), "found": len(kept)}
        off.append(len(kept) - len(instances))
        scores += [score for score, _ in kept]
        hits += [hit for _, hit in kept]
    assert found["counts"]["error"] == pytest.approx(np.mean(np.abs(off)))
    assert found["counts"]["bias"] == pytest.approx(np.mean(off))
    assert (found["counts"]["found"], found["counts"]["labelled"]) == (
        sum(of_image["found"] for of_image in found["images"]),
        sum(of_image["labelled"] for of_image in found["images"]),
    )
    assert found["calibration_error"] == pytest.approx(100 * oracles.calibration_error(scores, hits))


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_perfect_objects_give_100(iou: IouType) -> None:
    ground_truth, _ = random_scenes(np.random.default_rng(1), 6, 0)
    perfect = [
        result(own["image_id"], own["segmentation"], 1.0)
        for own in ground_truth["annotations"]
        if not own["iscrowd"] and rle_codec.area(rle_codec.from_json(own["segmentation"]))
    ]
    kept = {(own["image_id"], str(own["segmentation"])) for own in perfect}
    ground_truth["annotations"] = [
        own
        for own in ground_truth["annotations"]
        if own["iscrowd"] or (own["image_id"], str(own["segmentation"])) in kept
    ]
    found = measure(ground_truth, perfect, iou)
    for row in found["at"].values():
        shares = {name: row[name] for name in ("precision", "recall", "F1", "AP", "PQ", "SQ", "RQ")}
        assert shares == dict.fromkeys(shares, pytest.approx(100))
        assert row["boundary_iou"] == 100 if iou == "segm" else np.isnan(row["boundary_iou"])
    assert found["counts"]["error"] == found["counts"]["bias"] == found["calibration_error"] == 0


def test_nothing_found_nothing_labelled_and_crowds_alone() -> None:
    whole, half = rectangle_rle(10, 10, 0, 0, 10, 10), rectangle_rle(10, 10, 0, 0, 10, 5)
    nothing_found = measure(coco({1: (10, 10)}, [annotation(1, 1, whole)]), [])
    row = nothing_found["at"]["0.5"]
    assert (row["recall"], row["F1"], row["AP"], row["PQ"], row["missed"]) == (0, 0, 0, 0, 1)
    assert np.isnan([row["precision"], row["SQ"], row["boundary_iou"], nothing_found["calibration_error"]]).all()
    assert (nothing_found["counts"]["error"], nothing_found["counts"]["bias"]) == (1, -1)

    nothing_labelled = measure(coco({1: (10, 10)}, []), [result(1, whole, 0.75)])
    row = nothing_labelled["at"]["0.5"]
    assert (row["precision"], row["F1"], row["AP"], row["PQ"], row["wrong"]) == (0, 0, 0, 0, 1)
    assert np.isnan(row["recall"])
    assert (nothing_labelled["counts"]["bias"], nothing_labelled["calibration_error"]) == (1, 75)

    crowd = coco({1: (10, 10)}, [annotation(1, 1, whole, iscrowd=1)])
    on_crowd = measure(crowd, [result(1, half, 0.75)], by_score=True)
    row = on_crowd["at"]["0.9"]
    assert (row["right"], row["wrong"], row["missed"]) == (0, 0, 0)
    assert np.isnan([row["precision"], row["recall"], row["F1"], row["AP"], row["PQ"]]).all()
    assert on_crowd["counts"] == {"labelled": 0, "found": 0, "error": 0, "bias": 0}
    assert on_crowd["best"] is None

    empty = measure(coco({}, []), [], by_score=True)
    assert empty["by_score"] == empty["images"] == []
    assert np.isnan(empty["counts"]["error"])


def test_table_over_scores() -> None:
    ground_truth, results = random_scenes(np.random.default_rng(2), 10, 20)
    found = measure(ground_truth, results, by_score=True)
    images = list(as_sets(ground_truth, results).values())
    assert [row["score"] for row in found["by_score"]] == pytest.approx([step / 20 for step in range(1, 20)])
    for row in (*found["by_score"], found["best"]):
        counts = oracles.count_objects(images, row["score"], 0.5)
        right, wrong, missed = (counts[name] for name in ("right", "wrong", "missed"))
        assert row == {
            "score": row["score"],
            "precision": pytest.approx(100 * right / (right + wrong)),
            "recall": pytest.approx(100 * right / (right + missed)),
            "F1": pytest.approx(100 * 2 * right / (2 * right + wrong + missed)),
            "found": right + wrong,
            "count_error": pytest.approx(counts["count_error"]),
        }
    assert found["best"]["F1"] >= max(row["F1"] for row in found["by_score"])


def test_scores_of_the_table_follow_those_that_there_are() -> None:
    whole = rectangle_rle(10, 10, 0, 0, 10, 10)
    ground_truth = coco({1: (10, 10)}, [annotation(1, 1, whole)])

    def thresholds(scores: list[float]) -> list[float]:
        found = measure(ground_truth, [result(1, whole, score) for score in scores], by_score=True)
        return [row["score"] for row in found["by_score"]]

    assert thresholds([0.3, 0.12]) == pytest.approx([0.05, 0.15])  # the lowest of those that take the same
    assert thresholds([1.0, 1.0]) == pytest.approx([0.05])
    logits = list(np.linspace(-3.0, 7.0, 101))
    assert thresholds(logits) == pytest.approx(np.linspace(-2.5, 6.5, 19).tolist())  # quantiles
    assert thresholds([float(score) for score in range(101)]) == pytest.approx(list(range(5, 100, 5)))
    share = measure(ground_truth, [result(1, whole, 2 / 3)], by_score=True)["best"]
    assert (share["score"], share["found"]) == (0.6666, 1)  # as shown, it still takes the object
    far = rectangle_rle(10, 10, 0, 0, 1, 1)
    close = [result(1, whole, 0.99998), result(1, far, 0.99985)]  # four digits would take both
    best = measure(ground_truth, close, by_score=True)["best"]
    assert (best["score"], best["F1"], best["found"]) == (0.9999, 100.0, 1)
    best = measure(ground_truth, [result(1, whole, 100_002.0), result(1, far, 100_001.0)], by_score=True)["best"]
    assert (best["score"], best["F1"]) == (100_002.0, 100.0)


class Words(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def write(folder: Path, ground_truth: Any, results: Any, name: str) -> tuple[Path, Path]:
    (folder / name).write_text(json.dumps(results))
    (folder / "annotations.json").write_text(json.dumps(ground_truth))
    return folder / name, folder / "annotations.json"


def test_objects_beside_average_recall(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(3), 8, 20)
    for image in ground_truth["images"][1:]:
        image["file_name"] = f"{image['id']}.png"
    files = write(tmp_path, ground_truth, results, "proposals.json")
    plain = evaluate(*files, tmp_path / "plain")
    written = evaluate(*files, tmp_path / "out", objects=True)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == written
    assert list(plain) == ["segm"]
    assert written["segm"] == plain["segm"]
    expected = measure(ground_truth, results, by_score=True)
    found = written["objects"]["proposals"]
    assert found["at"] == expected["at"]
    assert (found["min_score"], found["by_score"], found["best"]) == (None, expected["by_score"], expected["best"])
    names = {image["id"]: image.get("file_name") for image in ground_truth["images"]}
    assert found["images"] == [own | {"file_name": names[own["image_id"]]} for own in expected["images"]]
    assert None in names.values()
    words = Words((tmp_path / "out/report.html").read_text()).words
    assert "Objects, proposals" in words
    shown = [*found["at"]["0.75"].items(), *found["best"].items()]
    for name, number in shown:
        kind = ":g" if name == "score" else ":," if isinstance(number, int) else ":.1f"
        assert f"{{{kind}}}".format(number) in words, name


def test_a_file_of_objects_has_one_row_at_each_iou(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(4), 8, 20)
    objects, annotations = write(tmp_path, ground_truth, results, "objects.json")
    other, _ = write(tmp_path, ground_truth, results[::2], "other.json")
    written = evaluate(objects, annotations, tmp_path / "out", others=[other], objects=True)["objects"]
    assert list(written) == ["objects", "other"]
    assert "by_score" not in written["objects"]
    assert "by_score" in written["other"]
    assert "Score at least" not in (tmp_path / "out/report.html").read_text().split("Objects, other")[0]

    least = evaluate(other, annotations, tmp_path / "least", objects=True, min_score=0.6)["objects"]["other"]
    expected = measure(ground_truth, [own for own in results[::2] if own["score"] >= 0.6])
    assert least["at"] == expected["at"]
    assert (least["counts"], least["min_score"]) == (expected["counts"], 0.6)
    assert "by_score" not in least
    assert "that score 0.6 or more" in (tmp_path / "least/report.html").read_text()


def test_a_least_score_without_objects_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path, coco({1: (10, 10)}, []), [], "proposals.json")
    with pytest.raises(ValueError, match="give --objects with --min-score"):
        evaluate(*files, tmp_path / "out", min_score=0.5)
    with pytest.raises(ValueError, match="NaN"):
        evaluate(*files, tmp_path / "out", objects=True, min_score=float("nan"))
    assert not (tmp_path / "out").exists()
    written = evaluate(*files, tmp_path / "out", objects=True)["objects"]["proposals"]
    assert written["at"]["0.5"]["F1"] is None
    assert written["counts"] == {"labelled": 0, "found": 0, "error": 0, "bias": 0}
