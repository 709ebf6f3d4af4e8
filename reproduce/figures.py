"""The paper's Figures 6 and 7: recall against IoU with 10, 100 and 1,000 masks an image, of the methods of a table."""

from __future__ import annotations

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
from reproduce.recall_tables import measure_methods, trained_on
from reproduce.report import DRY, average_recalls, json_text, markdown_table, picture_name
from reproduce.runner import Runner


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
    measured, _, left_out = measure_methods(experiment, runner)
    about = [f"- `{settings.command(figure.name)}`", *trained_on(settings, experiment.name), *left_out]
    # By label and test set, seed by seed.
    found = {
        method.label: {test: of_seeds for (test, iou), of_seeds in measured[method.slug].items() if iou == "segm"}
        for method in experiment.methods
        if method.slug in measured
    }
    tests = test_images(settings.scale, settings.data_root, experiment.name)
    title = f"Figure {figure.number}: recall against IoU ({settings.scale} scale)"
    lines = [f"# {title}", "", *([DRY, ""] if settings.dry else []), *about, _HOW, ""]
    table: dict[str, dict[str, list[list[float]]]] = {}
    for test in tests:
        of_test = {label: recalls[test] for label, recalls in found.items() if test in recalls}
        if not of_test or not test.lower().startswith(figure.labels):
            continue
        curves = {label: mean_curves(recalls) for label, recalls in of_test.items()}
        picture = settings.folder / picture_name(figure.name, test)
        write_whole(
            picture, render(draw_recall_panels(curves, f"Masks of {test}" + " (DRY RUN)" * settings.dry), "png")
        )
        keys = MEASURED[COMPARED]  # twice the area under each curve
        body = [[label, str(len(recalls)), *average_recalls(recalls, keys)] for label, recalls in of_test.items()]
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


_HOW = (
    "- Recall in percent with the best 10, 100 and 1,000 masks of an image, one proposal to one instance as Hosang's "
    "public code matches; means over seeds. `AR_hosang` is twice the area under a curve."
)
