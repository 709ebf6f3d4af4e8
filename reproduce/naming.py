"""Runs and measurements of Table 4: classifiers on a network's proposals, and the precision of their segments."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from instancefcn.classifier.checkpoint import ProposalNetwork, load_classifier
from instancefcn.classifier.config import ClassifierRecipe, NamingConfig, load_classifier_recipe
from instancefcn.classifier.segmenter import Segmenter
from instancefcn.classifier.training import train_classifier
from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.devices import choose_device
from instancefcn.evaluation.average_precision import coco_precision
from instancefcn.evaluation.results import split_by_category
from instancefcn.files import write_whole
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
from instancefcn.inference.config import InferenceConfig
from reproduce.datasets import ImageSelection, Scale, named_images, open_images
from reproduce.image_precision import ImagePrecision
from reproduce.kept import KeptProposals, ProposalsOf, masks_of
from reproduce.methods import Method
from reproduce.networks import load_proposer
from reproduce.proposing import IdentifiedProposer
from reproduce.run import RESULT_FILE, reserve
from reproduce.runner import Runner
from reproduce.settings import DRY_SIDES

TABLE_4_NAME = "table4"
NETWORK_SEED = 0  # of the networks that propose; `--seeds` counts classifiers
MAX_SEGMENTS, MIN_SCORE = 100, 0.01  # of an image, as `instancefcn segment` has them


@dataclass(frozen=True)
class Naming:
    """One row of Table 4: whose proposals are named, and how.

    The classifier was trained on proposals of the same method, also where it names labelled masks.
    """

    method: Method
    n: int = 300  # proposals of an image that are named, best first
    voted: bool = True
    suppressed: bool = True
    ground_truth: bool = False  # name labelled masks instead of proposals; then every error is the classifier's

    @property
    def slug(self) -> str:
        """Name of its measurements."""
        masks = "labelled-masks" if self.ground_truth else f"n{self.n}"
        return (
            f"{self.method.slug}-{masks}{'' if self.voted else '-unvoted'}{'' if self.suppressed else '-unsuppressed'}"
        )

    @property
    def label(self) -> str:
        """First cell of its row."""
        without = [name for name, done in (("suppression", self.suppressed), ("voting", self.voted)) if not done]
        masks = "labelled masks in place of proposals" if self.ground_truth else f"{self.method.label}; N = {self.n}"
        return masks + (f", no {' and no '.join(without)}" if without else "")


@dataclass(frozen=True)
class ClassifierPlan:
    """Everything that decides what a classifier becomes, written to ``run.json``."""

    recipe: ClassifierRecipe
    images: ImageSelection
    proposals: ProposalNetwork
    inference: InferenceConfig  # how the network proposes


@dataclass(frozen=True)
class NamingResult:
    """Precision of one row on one data set, for one seed."""

    precision: ImagePrecision
    coco_ap: float
    seconds: float  # of training the classifier, without proposing


class NamingRunner:
    """Trains and measures classifiers that are not in the folder yet, on networks of a ``Runner``."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.settings = runner.settings
        self.device = choose_device(runner.settings.device)
        self.proposing = cache(self._proposing)

    def measure(self, naming: Naming, data: str, seed: int) -> NamingResult:
        """Train and measure what is missing of one row, data set and seed."""
        network = self.proposing(naming.method)
        name = f"names-{slug_of(data)}-{naming.method.slug}-{network.identity.fingerprint}-{network.config_digest}"
        folder = self.settings.folder / "runs" / name
        train, test = named_images(self.settings.scale, self.settings.data_root)[data]
        classifier, seconds = self._classifier(network, train, folder, seed)
        path = classifier.parent / f"{naming.slug}.npz"
        if not path.exists():
            kept = KeptProposals(network.proposer, folder / "proposals")
            named = load_classifier(classifier)
            segmenter = Segmenter(network.proposer, named.build(), naming_config(named.naming, naming))
            proposals_of = masks_of if naming.ground_truth else kept
            shown = f"{name}, seed {seed}, {naming.slug}"
            save_precision(*measure(segmenter, proposals_of, self.runner.open_test(test), shown), path)
        return NamingResult(*load_precision(path), seconds)

    def _proposing(self, method: Method) -> IdentifiedProposer:
        """The proposer of a method: shipped, or trained by the same run as for the other tables."""
        path = SHIPPED_CHECKPOINT
        if method.recipe is not None:
            path = self.runner.run(method, TABLE_4_NAME, NETWORK_SEED) / "best.safetensors"
        return IdentifiedProposer(*load_proposer(path, self.device))

    def _classifier(
        self, network: IdentifiedProposer, images: ImageSelection, folder: Path, seed: int
    ) -> tuple[Path, float]:
        """A classifier's file, and the seconds of its training. Proposals are kept for the next seed."""
        dry, own = self.settings.dry, folder / f"seed{seed}"
        run = ClassifierPlan(
            classifier_recipe(self.settings.scale, seed, dry),
            replace(images, first=2) if dry else images,
            network.identity,
            network.proposer.config,
        )
        reserve(own, run)
        result, shown = own / RESULT_FILE, f"{folder.name}, seed {seed}"
        if not result.exists():
            self.runner.report(f"{shown}: {own}")
            watch = Stopwatch()
            train_classifier(
                run.recipe,
                open_images(run.images),
                network.proposer,
                network.identity,
                own,
                cache=folder / "cache",
                imagenet=not dry,
                report=self.runner.report,
                track_images=partial(track, description=f"{shown}: proposing", transient=True),
                track_steps=lambda steps: watch(track(steps, description=f"{shown}: training", transient=True)),
            )
            write_whole(result, json.dumps({"seconds": watch.seconds}))
        return own / "classifier.safetensors", json.loads(result.read_text(encoding="utf-8"))["seconds"]


class Stopwatch:
    """Measures the seconds that iterating takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, items: Iterable[int]) -> Iterable[int]:
        start = time.perf_counter()
        for item in items:
            yield item
            self.seconds = time.perf_counter() - start


def classifier_recipe(scale: Scale, seed: int, dry: bool) -> ClassifierRecipe:
    """The small head at ``mini`` scale, the paper's at ``paper`` scale; for a dry run narrow, and on small images."""
    recipe = replace(load_classifier_recipe("paper" if scale == "paper" else "lite"), seed=seed)
    if not dry:
        return recipe
    return replace(
        recipe,
        classifier=replace(recipe.classifier, width=16, shorter_side=DRY_SIDES[0]),
        learning=replace(recipe.learning, epochs=1),
        naming=replace(recipe.naming, proposals=10),
    )


def naming_config(config: NamingConfig, naming: Naming) -> NamingConfig:
    """A classifier's naming config, as a row changes it."""
    return replace(
        config,
        proposals=naming.n,
        nms_threshold=config.nms_threshold if naming.suppressed else 1.0,  # no IoU is above
        vote_threshold=config.vote_threshold if naming.voted else 0.0,
    )


def measure(segmenter: Segmenter, proposals_of: ProposalsOf, source: Source, name: str) -> tuple[ImagePrecision, float]:
    """Precision of the segments of all images, and COCO's AP in percent."""
    results: list[dict[str, Any]] = []
    for index in track(range(len(source)), description=name, transient=True):
        proposals = proposals_of(source, index)
        image = source.image(index)
        segments = segmenter.name(image, proposals, max_segments=MAX_SEGMENTS, min_score=MIN_SCORE)
        results += segments.to_coco(source.labels(index).image_id)
    categories = split_by_category(source_to_coco(source), results, sources=(source.name, name))
    return ImagePrecision.of(categories), coco_precision(categories, "segm")["AP"]


def save_precision(precision: ImagePrecision, coco_ap: float, path: Path) -> None:
    """Write arrays, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, coco_ap=coco_ap, **vars(precision))
    write_whole(path, buffer.getvalue())


def load_precision(path: Path) -> tuple[ImagePrecision, float]:
    """Inverse of ``save_precision``."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    coco_ap = float(arrays.pop("coco_ap"))
    return ImagePrecision(**arrays), coco_ap


def slug_of(name: str) -> str:
    """A data set's name as part of a folder's name."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
