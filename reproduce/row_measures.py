"""What is measured of Table 2's rows besides recall, while their weights are there: those are not kept in git."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from instancefcn.data.source import Source
from instancefcn.devices import choose_device
from instancefcn.files import read_json, write_whole
from instancefcn.inference.proposer import Proposer
from reproduce.datasets import ImageSelection, test_images
from reproduce.methods import CROPS, DEEPMASK, OURS, Method
from reproduce.networks import load_proposer
from reproduce.report import json_text
from reproduce.runner import Kept, Runner, UnfinishedError

TABLE = "table2"
MEASURED_ROWS = (OURS, CROPS, DEEPMASK)  # its rows


def kept_of_row(
    runner: Runner, method: Method, seed: int, file: str, measure: Callable[[Proposer, Source], Mapping[str, Any]]
) -> dict[str, Any]:
    """What ``file`` in a row's folder holds; where it is missing, the row's network is measured and it is written.

    Args:
        measure: of a network, on the first test set of Table 2.

    Raises:
        UnfinishedError: it is not there, and the settings say to read what is there.
    """
    path = runner.folder(method, TABLE, seed) / file
    if not path.exists():
        if runner.settings.finished:
            raise UnfinishedError(path)
        folder = runner.run(method, TABLE, seed)
        proposer, _ = load_proposer(folder / "best.safetensors", choose_device(runner.settings.device))
        write_whole(path, json_text(measure(proposer, runner.open_test(test_set(runner)[1]))))
    return read_json(path)


def of_rows(runner: Runner, of_row: Callable[[Runner, Method, int], Kept]) -> dict[str, list[Kept]]:
    """By the rows' labels, what there is of each seed; a row that is not finished is left out."""
    found = {method.label: runner.of_seeds(partial(of_row, runner, method)) for method in MEASURED_ROWS}
    return {label: seeds for label, seeds in found.items() if seeds}


def test_set(runner: Runner) -> tuple[str, ImageSelection]:
    """The first test set of Table 2, and its name."""
    return next(iter(test_images(runner.settings.scale, runner.settings.data_root, TABLE).items()))
