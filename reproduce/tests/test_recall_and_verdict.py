from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from instancefcn.data.coco import source_to_coco
from instancefcn.evaluation.average_recall import ImageRecall, average_recall
from instancefcn.evaluation.compare import MIN_IMAGES, Difference
from instancefcn.geometry.rle import decode, encode, to_json
from reproduce import recall as module
from reproduce.methods import Claim
from reproduce.recall import holds_recall, load_recall, measure, pool, save_recall
from reproduce.verdict import MEASURES, decide, judge_change, judge_recall
from synthetic import SyntheticScenes

SCENES = SyntheticScenes(MIN_IMAGES, height=48, width=64, seed=1)


def shifted_by(pixels: int) -> list[dict[str, Any]]:
    """Every labelled mask, moved to the right."""
    results = []
    for sample in SCENES:
        for rank, rle in enumerate(sample.instances.rles):
            mask = np.roll(decode(rle), pixels, axis=1)
            score = 1 - rank / 100
            results.append({"image_id": sample.image_id, "segmentation": to_json(encode(mask)), "score": score})
    return results


@cache
def found_by(pixels: int) -> ImageRecall:
    results = shifted_by(pixels)

    def propose(image: np.ndarray, image_id: int) -> list[dict[str, Any]]:
        assert image.shape == (48, 64, 3)
        return [result for result in results if result["image_id"] == image_id]

    with TemporaryDirectory() as parts:
        return measure(propose, SCENES, ("segm",), "shifted", Path(parts))["segm"]


@pytest.mark.parametrize("block", [2, 25])
def test_measuring_by_blocks_is_measuring_at_once(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    found = found_by.__wrapped__(2)
    np.testing.assert_equal(found.metrics(), average_recall(source_to_coco(SCENES), shifted_by(2)))  # NaN is NaN
    save_recall(found, tmp_path / "deep" / "found.npz")
    loaded = load_recall(tmp_path / "deep" / "found.npz")
    np.testing.assert_equal(loaded.metrics(), found.metrics())
    assert loaded.image_ids == found.image_ids
    for name in ("best_iou", "assigned_iou"):
        pairs = zip(getattr(loaded, name), getattr(found, name), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_file_of_an_earlier_version_is_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "found.npz"
    assert not holds_recall(path)
    save_recall(found_by(2), path)
    assert holds_recall(path)
    with np.load(path) as arrays:
        earlier = {name: arrays[name] for name in arrays.files if name != "assigned_iou"}
    np.savez_compressed(path, **earlier)
    assert not holds_recall(path)
    with pytest.raises(ValueError, match=r"found\.npz: lacks assigned_iou, .* remove it, and measure anew"):
        load_recall(path)


def test_verdicts_go_by_hosangs_one_to_one_matching() -> None:
    found = found_by(1)
    nothing = [np.zeros_like(of_image) for of_image in found.assigned_iou]
    by_assigned = judge_recall(Claim("more", "a", "b"), [found], [replace(found, assigned_iou=nothing)], "scenes")
    assert {finding.verdict for finding in by_assigned} == {"held"}
    worse = replace(found, matched=np.zeros_like(found.matched), best_iou=nothing)
    by_others = judge_recall(Claim("more", "a", "b"), [found], [worse], "scenes")
    assert {finding.verdict for finding in by_others} == {"not decidable"}


def test_a_pool_has_the_mean_of_every_number() -> None:
    runs = [found_by(0), found_by(3), found_by(6)]
    for name, pooled in pool(runs).measures().items():
        each = [run.measures()[name].percent() for run in runs]
        assert pooled.percent() == pytest.approx(np.mean(each), nan_ok=True), name


def test_what_is_found_everywhere_is_held() -> None:
    claim = Claim("unmoved masks find more", "a", "b")
    findings = judge_recall(claim, [found_by(0), found_by(1)], [found_by(6)], "scenes")
    assert [found.measure for found in findings] == list(MEASURES)
    for found in findings:
        assert found.verdict == "held"
        assert found.difference.first < found.difference.second
        assert found.difference.low <= found.difference.difference <= found.difference.high
        assert np.mean(found.of_seeds) == pytest.approx(found.difference.difference)
    (backwards, *_) = judge_recall(claim, [found_by(6)], [found_by(0)], "scenes")
    assert backwards.verdict == "not held"
    (same, *_) = judge_recall(Claim("as much", "a", "b", margin=1.0), [found_by(2)], [found_by(2)], "scenes")
    assert same.verdict == "held"


def test_the_change_of_a_gap() -> None:
    perfect, close, far = found_by(0), found_by(1), found_by(6)
    findings = judge_change("larger", [(perfect, far), (perfect, close)], "scenes")
    for measure_name, found in zip(MEASURES, findings, strict=True):
        far_percent, close_percent = (run.measures()[measure_name].percent() for run in (far, close))
        assert found.difference.difference == pytest.approx(close_percent - far_percent)
        assert found.verdict == "held"


@pytest.mark.parametrize(
    ("low", "high", "of_seeds", "margin", "verdict"),
    [
        (0.1, 2.0, (1.0, 0.2), 0.0, "held"),
        (-2.0, -0.1, (-1.0,), 0.0, "not held"),
        (-0.1, 2.0, (1.0,), 0.0, "not decidable"),
        (0.1, 2.0, (2.0, -0.1), 0.0, "not decidable"),  # a seed against it
        (0.0, 0.0, (0.0,), 0.0, "not decidable"),
        (-0.9, 0.8, (0.5, -0.5), 1.0, "held"),
        (-0.9, 1.1, (0.5,), 1.0, "not decidable"),
        (-0.9, 0.8, (1.2, -1.2), 1.0, "not decidable"),  # seeds against it
        (1.1, 2.0, (1.5,), 1.0, "not held"),
    ],
)
def test_verdicts(low: float, high: float, of_seeds: tuple[float, ...], margin: float, verdict: str) -> None:
    assert decide(Difference(0.0, (low + high) / 2, low, high, MIN_IMAGES), of_seeds, margin) == verdict
    few = Difference(0.0, (low + high) / 2, low, high, MIN_IMAGES - 1)
    assert decide(few, of_seeds, margin) == "not decidable"
