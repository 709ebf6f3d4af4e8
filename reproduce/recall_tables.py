"""The paper's Tables 1, 2, 3 and 5: recall of each method, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.published import PublishedTable
from instancefcn.evaluation.regions import IouType
from reproduce.datasets import describe, test_images, training_images
from reproduce.methods import SHIPPED, Experiment, Method
from reproduce.networks import mask_parameters
from reproduce.proposing import shipped_weights
from reproduce.recall_page import RecallPage, RecallRow
from reproduce.run import RunResult
from reproduce.runner import Runner, UnfinishedError, speed_path
from reproduce.settings import Settings
from reproduce.speed import Speed, load_speed
from reproduce.verdict import judge_recall

REGIONS: dict[IouType, str] = {"segm": "masks", "bbox": "boxes"}

SeedRecalls = dict[tuple[str, IouType], list[ImageRecall]]  # seed by seed, by test set and regions


def reproduce_table(experiment: Experiment, runner: Runner) -> Path:
    """Run what is missing of a table, write ``NAME.md`` and ``NAME.json``, and return the page's path."""
    settings = runner.settings
    experiment = experiment.at(settings.scale)
    about = [f"- `{settings.command(experiment.name)}`", *trained_on(settings, experiment.name)]
    if SHIPPED in experiment.methods:
        about.append(f"- `lite` has the weights {shipped_weights()}.")
    if (settings.scale, experiment.name) == ("mini", "table5"):
        about.append(
            "- The networks are those of the other tables, at their scales; the paper's have DeepMask's for COCO here."
        )
    found, results, left_out = measure_methods(experiment, runner)
    about += left_out
    with_boxes = any(method.search for method in experiment.methods)
    tests = test_images(settings.scale, settings.data_root, experiment.name)
    rows: list[RecallRow] = []
    for test in tests:
        for iou in ("segm", "bbox") if with_boxes else ("segm",):
            measured = {
                method: RecallRow(
                    test=test,
                    regions=REGIONS[iou],
                    method=method.label,
                    recalls=tuple(found[method.slug][test, iou]),
                    mask_parameters=None
                    if method.recipe is None
                    else mask_parameters(runner.recipe(method, 0).network),
                    iterations=tuple(result.iterations for result in results[method.slug]),
                    minutes=tuple(result.seconds / 60 for result in results[method.slug]),
                    speeds=speeds(method, experiment.name, runner, test, len(found[method.slug][test, iou])),
                )
                for method in experiment.methods
                if method.slug in found and (test, iou) in found[method.slug]
            }
            # The paper's numbers are of masks.
            rows += beside_the_papers(measured, experiment.published, test) if iou == "segm" else measured.values()
    findings = [
        finding
        for claim in experiment.claims
        if claim.first in found and claim.second in found
        for test in tests
        for finding in judge_recall(
            claim, found[claim.first][test, claim.regions], found[claim.second][test, claim.regions], test
        )
    ]
    title = f"Table {experiment.published.number}: {experiment.published.title} ({settings.scale} scale)"
    path = settings.folder / f"{experiment.name}.md"
    RecallPage(title, about, rows, findings, experiment.published.data, settings.dry).write(path)
    return path


def beside_the_papers(measured: Mapping[Method, RecallRow], published: PublishedTable, test: str) -> list[RecallRow]:
    """Rows on masks with the paper's numbers, in its order; those that only the paper measured are among them."""
    by_name = {method.published: row for method, row in measured.items()}
    rows = []
    for name, numbers in published.rows:
        row = by_name.get(name, RecallRow(test, REGIONS["segm"], name))
        rows.append(replace(row, published=numbers))
    return rows + [row for method, row in measured.items() if not method.published]


def measure_methods(
    experiment: Experiment, runner: Runner
) -> tuple[dict[str, SeedRecalls], dict[str, list[RunResult]], list[str]]:
    """Recall and results of the rows of a table by their slugs, and a line of its page for each that can't be had."""
    found: dict[str, SeedRecalls] = {}
    results: dict[str, list[RunResult]] = {}
    left_out: list[str] = []
    for method in experiment.methods:
        try:
            found[method.slug], results[method.slug] = measure_seeds(method, experiment.name, runner)
        except ModuleNotFoundError as error:  # a peer needs a package of its own
            left_out.append(f"- Left out: {method.label} ({error}; `pip install 'instancefcn[bench]'`).")
        except UnfinishedError:
            left_out.append(f"- **Not made yet: {method.label}.**")
    return found, results, left_out


def measure_seeds(
    method: Method, experiment: str, runner: Runner, drawn: int = 0, on_training: bool = False
) -> tuple[SeedRecalls, list[RunResult]]:
    """Recall of a row and results of its runs, seed by seed; once for a row that is not trained.

    Raises:
        UnfinishedError: the settings say to read what is there, and not even the first seed is.
    """
    found: SeedRecalls = {}
    results: list[RunResult] = []
    for seed in range(runner.settings.seeds if method.recipe is not None else 1):
        try:
            recalls, result = runner.recalls(method, experiment, seed, drawn, on_training)
        except UnfinishedError:
            if seed == 0:
                raise
            break  # pages compare seed by seed
        for key, recall in recalls.items():
            found.setdefault(key, []).append(recall)
        results += [result] if result is not None else []
    return found, results


def speeds(method: Method, experiment: str, runner: Runner, test: str, seeds: int) -> tuple[Speed, ...]:
    """How long a row takes to propose, for each seed whose time was measured."""
    folders = [runner.folder(method, experiment, seed) for seed in range(seeds)]
    found = [load_speed(speed_path(folder, test)) for folder in folders]
    return tuple(speed for speed in found if speed is not None)


def trained_on(settings: Settings, experiment: str) -> list[str]:
    """The line of a page on training data and seeds."""
    images = describe(training_images(settings.scale, settings.data_root, experiment))
    return [f"- Trained on {images}, with seeds 0 to {settings.seeds - 1}."]
