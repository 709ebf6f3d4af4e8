"""The paper's Tables 1, 2, 3 and 5: recall of each method, beside the paper's numbers."""

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
from reproduce.methods import Experiment, Method
from reproduce.report import DRY, findings_lines, json_text, markdown_table, mean_and_spread
from reproduce.run import RunResult
from reproduce.runner import Runner, Settings, mask_parameters
from reproduce.verdict import Finding, judge_recall

REGIONS: dict[IouType, str] = {"segm": "masks", "bbox": "boxes"}
COLUMNS = (*(f"AR@{n}" for n in MAX_PROPOSALS), *(f"Hosang AR@{n}" for n in MAX_PROPOSALS))

SeedRecalls = dict[tuple[str, IouType], list[ImageRecall]]  # seed by seed, by test set and regions


@dataclass(frozen=True)
class RecallRow:
    """Recall of a method on a test set."""

    test: str
    regions: str  # "masks" or "boxes"
    method: str
    recalls: tuple[ImageRecall, ...]  # one for each seed
    mask_parameters: int | None = None  # of the layer that makes masks
    iterations: tuple[int, ...] = ()
    minutes: tuple[float, ...] = ()
    published: tuple[float | None, ...] | None = None

    def numbers(self) -> list[list[float]]:
        """Numbers of ``COLUMNS`` for each seed."""
        metrics = [recall.metrics() for recall in self.recalls]
        return [[own[rules][f"AR@{n}"] for rules in ("coco", "hosang") for n in MAX_PROPOSALS] for own in metrics]

    def cells(self) -> list[str]:
        """Cells of its line on the page."""
        steps = f"{np.mean(self.iterations):.0f}" if self.iterations else "-"
        return [
            self.method,
            f"{self.mask_parameters:,}" if self.mask_parameters else "-",
            f"{steps} x {len(self.iterations)}" if len(self.iterations) > 1 else steps,
            f"{np.mean(self.minutes):.1f}" if self.minutes else "-",
            *(mean_and_spread(of_seeds) for of_seeds in zip(*self.numbers(), strict=True)),
            " ".join("-" if number is None else f"{number:.1f}" for number in self.published or ()) or "-",
        ]


@dataclass(frozen=True)
class RecallPage:
    """A page on one experiment."""

    title: str
    about: Sequence[str]  # lines of markdown
    rows: Sequence[RecallRow]
    findings: Sequence[Finding]
    published_on: str  # data set of the paper's numbers
    dry: bool

    def write(self, path: Path) -> None:
        """As markdown, and as JSON beside it."""
        write_whole(path, self.markdown())
        write_whole(path.with_suffix(".json"), self.json())

    def markdown(self) -> str:
        """The page for people."""
        lines = [f"# {self.title}", "", *([DRY, ""] if self.dry else []), *self.about, ""]
        header = ["", "parameters of the mask layer", "steps", "minutes", *COLUMNS, f"the paper ({self.published_on})"]
        for part in dict.fromkeys((row.test, row.regions) for row in self.rows):
            body = [row.cells() for row in self.rows if (row.test, row.regions) == part]
            lines += [f"## {', '.join(part)}", "", *markdown_table(header, body), ""]
        if self.findings:
            lines += ["## What the paper claims", ""]
            lines += findings_lines(self.findings, "points of COCO's AR", "AR", DRAWS)
        return "\n".join(lines)

    def json(self) -> str:
        """The page for programs."""
        table = {
            "title": self.title,
            "dry_run": self.dry,
            "about": list(self.about),
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
                for row in self.rows
            ],
            "findings": [asdict(found) for found in self.findings],
        }
        return json_text(table)


def reproduce_table(experiment: Experiment, runner: Runner) -> Path:
    """Run what is missing of a table, write ``NAME.md`` and ``NAME.json``, and return the page's path."""
    settings = runner.settings
    found: dict[str, SeedRecalls] = {}
    results: dict[str, list[RunResult]] = {}
    about = [f"- `{settings.command(experiment.name)}`", *trained_on(settings, experiment.name)]
    for method in experiment.methods:
        try:
            found[method.slug], results[method.slug] = measure_seeds(method, experiment.name, runner)
        except ModuleNotFoundError as error:  # a peer needs a package of its own
            about.append(f"- Left out: {method.label} ({error}; `pip install 'instancefcn[bench]'`).")
    published = dict(experiment.published.rows)
    with_boxes = any(method.only_boxes for method in experiment.methods)
    tests = test_images(settings.scale, settings.data_root, experiment.name)
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
        for finding in judge_recall(
            claim, found[claim.first][test, claim.regions], found[claim.second][test, claim.regions], test
        )
    ]
    title = f"Table {experiment.published.number}: {experiment.published.title} ({settings.scale} scale)"
    path = settings.folder / f"{experiment.name}.md"
    RecallPage(title, about, rows, findings, experiment.published.data, settings.dry).write(path)
    return path


def measure_seeds(
    method: Method, experiment: str, runner: Runner, drawn: int = 0, on_training: bool = False
) -> tuple[SeedRecalls, list[RunResult]]:
    """Recall of a row and results of its runs, seed by seed; once for a row that is not trained."""
    found: SeedRecalls = {}
    results: list[RunResult] = []
    for seed in range(runner.settings.seeds if method.recipe is not None else 1):
        recalls, result = runner.recalls(method, experiment, seed, drawn, on_training)
        for key, recall in recalls.items():
            found.setdefault(key, []).append(recall)
        results += [result] if result is not None else []
    return found, results


def trained_on(settings: Settings, experiment: str) -> list[str]:
    """The line of a page on training data and seeds."""
    specs = training_images(settings.scale, settings.data_root, experiment).specs
    return [f"- Trained on {' and '.join(f'`{spec}`' for spec in specs)}, with seeds 0 to {settings.seeds - 1}."]
