"""The learning rate of each method, searched alike: three tries, measured on training images that are kept out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from instancefcn.evaluation.average_recall import AVERAGES, ImageRecall
from instancefcn.evaluation.matching import MAX_PROPOSALS
from reproduce.datasets import training_images
from reproduce.methods import CROPS, DEEPMASK, OURS, Method
from reproduce.report import average_recalls, markdown_table, write_page
from reproduce.run import RunResult
from reproduce.runner import RATES_NAME, Runner, UnfinishedError
from reproduce.verdict import MEASURES

SEARCHED = (OURS, CROPS, DEEPMASK)
FACTORS = (0.5, 1.0, 2.0)  # on the recipe's rate
CHOSEN_BY = MEASURES[1]
KEPT_OUT = "images kept out"


def reproduce_rates(runner: Runner) -> Path:
    """Train and measure what is missing, and write ``rates.md`` and ``rates.json``, which other pages read."""
    found: dict[str, dict[float, tuple[ImageRecall, RunResult]]] = {}
    for method in SEARCHED:
        for factor in FACTORS:
            try:
                found.setdefault(method.slug, {})[factor] = try_rate(runner, method, factor)
            except UnfinishedError:
                continue
    best = {
        slug: max(tries, key=lambda factor: tries[factor][0].measures()[CHOSEN_BY].percent())
        for slug, tries in found.items()
        if len(tries) == len(FACTORS)
    }
    rows = [
        [
            method.label,
            f"{factor:g} x {runner.recipe(method, 0).optimization.learning_rate:g}",
            *average_recalls([recall], AVERAGES["COCO AR"]),
            f"{recall.measures()[CHOSEN_BY].percent():.2f}",
            str(result.iterations),
            f"{result.seconds / 60:.1f}",
            "**best**" if best.get(method.slug) == factor else "",
        ]
        for method in SEARCHED
        for factor, (recall, result) in found.get(method.slug, {}).items()
    ]
    note = (
        "Trained on nine tenths of the training images, measured on masks of the tenth that is kept out; seed 0. The "
        f"best is by {CHOSEN_BY}."
    )
    table = markdown_table(["", "rate", *(f"AR@{n}" for n in MAX_PROPOSALS), CHOSEN_BY, "steps", "minutes", ""], rows)
    tries = {
        slug: {f"{factor:g}": recall.measures()[CHOSEN_BY].percent() for factor, (recall, _) in of_method.items()}
        for slug, of_method in found.items()
    }
    kept = {"measure": CHOSEN_BY, "tries": tries, "best": best}
    return write_page(runner.settings, RATES_NAME, "Learning rates", [note], table, kept)


def try_rate(runner: Runner, method: Method, factor: float) -> tuple[ImageRecall, RunResult]:
    """Train a row at a multiple of its recipe's learning rate, and measure it on the images kept out.

    Raises:
        UnfinishedError: see ``Runner.train``.
    """
    settings = runner.settings
    images = training_images(settings.scale, settings.data_root, RATES_NAME)
    recipe = runner.recipe(method, 0)
    optimization = replace(recipe.optimization, learning_rate=factor * recipe.optimization.learning_rate)
    name = f"{RATES_NAME}-{method.slug}-x{factor:g}"
    recalls, result = runner.train_and_measure(
        name,
        replace(recipe, optimization=optimization),
        replace(images, tenth="left out"),
        {KEPT_OUT: replace(images, tenth="alone")},
        ["segm"],
    )
    return recalls[KEPT_OUT, "segm"], result
