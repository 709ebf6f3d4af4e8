"""The paper's Figures 6 and 7: recall against IoU with 10, 100 and 1,000 masks an image, of the methods of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.curves import CURVE_THRESHOLDS, draw_recall_panels, render
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.files import write_whole
from reproduce.datasets import test_images
from reproduce.methods import EXPERIMENTS, Experiment
from reproduce.recall_page import COMPARED, MEASURED
from reproduce.recall_tables import measure_seeds, trained_on
from reproduce.report import DRY, json_text, markdown_table, mean_and_spread
from reproduce.runner import Runner, UnfinishedError


@dataclass(frozen=True)
class Curves:
    """A figure of the paper: the methods of a table, on the test sets of one kind of labels."""

    name: str
    number: int
    table: str  # the experiment whose methods and recall it shows
    labels: str  # what the names of its test sets begin with

    def experiment(self) -> Experiment:
        """The table's experiment."""
        return next(experiment for experiment in EXPERIMENTS if experiment.name == self.table)


FIGURES = {
    figure.name: figure for figure in (Curves("figure6", 6, "table3", "voc"), Curves("figure7", 7, "table5", "coco"))
}


def reproduce_figure(figure: Curves, runner: Runner) -> Path:
    """Run what is missing of the table, draw ``NAME-TEST.png``, and write ``NAME.md`` and ``NAME.json`` about them.

    Returns:
        Path of the page.
    """
    settings, experiment = runner.settings, figure.experiment()
    found: dict[str, Mapping[str, list[ImageRecall]]] = {}  # by label and test set, seed by seed
    about = [f"- `{settings.command(figure.name)}`", *trained_on(settings, experiment.name)]
    for method in experiment.methods:
        try:
            recalls, _ = measure_seeds(method, experiment.name, runner)
        except ModuleNotFoundError as error:  # a peer needs a package of its own
            about.append(f"- Left out: {method.label} ({error}; `pip install 'instancefcn[bench]'`).")
        except UnfinishedError:
            about.append(f"- **Not made yet: {method.label}.**")
        else:
            found[method.label] = {test: of_seeds for (test, iou), of_seeds in recalls.items() if iou == "segm"}
    tests = test_images(settings.scale, settings.data_root, experiment.name)
    title = f"Figure {figure.number}: recall against IoU ({settings.scale} scale)"
    lines = [f"# {title}", "", *([DRY, ""] if settings.dry else []), *about, _HOW, ""]
    table: dict[str, dict[str, list[list[float]]]] = {}
    for test in tests:
        of_test = {label: recalls[test] for label, recalls in found.items() if test in recalls}
        if not of_test or not test.lower().startswith(figure.labels):
            continue
        curves = {label: mean_curves(recalls) for label, recalls in of_test.items()}
        picture = settings.folder / f"{figure.name}-{test.split(',')[0].replace(' ', '-')}.png"
        write_whole(
            picture, render(draw_recall_panels(curves, f"Masks of {test}" + " (DRY RUN)" * settings.dry), "png")
        )
        body = [[label, str(len(recalls)), *averages(recalls)] for label, recalls in of_test.items()]
        header = ["", "seeds", *(f"AR_hosang@{limit}" for limit in MAX_PROPOSALS)]
        lines += [f"## {test}", "", f"![recall against IoU]({picture.name})", "", *markdown_table(header, body), ""]
        table[test] = {label: of_method.tolist() for label, of_method in curves.items()}
    page = settings.folder / f"{figure.name}.md"
    write_whole(page, "\n".join(lines))
    as_json = {"title": title, "dry_run": settings.dry, "iou": CURVE_THRESHOLDS.tolist(), "recall": table}
    write_whole(page.with_suffix(".json"), json_text(as_json))
    return page


def mean_curves(of_seeds: list[ImageRecall]) -> Float[np.ndarray, "n t"]:
    """Recall in percent over ``CURVE_THRESHOLDS``, one proposal to one instance; the mean over seeds."""
    return np.mean([recall.curves(CURVE_THRESHOLDS, one_to_one=True) for recall in of_seeds], axis=0)


def averages(of_seeds: list[ImageRecall]) -> list[str]:
    """Twice the area under each curve, which is what the table compares."""
    measures = [recall.measures() for recall in of_seeds]
    return [mean_and_spread([own[key].percent() for own in measures]) for key in MEASURED[COMPARED]]


_HOW = (
    "- Recall in percent with the best 10, 100 and 1,000 masks of an image, one proposal to one instance as Hosang's "
    "public code matches; means over seeds. `AR_hosang` is twice the area under a curve."
)
