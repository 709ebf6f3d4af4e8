"""AR against the threshold of masks: of a network whose masks are known, and of a row of Table 2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.scenes import plain
from instancefcn.data.coco import source_to_coco
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.files import read_json
from instancefcn.inference.proposer import Proposer
from reproduce.experiments import make_row, reproduce
from reproduce.mask_thresholds import FILE, THRESHOLDS, measure_thresholds
from reproduce.runner import Runner
from reproduce.settings import Settings
from reproduce.tests.conftest import SMALL
from reproduce.tests.test_coherence import small
from synthetic import SyntheticScenes

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_threshold_has_the_recall_of_its_proposals() -> None:
    network, scenes = small(k=3).eval(), SyntheticScenes(2, height=96, width=96)
    # Untrained logits are about 0, so masks are whole windows at 0.4, some pixels at 0.5, and nothing above.
    curve = measure_thresholds(Proposer(network, plain(shorter_sides=(96.0,), mask_threshold=0.9)), scenes)
    for threshold in THRESHOLDS:
        proposer = Proposer(network, plain(shorter_sides=(96.0,), mask_threshold=threshold))
        results = [
            result
            for sample in scenes
            for result in proposer(sample.image, max_proposals=1000).to_coco(sample.image_id)
        ]
        recall = average_recall(source_to_coco(scenes), results)["coco"]
        assert curve[str(threshold)] == pytest.approx([recall[f"AR@{count}"] for count in (10, 100, 1000)])
    assert curve["0.4"] != curve["0.5"]


def test_a_row_of_table_2_keeps_its_curve_and_the_page_reads_it(mini_tree: Path, tmp_path: Path) -> None:
    asked = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True, changes=SMALL)
    make_row("table2", "ours-k5", Runner(asked))
    folder = asked.folder / "runs" / "ours-k5-seed0"
    kept = read_json(folder / FILE)
    assert set(kept) == {str(threshold) for threshold in THRESHOLDS}
    (folder / "best.safetensors").unlink()
    page = reproduce("mask-thresholds", Runner(replace(asked, finished=True))).read_text()
    assert f"| ours, full images | 1 | {' '.join(f'{value:.1f}' for value in kept['0.2'])} |" in page
    assert "~DeepMask" not in page
