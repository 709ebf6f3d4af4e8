"""What each source of training data does for `lite`: the tries towards the next shipped checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from instancefcn.evaluation.average_recall import AVERAGES, ImageRecall
from reproduce.datasets import ImageSelection, coco_split
from reproduce.recall import pool
from reproduce.recipe import load_recipe
from reproduce.report import average_recalls, markdown_table, write_page
from reproduce.run import RunResult
from reproduce.runner import Runner

SOURCES_NAME = "sources"
TODAY = ("coco-mini", "coco-partial", "animals", "pennfudan")
FURTHER = ("coco-extra", "tabletop-rmgc", "facade")
ROWS = {"today": (), **{name: (name,) for name in FURTHER}, "all": FURTHER}  # beside TODAY
PARTIAL = ("coco-partial", "animals")  # objects may be unlabelled
LABEL_MAPS = ("pennfudan", "nuclei")
TESTS = ("coco-mini", "animals", "pennfudan")  # of a kind that is trained on
UNSEEN = ("corn", "food", "aerial-buildings", "nuclei")


def reproduce_sources(runner: Runner) -> Path:
    """Train and measure what is missing, and write ``sources.md`` and ``sources.json``."""
    settings = runner.settings
    found: dict[str, tuple[dict[str, ImageRecall], list[RunResult]]] = {}
    for row in ROWS:
        if seeds := runner.of_seeds(partial(try_sources, runner, row)):
            pooled = {test: pool([recalls[test] for recalls, _ in seeds]) for test in seeds[0][0]}
            found[row] = pooled, [result for _, result in seeds]
    note = (
        f"Every row trains on {', '.join(TODAY)} (train) and on what it is called after, from ImageNet weights. "
        f"Nothing trains on {', '.join(UNSEEN)}. COCO's AR@10 / 100 / 1000 of masks, of val."
    )
    table = markdown_table(
        ["beside today's sources", *test_sets(settings.data_root), "steps", "minutes"],
        [
            [
                row,
                *(" ".join(average_recalls([recall], AVERAGES["COCO AR"])) for recall in recalls.values()),
                str(results[0].iterations),
                f"{sum(result.seconds for result in results) / len(results) / 60:.1f}",
            ]
            for row, (recalls, results) in found.items()
        ],
    )
    rows = {
        row: {test: recall.metrics()["coco"] for test, recall in recalls.items()} for row, (recalls, _) in found.items()
    }
    kept = {"dry_run": settings.dry, "rows": rows}
    return write_page(settings, SOURCES_NAME, "Sources of training data for `lite`", [note], table, kept)


def try_sources(runner: Runner, row: str, seed: int) -> tuple[dict[str, ImageRecall], RunResult]:
    """Train `lite` on a row's sources, and measure it on every test set.

    Raises:
        ValueError: the scale is not mini; the paper has no such preset.
        UnfinishedError: see ``Runner.train``.
    """
    settings = runner.settings
    if settings.scale != "mini":
        raise ValueError(f"{SOURCES_NAME} trains the lite preset, which the paper does not have: leave --scale at mini")
    train, tests = sources_of(row, settings.data_root), test_sets(settings.data_root)
    recipe = settings.apply(load_recipe("lite"), seed)
    recalls, result = runner.train_and_measure(f"{SOURCES_NAME}-{row}-seed{seed}", recipe, train, tests, ["segm"])
    return {test: recalls[test, "segm"] for test in tests}, result


def sources_of(row: str, root: Path) -> ImageSelection:
    """What a row trains on."""
    return ImageSelection(
        tuple("partial+" * (name in PARTIAL) + _spec(name, "train", root) for name in (*TODAY, *ROWS[row]))
    )


def test_sets(root: Path) -> dict[str, ImageSelection]:
    """What every row is measured on, by name."""
    specs = {name: _spec(name, "val", root) for name in TESTS}
    specs["voc2007"] = f"voc:{root}/voc2007/VOCdevkit/VOC2007,val"
    specs |= {name: _spec(name, "val", root) for name in UNSEEN}
    return {name: ImageSelection((spec,)) for name, spec in specs.items()}


def _spec(name: str, split: str, root: Path) -> str:
    return f"labels:{root}/{name}/{split}" if name in LABEL_MAPS else coco_split(name, split, root)
