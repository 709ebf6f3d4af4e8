"""Ablation of the ``lite`` preset: without one of its main parts at a time, on the same data, for the same minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instancefcn.evaluation.average_recall import AVERAGES, ImageRecall
from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.matching import MAX_PROPOSALS
from reproduce.datasets import test_images, training_images
from reproduce.recall import pool
from reproduce.recipe import ExperimentRecipe, load_recipe
from reproduce.report import average_recalls, markdown_table, write_page
from reproduce.runner import Runner, speed_path
from reproduce.speed import load_speed

NAME = "ablation"
TEST = "coco-mini val"
MINUTES = 3.0  # of training, unless said otherwise


@dataclass(frozen=True)
class Part:
    """A row: the preset without one part."""

    slug: str
    label: str
    recipe: ExperimentRecipe
    partial: bool = True  # the labels of animals are marked as partial


@dataclass(frozen=True)
class AblationRow:
    """Recall and costs of a part's runs."""

    part: Part
    recall: ImageRecall  # pooled over seeds
    iterations: float
    minutes: float
    seconds_an_image: float


def parts() -> tuple[Part, ...]:
    """The preset, then the preset without each part."""
    lite, single = load_recipe("lite"), load_recipe("mini")
    network, loss = lite.network, lite.loss
    # With one window size an octave, sizes are a factor of 2 apart, so the tolerance must exceed its root.
    wide = replace(lite.assignment, scale_tolerance=1.45)
    return (
        Part("lite", "`lite`", lite),
        Part(
            "no-pyramid",
            "no feature pyramid: the network, scales and assignment of `mini`",
            replace(
                lite,
                network=single.network,
                augmentation=single.augmentation,
                assignment=single.assignment,
                inference=replace(lite.inference, shorter_sides=single.inference.shorter_sides),
            ),
        ),
        Part(
            "one-window-size",
            "one window size an octave, not two",
            replace(lite, network=replace(network, window_sizes=(11,)), assignment=wide),
        ),
        Part(
            "no-quality",
            "no quality branch in the score",
            replace(
                lite,
                loss=replace(loss, quality_weight=0.0),
                inference=replace(lite.inference, quality_power=0.0),
            ),
        ),
        Part("no-copy-paste", "no copy-paste", replace(lite, augmentation=replace(lite.augmentation, copy_paste=0.0))),
        Part("complete-labels", "labels of animals taken for complete", lite, partial=False),
        Part(
            "no-blocks",
            "no residual blocks in the pyramid",
            replace(lite, network=replace(network, blocks=0)),
        ),
        Part("hard-targets", "hard mask targets", replace(lite, sampling=replace(lite.sampling, soft_targets=False))),
    )


def reproduce_ablation(runner: Runner, rows: Sequence[Part] | None = None) -> Path:
    """Run what is missing, and write ``ablation.md`` and ``ablation.json`` after every row.

    Args:
        rows: the preset itself comes first.

    Raises:
        ValueError: the scale is not mini; the paper has no such preset.
    """
    settings = runner.settings
    if settings.scale != "mini":
        raise ValueError("ablation is of the lite preset, which the paper does not have: leave --scale at mini")
    rows = rows or parts()
    page = settings.folder / f"{NAME}.md"
    measured: list[AblationRow] = []
    for part in rows:
        measured.append(_measure_seeds(part, runner))
        missing = [left.label for left in rows[len(measured) :]]
        first = measured[0].recall
        differences = [compare(first, row.recall, generator=np.random.default_rng(0)) for row in measured]
        notes = [
            f"Masks of {TEST}, COCO's AR; the difference to the first row with the 95% interval of a paired bootstrap "
            "over images, which does not know how much a seed changes.",
            *([f"**Not made yet: {'; '.join(missing)}.**"] if missing else []),
        ]
        kept = {
            "dry_run": settings.dry,
            "not_made_yet": missing,
            "rows": [_to_table(row, difference) for row, difference in zip(measured, differences, strict=True)],
        }
        title = "Parts of the lite preset, one off at a time"
        page = write_page(settings, NAME, title, notes, _table(measured, differences), kept)
    return page


def _measure_seeds(part: Part, runner: Runner) -> AblationRow:
    found = [_measure_seed(part, seed, runner) for seed in range(runner.settings.seeds)]
    recalls, *costs = zip(*found, strict=True)
    return AblationRow(part, pool(recalls), *(float(np.mean(cost)) for cost in costs))


def _measure_seed(part: Part, seed: int, runner: Runner) -> tuple[ImageRecall, int, float, float]:
    """Recall, iterations, minutes of training, and seconds to propose in an image."""
    settings = runner.settings
    images = training_images(settings.scale, settings.data_root, NAME)
    if not part.partial:
        images = replace(images, specs=tuple(spec.removeprefix("partial+") for spec in images.specs))
    name, recipe = f"{NAME}-{part.slug}-seed{seed}", runner.settings.apply(part.recipe, seed)
    tests = {TEST: test_images(settings.scale, settings.data_root, NAME)[TEST]}
    # A budget in iterations wins over minutes, which this page has by itself.
    minutes = 0.0 if settings.iterations is not None else settings.minutes or MINUTES
    recalls, result = runner.train_and_measure(name, recipe, images, tests, ["segm"], minutes)
    speed = load_speed(speed_path(settings.folder / "runs" / name, TEST))
    seconds = float("nan") if speed is None else speed.median()
    return recalls[TEST, "segm"], result.iterations, result.seconds / 60, seconds


def _table(rows: Sequence[AblationRow], differences: Sequence[dict[str, Difference]]) -> list[str]:
    """Lines of markdown."""
    body = []
    for row, difference in zip(rows, differences, strict=True):
        gap = difference["coco/AR@100"]
        change = ["-", "-"] if row is rows[0] else [f"{gap.difference:+.1f}", f"{gap.low:+.1f} to {gap.high:+.1f}"]
        costs = [f"{row.iterations:.0f}", f"{row.minutes:.1f}", f"{row.seconds_an_image:.2f}"]
        body.append([row.part.label, *average_recalls([row.recall], AVERAGES["COCO AR"]), *change, *costs])
    columns = [*(f"AR@{n}" for n in MAX_PROPOSALS), "AR@100, difference", "interval", "steps", "minutes", "s an image"]
    return markdown_table(["", *columns], body)


def _to_table(row: AblationRow, difference: dict[str, Difference]) -> dict[str, object]:
    gap, own = difference["coco/AR@100"], row.recall.metrics()["coco"]
    return {
        "row": row.part.slug,
        **{f"AR@{n}": own[f"AR@{n}"] for n in MAX_PROPOSALS},
        "difference": gap.difference,
        "interval": [gap.low, gap.high],
        "iterations": row.iterations,
        "minutes": row.minutes,
        "seconds_an_image": row.seconds_an_image,
    }
