"""Runs and measurements of the experiments in one folder: what is there is read, what is missing is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from instancefcn.data.source import FileSource
from instancefcn.devices import choose_device
from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.regions import IouType
from instancefcn.files import read_json
from reproduce.datasets import (
    TRAINING_SET,
    ImageSelection,
    merge,
    open_images,
    test_images,
    training_images,
)
from reproduce.methods import Method
from reproduce.networks import load_proposer
from reproduce.peers import selective_search
from reproduce.recall import MAX_PROPOSALS, Propose, holds_recall, load_recall, measure, measured_seconds, save_recall
from reproduce.recipe import ExperimentRecipe, load_recipe
from reproduce.run import RESULT_FILE, RunPlan, RunResult, carry_out
from reproduce.selective_search import propose_masks
from reproduce.settings import Settings
from reproduce.speed import Speed, device_name, save_speed

MEASURED_TRAINING_IMAGES = 25  # at most
RATES_NAME = "rates"

Recalls = dict[tuple[str, IouType], ImageRecall]  # by test set and by masks or boxes
Kept = TypeVar("Kept")


class UnfinishedError(Exception):
    """A run or its measurement is not there yet."""


class Runner:
    """Trains and measures what is not in the folder yet.

    Args:
        report: is told which run begins.
    """

    def __init__(self, settings: Settings, report: Callable[[str], None] = lambda text: None) -> None:
        self.settings = settings
        self.report = report
        self.open_test = cache(self._open_test)

    def of_seeds(self, of_seed: Callable[[int], Kept]) -> list[Kept]:
        """What there is of each seed; one that is not finished is left out."""
        found: list[Kept] = []
        for seed in range(self.settings.seeds):
            with suppress(UnfinishedError):
                found.append(of_seed(seed))
        return found

    def recipe(self, method: Method, seed: int, experiment: str = "") -> ExperimentRecipe:
        """The recipe of a row, as the settings change it; that of the experiment where it has images of its own."""
        assert method.recipe is not None
        recipe = load_recipe(f"{self.settings.scale}{self._trained_on(experiment)}{method.recipe}")
        if self.settings.searched_rates:
            rate = recipe.optimization.learning_rate * searched_factor(
                self.settings.folder, method.rate_of or method.slug
            )
            recipe = replace(recipe, optimization=replace(recipe.optimization, learning_rate=rate))
        return self.settings.apply(replace(recipe, network=replace(recipe.network, k=method.k)), seed)

    def run(self, method: Method, experiment: str, seed: int) -> Path:
        """Train a row on all images. Its folder, which has ``best.safetensors``."""
        name, images = self._run_of(method, experiment, seed, 0)
        recipe = self.recipe(method, seed, experiment)
        return self.train(name, recipe, images, self.settings.minutes or 0.0, with_weights=True)[0]

    def folder(self, method: Method, experiment: str, seed: int = 0, drawn: int = 0) -> Path:
        """Where a row with this seed is kept; a row that is not trained has but one."""
        name = method.slug if method.recipe is None else self._run_of(method, experiment, seed, drawn)[0]
        return self.settings.folder / "runs" / name

    def _run_of(self, method: Method, experiment: str, seed: int, drawn: int) -> tuple[str, ImageSelection]:
        """Name and images of a row's run."""
        settings = self.settings
        images = replace(training_images(settings.scale, settings.data_root, experiment), drawn=drawn, seed=seed)
        return f"{method.slug}{self._trained_on(experiment)}{f'-n{drawn}' if drawn else ''}-seed{seed}", images

    def train(
        self, name: str, recipe: ExperimentRecipe, images: ImageSelection, minutes: float, with_weights: bool = False
    ) -> tuple[Path, RunResult]:
        """Train a network. Its folder and its result.

        Args:
            recipe: from ``Settings.apply``.
            minutes: instead of the recipe's iterations; 0 for the iterations.
            with_weights: see ``carry_out``.

        Raises:
            UnfinishedError: the run is not done, and the settings say to read what is there.
        """
        settings = self.settings
        run = RunPlan(
            recipe=recipe,
            images=images,
            minutes=minutes * (not settings.dry),
            imagenet=not settings.dry,
            data_root=str(settings.data_root),
            device=settings.device,
            workers=settings.workers,
        )
        folder = settings.folder / "runs" / name
        wanted = [folder / RESULT_FILE, *[folder / "best.safetensors"] * with_weights]
        if settings.finished and not all(path.exists() for path in wanted):
            raise UnfinishedError(folder)
        self.report(f"{name}: {folder}")
        return folder, carry_out(run, folder, settings.processes, with_weights)

    def recalls(
        self, method: Method, experiment: str, seed: int = 0, drawn: int = 0, on_training: bool = False
    ) -> tuple[Recalls, RunResult | None]:
        """Recall of a row on every test set, and the result of its run if it was trained.

        Args:
            drawn: train on so many of the images; 0 for all.
            on_training: measure on some of the training images, too (``TRAINING_SET``).

        Raises:
            ModuleNotFoundError: the row needs a package that is not installed.
        """
        settings = self.settings
        tests = test_images(settings.scale, settings.data_root, experiment)
        if method.recipe is None:
            folder = self.folder(method, experiment)
            if method.search == "boxes":
                return self.measure(folder, lambda: selective_search, tests, ["bbox"], "cpu"), None
            if method.search == "masks":
                return self.measure(folder, lambda: propose_masks, tests, ["segm"], "cpu"), None
            return self.measure(folder, partial(proposals_of, None, settings.device), tests, ["segm", "bbox"]), None
        name, images = self._run_of(method, experiment, seed, drawn)
        if on_training:
            measured = min(drawn or MEASURED_TRAINING_IMAGES, MEASURED_TRAINING_IMAGES)
            tests[TRAINING_SET] = replace(images, drawn=measured)
        return self.train_and_measure(name, self.recipe(method, seed, experiment), images, tests, ("segm", "bbox"))

    def train_and_measure(
        self,
        name: str,
        recipe: ExperimentRecipe,
        images: ImageSelection,
        tests: Mapping[str, ImageSelection],
        ious: Sequence[IouType],
        minutes: float | None = None,
    ) -> tuple[Recalls, RunResult]:
        """Train a network and measure it on test sets.

        Args:
            name: of the run's folder.
            recipe: from ``Settings.apply``.
            minutes: see ``train``; the settings' if there are none.

        Raises:
            UnfinishedError: see ``train``.
        """
        minutes = self.settings.minutes or 0.0 if minutes is None else minutes
        folder = self.settings.folder / "runs" / name
        measured = all(holds_recall(path) for test in tests for path in recall_paths(folder, test, ious).values())
        _, result = self.train(name, recipe, images, minutes, with_weights=not measured)
        make = partial(proposals_of, folder / "best.safetensors", self.settings.device)
        return self.measure(folder, make, tests, ious), result

    def measure(
        self,
        folder: Path,
        make: Callable[[], Propose],
        tests: Mapping[str, ImageSelection],
        ious: Sequence[IouType],
        device: str = "",
    ) -> Recalls:
        """Recall of a method on test sets, kept in the folder with the seconds that it takes.

        Args:
            make: the function that proposes; called where something is to be measured.
            device: on which it proposes; the settings' if there is none.

        Raises:
            UnfinishedError: the recall is not there, and the settings say to read what is there.
        """
        settings = self.settings
        found: Recalls = {}
        for test, images in tests.items():
            paths = recall_paths(folder, test, ious)
            if not all(holds_recall(path) for path in paths.values()):
                if settings.finished:
                    raise UnfinishedError(folder)
                parts = folder / f"{file_name(test)}-parts"
                made = measure(make(), self.open_test(images), ious, f"{folder.name}, {test}", parts)
                for iou, path in paths.items():
                    save_recall(made[iou], path)
                on = device_name(choose_device(device or settings.device))
                save_speed(Speed(on, tuple(measured_seconds(parts))), speed_path(folder, test))
                rmtree(parts)
            found |= {(test, iou): load_recall(path) for iou, path in paths.items()}
        return found

    def _open_test(self, images: ImageSelection) -> FileSource:
        return merge(open_images(replace(images, first=2) if self.settings.dry else images))

    def _trained_on(self, experiment: str) -> str:
        """What names of runs and recipes say of an experiment that has images and scales of its own."""
        return "-coco" if self.settings.scale == "paper" and experiment == "table5" else ""


def proposals_of(checkpoint: Path | None, device: str) -> Propose:
    """A function that gives a network's proposals as COCO results; None for the shipped checkpoint."""
    proposer, _ = load_proposer(checkpoint, choose_device(device))
    return lambda image, image_id: proposer(image, max_proposals=MAX_PROPOSALS).to_coco(image_id)


def searched_factor(folder: Path, slug: str) -> float:
    """The best factor on a row's learning rate, from ``rates.json`` in the folder.

    Raises:
        ValueError: the search is not done.
    """
    path = folder / f"{RATES_NAME}.json"
    best = read_json(path)["best"] if path.exists() else {}
    if slug not in best:
        raise ValueError(f"{path} has no learning rate for {slug} yet: run python -m reproduce {RATES_NAME} first")
    return best[slug]


def recall_paths(folder: Path, test: str, ious: Sequence[IouType]) -> dict[IouType, Path]:
    """Files of a network's recall on a test set."""
    return {iou: folder / f"{file_name(test)}-{iou}.npz" for iou in ious}


def speed_path(folder: Path, test: str) -> Path:
    """File of the seconds that a method takes for each image of a test set."""
    return folder / f"{file_name(test)}-seconds.json"


def file_name(test: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in test.lower())
