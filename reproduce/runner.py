"""Runs and measurements of the experiments in one folder: what is there is read, what is not is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from instancefcn.data.source import FileSource
from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.regions import IouType
from instancefcn.inference.export import to_coco_results
from instancefcn.model.network import InstanceFCN
from reproduce.datasets import (
    TRAINING_SET,
    ImageSelection,
    Scale,
    merge,
    open_images,
    test_images,
    training_images,
)
from reproduce.deepmask import DeepMask
from reproduce.methods import Method
from reproduce.networks import build_network, load_proposer
from reproduce.peers import selective_search
from reproduce.recall import MAX_PROPOSALS, Propose, load_recall, measure, save_recall
from reproduce.recipe import CropConfig, ExperimentRecipe, load_recipe
from reproduce.run import RunPlan, RunResult, carry_out

DRY_SIDES = (96.0,)
MEASURED_TRAINING_IMAGES = 25  # of those that a run was trained on

Recalls = dict[tuple[str, IouType], ImageRecall]  # by test set, of masks and of boxes


@dataclass(frozen=True)
class Settings:
    """What a person asks of a reproduction."""

    scale: Scale
    data_root: Path
    out: Path
    seeds: int = 1
    iterations: int | None = None  # of every row, instead of the recipes'
    minutes: float | None = None  # of every row, instead of iterations
    processes: int = 1
    device: str = "auto"
    workers: int = 1
    dry: bool = False  # two steps, two images, random weights

    @property
    def folder(self) -> Path:
        """Where the results of this scale go."""
        return self.out / (f"{self.scale}-dry" if self.dry else self.scale)

    def command(self, experiment: str) -> str:
        """What makes a table."""
        budget = f" --iterations {self.iterations}" if self.iterations else ""
        budget += f" --minutes {self.minutes:g}" if self.minutes else ""
        budget += " --dry-run" * self.dry
        command = f"python -m reproduce {experiment} --scale {self.scale} --data-root {self.data_root}"
        return f"{command} --out {self.out} --seeds {self.seeds}{budget}"


class Runner:
    """Makes runs and measurements that are not in the folder yet.

    Args:
        report: told what begins.
    """

    def __init__(self, settings: Settings, report: Callable[[str], None] = lambda text: None) -> None:
        self.settings = settings
        self.report = report
        self.open_test = cache(self._open_test)

    def recipe(self, method: Method, seed: int) -> ExperimentRecipe:
        """What a row is trained by."""
        assert method.recipe is not None
        recipe = load_recipe(f"{self.settings.scale}{method.recipe}")
        return self.as_asked(replace(recipe, network=replace(recipe.network, k=method.k)), seed)

    def as_asked(self, recipe: ExperimentRecipe, seed: int) -> ExperimentRecipe:
        """A recipe with a seed, the iterations that were asked for, and in small for a dry run."""
        recipe, settings = replace(recipe, seed=seed), self.settings
        if settings.iterations is not None:
            optimization = replace(recipe.optimization, iterations=settings.iterations)
            recipe = replace(recipe, optimization=optimization)
        return dry(recipe, settings.processes) if settings.dry else recipe

    def run(self, method: Method, experiment: str, seed: int, drawn: int = 0) -> tuple[Path, RunResult, ImageSelection]:
        """The folder of a trained row, what became of the run, and the images it was trained on.

        Args:
            drawn: train on so many of the images; 0 for all.
        """
        settings = self.settings
        images = replace(training_images(settings.scale, settings.data_root, experiment), drawn=drawn, seed=seed)
        name = f"{method.slug}{self._trained_on(experiment)}{f'-n{drawn}' if drawn else ''}-seed{seed}"
        return *self.train(name, self.recipe(method, seed), images, settings.minutes or 0.0), images

    def train(
        self, name: str, recipe: ExperimentRecipe, images: ImageSelection, minutes: float
    ) -> tuple[Path, RunResult]:
        """The folder of a run, and what became of it.

        Args:
            recipe: from ``as_asked``.
            minutes: instead of the recipe's iterations; 0 for those, as in a dry run.
        """
        settings = self.settings
        run = RunPlan(
            recipe=recipe,
            images=images,
            minutes=minutes * (not settings.dry),
            imagenet=not settings.dry,
            device=settings.device,
            workers=settings.workers,
        )
        folder = settings.folder / "runs" / name
        self.report(f"{name}: {folder}")
        return folder, carry_out(run, folder, settings.processes)

    def recalls(
        self, method: Method, experiment: str, seed: int = 0, drawn: int = 0, on_training: bool = False
    ) -> tuple[Recalls, RunResult | None]:
        """What a row finds of every test set, and the run it comes from, if it was trained.

        Args:
            drawn: train on so many of the images; 0 for all.
            on_training: measure on some of the images that it was trained on, too (``TRAINING_SET``).

        Raises:
            ModuleNotFoundError: a package that only this row needs is not installed.
        """
        settings = self.settings
        folder, result, checkpoint = settings.folder / "runs" / method.slug, None, None
        tests = test_images(settings.scale, settings.data_root, experiment)
        if method.recipe is not None:
            folder, result, trained_on = self.run(method, experiment, seed, drawn)
            checkpoint = folder / "best.safetensors"
            if on_training:
                measured = min(drawn or MEASURED_TRAINING_IMAGES, MEASURED_TRAINING_IMAGES)
                tests[TRAINING_SET] = replace(trained_on, drawn=measured)
        ious: tuple[IouType, ...] = ("bbox",) if method.only_boxes else ("segm", "bbox")
        found: Recalls = {}
        for test, images in tests.items():
            paths: dict[IouType, Path] = {iou: folder / f"{_file_name(test)}-{iou}.npz" for iou in ious}
            if not all(path.exists() for path in paths.values()):
                propose = selective_search if method.only_boxes else proposals_of(checkpoint, settings.device)
                made = measure(propose, self.open_test(images), ious, f"{folder.name}, {test}")
                for iou, path in paths.items():
                    save_recall(made[iou], path)
            found |= {(test, iou): load_recall(path) for iou, path in paths.items()}
        return found, result

    def _open_test(self, images: ImageSelection) -> FileSource:
        return merge(open_images(replace(images, first=2) if self.settings.dry else images))

    def _trained_on(self, experiment: str) -> str:
        """Part of a run's name where a scale has several training sets."""
        return "-coco" if self.settings.scale == "paper" and experiment == "table5" else ""


def dry(recipe: ExperimentRecipe, processes: int) -> ExperimentRecipe:
    """The same network on small images for two steps."""
    return replace(
        recipe,
        augmentation=replace(recipe.augmentation, shorter_sides=DRY_SIDES, draw="one_of"),
        crops=CropConfig(min(recipe.crops.per_image, 2)),
        optimization=replace(recipe.optimization, iterations=2, batch_size=processes),
        inference=replace(recipe.inference, shorter_sides=DRY_SIDES, candidates=20, nms_candidates=20),
    )


def proposals_of(checkpoint: Path | None, device: str) -> Propose:
    """A network's proposals as COCO results; None for the checkpoint that is shipped."""
    proposer, _ = load_proposer(checkpoint, usable(device))
    return lambda image, image_id: to_coco_results(proposer(image, max_proposals=MAX_PROPOSALS), image_id)


def usable(device: str) -> str:
    """``auto`` is a GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def mask_parameters(recipe: ExperimentRecipe) -> int:
    """Weights of the layer that makes masks: paper 3.3 has 0.1 million, ~DeepMask 53 million."""
    with torch.device("meta"):  # shapes without memory
        network = build_network(recipe.network)
    if isinstance(network, DeepMask):
        layers = [network.mask_layer.reduce, network.mask_layer.expand]
    else:
        assert isinstance(network, InstanceFCN)
        layers = [network.mask_head[-1]]
    return sum(layer.weight.numel() for layer in layers)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def _file_name(test: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in test.lower())
