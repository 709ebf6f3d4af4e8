from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.curves import CURVE_THRESHOLDS
from instancefcn.files import read_json
from reproduce.experiments import make_row, reproduce
from reproduce.figures import mean_curves
from reproduce.recall_page import COMPARED, MEASURED
from reproduce.report import average_recalls
from reproduce.runner import Runner
from reproduce.settings import Settings


@pytest.mark.usefixtures("one_thread")
def test_a_figure_shows_the_rows_that_are_there(mini_tree: Path, tmp_path: Path) -> None:
    settings = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True, finished=True)
    make_row("table3", "lite", Runner(Settings("mini", mini_tree, tmp_path / "out", device="cpu", dry=True)))
    for name, test in (("figure6", "voc2007"), ("figure7", "coco-mini val")):
        page = reproduce(name, Runner(settings))
        text, table = page.read_text(), read_json(page.with_suffix(".json"))
        picture = page.with_name(f"{name}-{test.replace(' ', '-')}.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.name in text
        assert "**Not made yet: ~DeepMask, crops.**" in text
        (curves,) = table["recall"][test].values()  # of `lite` alone
        assert list(table["recall"]) == [test]  # the other figure's photographs are not in it
        assert np.shape(curves) == (3, len(CURVE_THRESHOLDS))
        assert (np.diff(curves, axis=0) >= 0).all()  # more masks find no less


def test_curves_are_one_to_one_and_means_over_seeds() -> None:
    """One instance of two seeds, found at IoU 0.8 and at 0.6; another proposal has 0.9, but finds another instance."""
    none = np.zeros((1, 4, 3, 10))
    seeds = [
        ImageRecall([1], np.ones((1, 4), dtype=int), none.astype(int), [np.full((1, 3), 0.9)], [np.full((1, 3), iou)])
        for iou in (0.8, 0.6)
    ]
    expected = np.where(CURVE_THRESHOLDS <= 0.601, 100, np.where(CURVE_THRESHOLDS <= 0.801, 50, 0))
    np.testing.assert_array_equal(mean_curves(seeds), np.stack([expected] * 3))
    assert average_recalls(seeds, MEASURED[COMPARED]) == ["40.0 ± 20.0"] * 3
