"""From an experiment's name to its page on disk, or to one of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from reproduce.ablation import NAME as ABLATION_NAME
from reproduce.ablation import reproduce_ablation
from reproduce.coherence import COHERENCE_NAME, coherence_of, reproduce_coherence
from reproduce.figures import FIGURES, reproduce_figure
from reproduce.mask_thresholds import THRESHOLDS_NAME, curve_of, reproduce_mask_thresholds
from reproduce.methods import EXPERIMENTS, VGG16, Method
from reproduce.rates import SEARCHED, reproduce_rates, try_rate
from reproduce.recall_tables import reproduce_table
from reproduce.row_measures import MEASURED_ROWS, TABLE
from reproduce.runner import RATES_NAME, Runner
from reproduce.search_files import SEARCH_NAME, write_selective_search
from reproduce.sizes import SIZE_METHODS, SIZES_NAME, reproduce_sizes
from reproduce.sources import ROWS as SOURCE_ROWS
from reproduce.sources import SOURCES_NAME, reproduce_sources, try_sources
from reproduce.table4 import TABLE_4_NAME, reproduce_table_4

TABLES = sorted([*(experiment.name for experiment in EXPERIMENTS), TABLE_4_NAME])
# Of the paper; the others lead to these, or are of `lite` or small VGG-16.
NAMES = (*TABLES, *FIGURES, SIZES_NAME)
_EXPERIMENTS = {experiment.name: experiment for experiment in (*EXPERIMENTS, VGG16)}
_PAGES: dict[str, Callable[[Runner], Path]] = {
    SIZES_NAME: reproduce_sizes,
    ABLATION_NAME: reproduce_ablation,
    TABLE_4_NAME: reproduce_table_4,
    RATES_NAME: reproduce_rates,
    SOURCES_NAME: reproduce_sources,
    SEARCH_NAME: write_selective_search,
    COHERENCE_NAME: reproduce_coherence,
    THRESHOLDS_NAME: reproduce_mask_thresholds,
    **{name: partial(reproduce_figure, figure) for name, figure in FIGURES.items()},
}


def reproduce(name: str, runner: Runner) -> Path:
    """Run what is missing of an experiment, write its page, and return the path."""
    if name in _PAGES:
        return _PAGES[name](runner)
    return reproduce_table(_EXPERIMENTS[name], runner)


def make_row(name: str, row: str, runner: Runner, seed: int = 0, images: int = 0, rate: float = 1.0) -> None:
    """Train and measure one row of an experiment with one seed. Its page is not written.

    Args:
        row: slug of a method, or of sources.
        images: train on so many; 0 for all. Only for ``sizes``.
        rate: factor on the learning rate. Only for ``rates``.

    Raises:
        ValueError: the experiment has no such row; names those it has.
    """
    of_pages: dict[str, Sequence[Method]] = {SIZES_NAME: SIZE_METHODS, RATES_NAME: SEARCHED}
    of_pages |= {table.name: table.at(runner.settings.scale).methods for table in _EXPERIMENTS.values()}
    methods = {method.slug: method for method in of_pages.get(name, ())}
    rows = SOURCE_ROWS if name == SOURCES_NAME else methods
    if row not in rows:
        raise ValueError(f"{name} has no row {row!r} to make by itself: {', '.join(rows) or 'leave --row out'}")
    if name == SOURCES_NAME:
        try_sources(runner, row, seed)
    elif name == RATES_NAME:
        try_rate(runner, methods[row], rate)
    else:
        runner.recalls(methods[row], name, seed, images, on_training=name == SIZES_NAME)
        if name == TABLE and row in {method.slug for method in MEASURED_ROWS}:
            for kept in (coherence_of, curve_of):  # while the weights are there
                kept(runner, methods[row], seed)
