"""The paper's Tables 1, 2, 3 and 5: what each method finds, beside the numbers that the paper printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.compare import DRAWS
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.evaluation.regions import IouType
from instancefcn.files import write_whole
from reproduce.datasets import test_images, training_images
from reproduce.methods import Claim, Experiment, Method
from reproduce.report import DRY, findings_lines, json_text, markdown_table, mean_and_spread
from reproduce.run import RunResult
from reproduce.runner import Runner, Settings, mask_parameters
from reproduce.verdict import Finding, judge_recall

REGIONS: dict[IouType, str] = {"segm": "masks", "bbox": "boxes"}
COLUMNS = (*(f"AR@{n}" for n in MAX_PROPOSALS), *(f"Hosang AR@{n}" for n in MAX_PROPOSALS))

SeedRecalls = dict[tuple[str, IouType], list[ImageRecall]]  # seed by seed, by test set and regions


@dataclass(frozen=True)
class RecallRow:
    """A method on a test set."""

    test: str
    regions: str  # "masks" or "boxes"
    method: str
    recalls: tuple[ImageRecall, ...]  # one for each seed
    mask_parameters: int | None = None  # of the layer that makes masks
    iterations: tuple[int, ...] = ()
    minutes: tuple[float, ...] = ()
    published: tuple[float | None, ...] | None = None

    def numbers(self) -> list[list[float]]:
        """Of each seed, by ``COLUMNS``."""
        metrics = [recall.metrics() for recall in self.recalls]
        return [[own[rules][f"AR@{n}"] for rules in ("coco", "hosang") for n in MAX_PROPOSALS] for own in metrics]


def reproduce_table(experiment: Experiment, runner: Runner) -> Path:
    """One of the paper's tables: ``NAME.md`` and ``NAME.json``."""
    found: dict[str, SeedRecalls] = {}
    results: dict[str, list[RunResult]] = {}
    about = [f"- `{runner.settings.command(experiment.name)}`", *trained_on(runner.settings, experiment.name)]
    for method in experiment.methods:
        try:
            found[method.slug], results[method.slug] = measure_seeds(method, experiment.name, runner)
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
    return write_page(runner.settings, experiment.name, title, about, rows, findings, experiment.published.data)


def measure_seeds(
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


def trained_on(settings: Settings, experiment: str) -> list[str]:
    specs = training_images(settings.scale, settings.data_root, experiment).specs
    return [f"- Trained on {' and '.join(f'`{spec}`' for spec in specs)}, with seeds 0 to {settings.seeds - 1}."]


def write_page(
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


def to_markdown(
    title: str,
    about: Sequence[str],
    rows: Sequence[RecallRow],
    findings: Sequence[Finding],
    published_on: str,
    dry: bool,
) -> str:
    """The whole page."""
    lines = [f"# {title}", "", *([DRY, ""] if dry else []), *about, ""]
    for test, regions in dict.fromkeys((row.test, row.regions) for row in rows):
        lines += [f"## {test}, {regions}", ""]
        header = ["", "parameters of the mask layer", "steps", "minutes", *COLUMNS, f"the paper ({published_on})"]
        body = [_cells(row) for row in rows if (row.test, row.regions) == (test, regions)]
        lines += [*markdown_table(header, body), ""]
    if findings:
        lines += ["## What the paper claims", "", *findings_lines(findings, "points of COCO's AR", "AR", DRAWS)]
    return "\n".join(lines)


def to_json(title: str, about: Sequence[str], rows: Sequence[RecallRow], findings: Sequence[Finding], dry: bool) -> str:
    """The same for programs; None for what is not a number."""
    table = {
        "title": title,
        "dry_run": dry,
        "about": list(about),
        "rows": [
            {
                "test": row.test,
                "regions": row.regions,
                "method": row.method,
                "mask_parameters": row.mask_parameters,
                "iterations": row.iterations,
                "minutes": row.minutes,
                "seeds": [dict(zip(COLUMNS, numbers, strict=True)) for numbers in row.numbers()],
                "published": row.published,
            }
            for row in rows
        ],
        "findings": [asdict(found) for found in findings],
    }
    return json_text(table)


def _cells(row: RecallRow) -> list[str]:
    several = len(row.recalls) > 1
    return [
        row.method,
        f"{row.mask_parameters:,}" if row.mask_parameters else "-",
        "-" if not row.iterations else f"{np.mean(row.iterations):.0f}" + (f" x {len(row.iterations)}" * several),
        f"{np.mean(row.minutes):.1f}" if row.minutes else "-",
        *(mean_and_spread(of_seeds) for of_seeds in zip(*row.numbers(), strict=True)),
        " ".join("-" if number is None else f"{number:.1f}" for number in row.published) if row.published else "-",
    ]
