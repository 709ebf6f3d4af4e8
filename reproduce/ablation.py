"""Ablation of the ``lite`` preset: without one of its main parts at a time, on the same data, for the same minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from jaxtyping import UInt8

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.files import write_whole
from reproduce.datasets import test_images, training_images
from reproduce.recall import holds_recall, load_recall, measure, pool, save_recall
from reproduce.recipe import ExperimentRecipe, load_recipe
from reproduce.report import DRY, json_text, markdown_table
from reproduce.runner import Runner, Settings, proposals_of

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
        write_whole(page, _to_markdown(measured, differences, settings, missing))
        table = {
            "dry_run": settings.dry,
            "not_made_yet": missing,
            "rows": [_to_table(row, difference) for row, difference in zip(measured, differences, strict=True)],
        }
        write_whole(page.with_suffix(".json"), json_text(table))
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
    minutes = 0.0 if settings.iterations is not None else settings.minutes or MINUTES
    run = f"{NAME}-{part.slug}-seed{seed}", runner.as_asked(part.recipe, seed), images, minutes
    folder, result = runner.train(*run)
    recall_file, seconds_file = folder / "recall.npz", folder / "seconds.json"
    if not (holds_recall(recall_file) and seconds_file.exists()):
        runner.train(*run, with_weights=True)
        source = runner.open_test(test_images(settings.scale, settings.data_root, NAME)[TEST])
        propose, seconds = proposals_of(folder / "best.safetensors", settings.device), []

        def timed(image: UInt8[np.ndarray, "h w 3"], image_id: int) -> list[dict[str, Any]]:
            started = time.perf_counter()
            results = propose(image, image_id)
            seconds.append(time.perf_counter() - started)
            return results

        parts = folder / "parts"
        made = measure(timed, source, ("segm",), f"{folder.name}, {TEST}", parts)
        write_whole(seconds_file, json.dumps(float(np.median(seconds))))
        save_recall(made["segm"], recall_file)
        rmtree(parts)
    seconds_an_image = float(json.loads(seconds_file.read_text(encoding="utf-8")))
    return load_recall(recall_file), result.iterations, result.seconds / 60, seconds_an_image


def _to_markdown(
    rows: Sequence[AblationRow],
    differences: Sequence[dict[str, Difference]],
    settings: Settings,
    missing: Sequence[str],
) -> str:
    body = []
    for row, difference in zip(rows, differences, strict=True):
        gap, own = difference["coco/AR@100"], row.recall.metrics()["coco"]
        body.append(
            [
                row.part.label,
                *(f"{own[f'AR@{n}']:.1f}" for n in MAX_PROPOSALS),
                *(
                    (f"{gap.difference:+.1f}", f"{gap.low:+.1f} to {gap.high:+.1f}")
                    if row is not rows[0]
                    else ("-", "-")
                ),
                f"{row.iterations:.0f}",
                f"{row.minutes:.1f}",
                f"{row.seconds_an_image:.2f}",
            ]
        )
    columns = [*(f"AR@{n}" for n in MAX_PROPOSALS), "AR@100, difference", "interval", "steps", "minutes", "s an image"]
    lines = [
        "# Parts of the lite preset, one off at a time",
        "",
        *([DRY, ""] if settings.dry else []),
        f"- `{settings.command(NAME)}`",
        f"- Masks of {TEST}, COCO's AR; the difference to the first row with the 95% interval of a paired bootstrap "
        "over images, which does not know how much a seed changes.",
        *([f"- **Not made yet: {'; '.join(missing)}.**"] if missing else []),
        "",
        *markdown_table(["", *columns], body),
    ]
    return "\n".join(lines) + "\n"


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
