"""From an experiment's name to its table on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.regions import IouType
from instancefcn.files import write_whole
from reproduce.ablation import NAME as ABLATION_NAME
from reproduce.ablation import reproduce_ablation
from reproduce.images import open_images
from reproduce.plan import (
    EXPERIMENTS,
    SIZE_METHODS,
    SIZES,
    TRAINING_SET,
    Claim,
    Experiment,
    Method,
    test_images,
    training_images,
)
from reproduce.recall import pool
from reproduce.run import RunResult
from reproduce.runner import MEASURED_TRAINING_IMAGES, Runner, Settings, mask_parameters
from reproduce.sizes import draw_sizes
from reproduce.table import RecallRow, to_json, to_markdown
from reproduce.table4 import TABLE_4_NAME, reproduce_table_4
from reproduce.verdict import Finding, judge_change, judge_recall

REGIONS: dict[IouType, str] = {"segm": "masks", "bbox": "boxes"}
SIZES_NAME = "sizes"
TABLES = sorted([*(experiment.name for experiment in EXPERIMENTS), TABLE_4_NAME])
NAMES = (*TABLES, SIZES_NAME)  # of the paper; the ablation is of `lite`

SeedRecalls = dict[tuple[str, IouType], list[ImageRecall]]


def reproduce(name: str, runner: Runner) -> Path:
    """Make what is missing of an experiment and write its table; the path of the page."""
    if name == SIZES_NAME:
        return reproduce_sizes(runner)
    if name == ABLATION_NAME:
        return reproduce_ablation(runner)
    if name == TABLE_4_NAME:
        return reproduce_table_4(runner)
    return reproduce_table(next(experiment for experiment in EXPERIMENTS if experiment.name == name), runner)


def reproduce_table(experiment: Experiment, runner: Runner) -> Path:
    """One of the paper's tables: ``NAME.md`` and ``NAME.json``."""
    found: dict[str, SeedRecalls] = {}
    results: dict[str, list[RunResult]] = {}
    about = [f"- `{runner.settings.command(experiment.name)}`", *_data(runner.settings, experiment.name)]
    for method in experiment.methods:
        try:
            found[method.slug], results[method.slug] = _measure_seeds(method, experiment.name, runner)
        except ModuleNotFoundError as error:  # a peer's package; its row is left out, and this said
            about.append(f"- Left out: {method.label} ({error}; `pip install 'instancefcn[bench]'`).")
    published = dict(experiment.published.rows)
    with_boxes = any(method.only_boxes for method in experiment.methods)
    tests = test_images(runner.settings.scale, runner.settings.data_root, experiment.name)
    rows = [
        RecallRow(
            test=test,
            regions=REGIONS[iou],
            method=method.label,
            recalls=tuple(found[method.slug][test, iou]),
            mask_parameters=None if method.recipe is None else mask_parameters(runner.recipe(method, 0)),
            iterations=tuple(result.iterations for result in results[method.slug]),
            minutes=tuple(result.seconds / 60 for result in results[method.slug]),
            published=published.get(method.published),
        )
        for test in tests
        for iou in (("segm", "bbox") if with_boxes else ("segm",))
        for method in experiment.methods
        if method.slug in found and (test, iou) in found[method.slug]
    ]
    findings = [
        finding
        for claim in experiment.claims
        if claim.first in found and claim.second in found
        for test in tests
        for finding in _judge(claim, found, test)
    ]
    title = f"Table {experiment.published.number}: {experiment.published.title} ({runner.settings.scale} scale)"
    return _write(runner.settings, experiment.name, title, about, rows, findings, experiment.published.data)


def reproduce_sizes(runner: Runner) -> Path:
    """AR against the number of training images: ``sizes.md``, ``sizes.json``, and a curve of each test set.

    All are written anew after every size, fewest and most first: their difference is what the claim is about.
    """
    settings = runner.settings
    total = sum(len(source) for source in open_images(training_images(settings.scale, settings.data_root, SIZES_NAME)))
    sizes = sorted({size or total for size in SIZES if size <= total})
    if settings.dry:
        sizes = [2, total]
    found: dict[tuple[str, int], SeedRecalls] = {}
    results: dict[tuple[str, int], list[RunResult]] = {}
    order = list(dict.fromkeys([sizes[0], sizes[-1], *sizes]))
    page = settings.folder / f"{SIZES_NAME}.md"
    for done, size in enumerate(order, start=1):
        for method in SIZE_METHODS:
            key = method.slug, size
            found[key], results[key] = _measure_seeds(method, SIZES_NAME, runner, size % total, True)
        page = _write_sizes(runner, found, results, total, order[done:])
    return page


def _write_sizes(
    runner: Runner,
    found: Mapping[tuple[str, int], SeedRecalls],
    results: Mapping[tuple[str, int], Sequence[RunResult]],
    total: int,
    missing: Sequence[int],
) -> Path:
    """The page, its twin for programs and the curves, of the sizes that were found."""
    settings = runner.settings
    sizes = sorted({size for _, size in found})
    tests = [*test_images(settings.scale, settings.data_root, SIZES_NAME), TRAINING_SET]
    rows = [
        RecallRow(
            test=test,
            regions=REGIONS["segm"],
            method=f"{method.label}, {size} images",
            recalls=tuple(found[method.slug, size][test, "segm"]),
            mask_parameters=mask_parameters(runner.recipe(method, 0)),
            iterations=tuple(result.iterations for result in results[method.slug, size]),
            minutes=tuple(result.seconds / 60 for result in results[method.slug, size]),
        )
        for method in SIZE_METHODS
        for size in sizes
        for test in tests
    ]
    peer, ours = SIZE_METHODS
    findings = [
        finding
        for test in tests[:-1]
        for size in sizes
        for finding in judge_recall(
            Claim(f"from {size} images, ours finds more than ~DeepMask", ours.slug, peer.slug),
            found[ours.slug, size][test, "segm"],
            found[peer.slug, size][test, "segm"],
            test,
        )
    ]
    for test in tests[:-1]:
        gaps = [
            (pool(found[ours.slug, size][test, "segm"]), pool(found[peer.slug, size][test, "segm"]))
            for size in (sizes[0], sizes[-1])
        ]
        if len(sizes) > 1:
            findings += judge_change(f"the gap is larger from {sizes[0]} images than from {sizes[-1]}", gaps, test)
        on_test, on_training = (
            {method.label: {size: found[method.slug, size][name, "segm"] for size in sizes} for method in SIZE_METHODS}
            for name in (test, TRAINING_SET)
        )
        picture = draw_sizes(on_test, on_training, "coco/AR@100", f"Masks of {test}" + " (DRY RUN)" * settings.dry)
        settings.folder.mkdir(parents=True, exist_ok=True)
        write_whole(settings.folder / f"sizes-{test.split(',')[0].replace(' ', '-')}.png", picture)
    title = f"AR against the number of training images ({settings.scale} scale)"
    about = [
        f"- `{settings.command(SIZES_NAME)}`",
        *_data(settings, SIZES_NAME),
        f"- Training images: up to {MEASURED_TRAINING_IMAGES} of those that the run was trained on. A smaller set is "
        f"part of the larger ones of its seed; all are {total}.",
        *([f"- **Not made yet: {', '.join(map(str, missing))} images.**"] if missing else []),
    ]
    return _write(settings, SIZES_NAME, title, about, rows, findings, "does not measure this")


def _measure_seeds(
    method: Method, experiment: str, runner: Runner, drawn: int = 0, on_training: bool = False
) -> tuple[SeedRecalls, list[RunResult]]:
    """What a row finds, seed by seed; once, where it has no seed."""
    found: SeedRecalls = {}
    results: list[RunResult] = []
    for seed in range(runner.settings.seeds if method.recipe is not None else 1):
        recalls, result = runner.recalls(method, experiment, seed, drawn, on_training)
        for key, recall in recalls.items():
            found.setdefault(key, []).append(recall)
        results += [result] if result is not None else []
    return found, results


def _judge(claim: Claim, found: dict[str, SeedRecalls], test: str) -> list[Finding]:
    iou: IouType = "bbox" if claim.boxes else "segm"
    return judge_recall(claim, found[claim.first][test, iou], found[claim.second][test, iou], test)


def _data(settings: Settings, experiment: str) -> list[str]:
    specs = training_images(settings.scale, settings.data_root, experiment).specs
    return [f"- Trained on {' and '.join(f'`{spec}`' for spec in specs)}, with seeds 0 to {settings.seeds - 1}."]


def _write(
    settings: Settings,
    name: str,
    title: str,
    about: Sequence[str],
    rows: Sequence[RecallRow],
    findings: Sequence[Finding],
    published_on: str,
) -> Path:
    settings.folder.mkdir(parents=True, exist_ok=True)
    page = settings.folder / f"{name}.md"
    write_whole(page, to_markdown(title, about, rows, findings, published_on, settings.dry).encode())
    write_whole(page.with_suffix(".json"), to_json(title, about, rows, findings, settings.dry).encode())
    return page
