from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation import average_precision
from instancefcn.evaluation.average_precision import coco_precision
from instancefcn.evaluation.evaluate import evaluate
from instancefcn.evaluation.per_class import measure_precision
from instancefcn.evaluation.results import split_by_category
from labelled import random_scenes


def files(folder: Path, ground_truth: Any, results: Any) -> tuple[Path, Path]:
    proposals, annotations = folder / "p.json", folder / "a.json"
    proposals.write_text(json.dumps(results))
    annotations.write_text(json.dumps(ground_truth))
    return proposals, annotations


def test_proposals_without_classes_are_refused(tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(0), 6, 10)
    classless = [found | {"category_id": 1} for found in results]
    proposals, annotations = files(tmp_path, ground_truth, classless)
    with pytest.raises(ValueError, match=r"p\.json: every result has category_id 1 .* 3 categories: leave --per-class"):
        evaluate(proposals, annotations, tmp_path / "out", per_class=True)
    assert not (tmp_path / "out").exists()
    evaluate(proposals, annotations, tmp_path / "out")  # their recall is measured


@pytest.mark.parametrize("what", ["two categories of results", "one category of instances", "no results"])
def test_what_names_categories_is_measured(what: str, tmp_path: Path) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(0), 6, 10)
    if what == "two categories of results":
        results = [found | {"category_id": 1 + index % 2} for index, found in enumerate(results)]
    elif what == "no results":
        results = []
    else:
        results = [found | {"category_id": 1} for found in results]
        for labelled in ground_truth["annotations"]:
            labelled["category_id"] = 1
    assert "mAP^r@0.5" in measure_precision(*files(tmp_path, ground_truth, results))


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_coco_precision_is_the_same_however_many_images_are_matched_at_once(
    iou: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(5), 30, 20)
    categories = split_by_category(ground_truth, results, iou)
    at_once = coco_precision(categories, iou)
    assert 0 < at_once["AP75"] < at_once["AP"] < at_once["AP50"] < 100
    monkeypatch.setattr(average_precision, "IMAGES_AT_ONCE", 7)
    assert coco_precision(categories, iou) == at_once


def test_published_tables_are_shown_on_request(tmp_path: Path) -> None:
    proposals, annotations = files(tmp_path, *random_scenes(np.random.default_rng(0), 6, 10))
    for published in (False, True):
        evaluate(proposals, annotations, tmp_path / "out", per_class=True, published=published)
        page = (tmp_path / "out/report.html").read_text()
        for word in ("PASCAL VOC", "MCG", "DeepMaskZoom", "61.5", "What the paper printed"):
            assert (word in page) == published, word
