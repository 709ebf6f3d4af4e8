"""AR against ``inference.mask_threshold``, which the paper does not give: at 0.5, masks that are unsure are too small.

The curve is of the test images themselves: it says how much a threshold matters, and chooses none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from instancefcn.data.source import Source
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.inference.proposer import Proposer
from instancefcn.training.validation import validate
from reproduce.methods import Method
from reproduce.report import markdown_table, mean_and_spread, write_page
from reproduce.row_measures import kept_of_row, of_rows, test_set
from reproduce.runner import Runner

THRESHOLDS_NAME = "mask-thresholds"
THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
FILE = "mask-thresholds.json"  # of a run's folder

Curve = dict[str, list[float]]  # by threshold: AR in percent, with each number of proposals


def reproduce_mask_thresholds(runner: Runner) -> Path:
    """Measure the rows whose weights are there, train the others, and write ``mask-thresholds.md`` and ``.json``."""
    rows = of_rows(runner, curve_of)
    table = markdown_table(
        ["", "seeds", *map(str, THRESHOLDS)],
        [
            [label, str(len(seeds)), *(_averages([of[str(threshold)] for of in seeds]) for threshold in THRESHOLDS)]
            for label, seeds in rows.items()
        ],
    )
    note = (
        f"AR@{', '.join(map(str, MAX_PROPOSALS))} (COCO) of masks of {test_set(runner)[0]}, percent, with a pixel in a "
        "mask from so much on. The recipes have 0.5."
    )
    kept = {"dry_run": runner.settings.dry, "rows": rows}
    return write_page(runner.settings, THRESHOLDS_NAME, "Thresholds of masks", [note], table, kept)


def curve_of(runner: Runner, method: Method, seed: int) -> Curve:
    """Of a row of Table 2; see ``kept_of_row``."""
    return kept_of_row(runner, method, seed, FILE, measure_thresholds)


def measure_thresholds(proposer: Proposer, source: Source) -> Curve:
    """AR of the same network on the same images at each threshold."""
    curve: Curve = {}
    for threshold in THRESHOLDS:
        config = replace(proposer.config, mask_threshold=threshold)
        recall = validate(Proposer(proposer.network, config, device=proposer.device), [source])[source.name]
        curve[str(threshold)] = [recall[f"AR@{count}"] for count in MAX_PROPOSALS]
    return curve


def _averages(seeds: list[list[float]]) -> str:
    """The mean over seeds, and its spread, with each number of proposals."""
    return (", " if len(seeds) > 1 else " ").join(mean_and_spread(values) for values in np.transpose(seeds).tolist())
