"""From an experiment's name to its page on disk."""

from __future__ import annotations

from pathlib import Path

from reproduce.ablation import NAME as ABLATION_NAME
from reproduce.ablation import reproduce_ablation
from reproduce.methods import EXPERIMENTS
from reproduce.recall_tables import reproduce_table
from reproduce.runner import Runner
from reproduce.sizes import SIZES_NAME, reproduce_sizes
from reproduce.table4 import TABLE_4_NAME, reproduce_table_4

TABLES = sorted([*(experiment.name for experiment in EXPERIMENTS), TABLE_4_NAME])
NAMES = (*TABLES, SIZES_NAME)  # of the paper; the ablation is of `lite`


def reproduce(name: str, runner: Runner) -> Path:
    """Run what is missing of an experiment, write its page, and return the path."""
    if name == SIZES_NAME:
        return reproduce_sizes(runner)
    if name == ABLATION_NAME:
        return reproduce_ablation(runner)
    if name == TABLE_4_NAME:
        return reproduce_table_4(runner)
    return reproduce_table(next(experiment for experiment in EXPERIMENTS if experiment.name == name), runner)
