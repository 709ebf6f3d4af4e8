"""AR against the number of training images: "fewer parameters, less overfitting" as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.curves import FILE_COLORS, empty_figure, render, style
from instancefcn.files import write_whole
from reproduce.datasets import TRAINING_SET, open_images, test_images, training_images
from reproduce.methods import DEEPMASK, OURS, Claim, Method
from reproduce.networks import mask_parameters
from reproduce.recall import pool
from reproduce.recall_page import RecallPage, RecallRow
from reproduce.recall_tables import REGIONS, SeedRecalls, measure_seeds, trained_on
from reproduce.report import picture_name
from reproduce.run import RunResult
from reproduce.runner import MEASURED_TRAINING_IMAGES, Runner, UnfinishedError
from reproduce.verdict import MEASURES, judge_change, judge_recall

SIZES_NAME = "sizes"
SIZES = (50, 100, 200, 400, 0)  # images to train on; 0 for all
SIZE_METHODS = (DEEPMASK, OURS)

# By method, number of training images and seed.
BySize = Mapping[str, Mapping[int, Sequence[ImageRecall]]]


def reproduce_sizes(runner: Runner) -> Path:
    """AR against the number of training images: ``sizes.md``, ``sizes.json``, and a curve of each test set.

    They are written anew after every size. The fewest and the most images come first, as the claim compares these.
    """
    settings = runner.settings
    total = sum(len(source) for source in open_images(training_images(settings.scale, settings.data_root, SIZES_NAME)))
    sizes = sorted({size or total for size in SIZES if size <= total})
    if settings.dry:
        sizes = [2, total]
    found: dict[tuple[str, int], SeedRecalls] = {}
    results: dict[tuple[str, int], list[RunResult]] = {}
    order = list(dict.fromkeys([sizes[0], sizes[-1], *sizes]))
    missing = list(order)
    page = _write_sizes(runner, found, results, total, missing) if settings.finished else None
    for size in order:
        try:
            of_methods = {method.slug: _measured(method, runner, size % total) for method in SIZE_METHODS}
        except UnfinishedError:
            continue
        missing.remove(size)
        for slug, measured in of_methods.items():
            found[slug, size], results[slug, size] = measured
        page = _write_sizes(runner, found, results, total, missing)
    assert page is not None, "a run that is not finished is made"
    return page


def _measured(method: Method, runner: Runner, drawn: int) -> tuple[SeedRecalls, list[RunResult]]:
    """Recall of each seed, also on training images, unless only a table's run is there, whose weights are gone.

    Raises:
        UnfinishedError: as ``measure_seeds``.
    """
    try:
        return measure_seeds(method, SIZES_NAME, runner, drawn, True)
    except UnfinishedError:
        return measure_seeds(method, SIZES_NAME, runner, drawn)


def _write_sizes(
    runner: Runner,
    found: Mapping[tuple[str, int], SeedRecalls],
    results: Mapping[tuple[str, int], Sequence[RunResult]],
    total: int,
    missing: Sequence[int],
) -> Path:
    """Write the page, its JSON and the curves of the sizes that are measured."""
    settings = runner.settings
    sizes = sorted({size for _, size in found})
    tests = [*test_images(settings.scale, settings.data_root, SIZES_NAME), TRAINING_SET]
    rows = [
        RecallRow(
            test=test,
            regions=REGIONS["segm"],
            method=f"{method.label}, {size} images",
            recalls=tuple(found[method.slug, size][test, "segm"]),
            mask_parameters=mask_parameters(runner.recipe(method, 0).network),
            iterations=tuple(result.iterations for result in results[method.slug, size]),
            minutes=tuple(result.seconds / 60 for result in results[method.slug, size]),
        )
        for method in SIZE_METHODS
        for size in sizes
        for test in tests
        if (test, "segm") in found[method.slug, size]
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
        if len(sizes) > 1:
            ends = sizes[0], sizes[-1]
            seeds = min(len(found[method.slug, size][test, "segm"]) for method in SIZE_METHODS for size in ends)
            gaps = [
                (pool(found[ours.slug, size][test, "segm"][:seeds]), pool(found[peer.slug, size][test, "segm"][:seeds]))
                for size in ends
            ]
            findings += judge_change(f"the gap is larger from {ends[0]} images than from {ends[1]}", gaps, test)
        on_test, on_training = (
            {
                method.label: {
                    size: found[method.slug, size][name, "segm"]
                    for size in sizes
                    if (name, "segm") in found[method.slug, size]
                }
                for method in SIZE_METHODS
            }
            for name in (test, TRAINING_SET)
        )
        picture = draw_sizes(on_test, on_training, MEASURES[1], f"Masks of {test}" + " (DRY RUN)" * settings.dry)
        write_whole(settings.folder / picture_name(SIZES_NAME, test), picture)
    title = f"AR against the number of training images ({settings.scale} scale)"
    about = [
        f"- `{settings.command(SIZES_NAME)}`",
        *trained_on(settings, SIZES_NAME),
        f"- Training images: up to {MEASURED_TRAINING_IMAGES} of those that the run was trained on. A smaller set is "
        f"part of the larger ones of its seed; all are {total}. Where only a run of Table 2 is there, none of "
        "them are measured.",
        *([f"- **Not made yet: {', '.join(map(str, missing))} images.**"] if missing else []),
    ]
    path = settings.folder / f"{SIZES_NAME}.md"
    RecallPage(title, about, rows, findings, "does not measure this", settings.dry).write(path)
    return path


def draw_sizes(on_test: BySize, on_training: BySize, measure: str, title: str) -> bytes:
    """A PNG: AR of each method over the number of images; dashed lines show AR on training images.

    Args:
        measure: such as ``hosang/AR_hosang@100``.
    """
    figure = empty_figure(6.4, 4.8)
    axes = figure.add_subplot()
    for results, line in ((on_test, "solid"), (on_training, "dashed")):
        for (method, by_size), color in zip(results.items(), FILE_COLORS, strict=False):
            sizes = sorted(by_size)
            values = [[recall.measures()[measure].percent() for recall in by_size[size]] for size in sizes]
            label = method if line == "solid" else f"{method}, on training images"
            axes.plot(sizes, [np.mean(of_seeds) for of_seeds in values], color=color, linestyle=line, label=label)
            for size, of_seeds in zip(sizes, values, strict=True):
                axes.plot([size] * len(of_seeds), of_seeds, ".", color=color, markersize=5)
    style(axes, title, "training images", f"{measure.rpartition('/')[2]} (%)")
    axes.set(xscale="log", ylim=(0, None))
    ticks = sorted({size for by_size in on_test.values() for size in by_size})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9)
    return render(figure, "png")
