"""Table 4's runs and measurements: classifiers on a network's proposals, and the precision of what they name."""

from __future__ import annotations

import hashlib
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
from instancefcn.config import to_table
from instancefcn.data import Source, source_to_coco
from instancefcn.evaluation.average_precision import coco_precision
from instancefcn.evaluation.results import split_by_category
from instancefcn.files import write_whole
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.export import to_coco_results
from instancefcn.inference.proposer import Proposer
from reproduce.datasets import ImageSelection, Scale, named_images, open_images
from reproduce.image_precision import ImagePrecision
from reproduce.kept import KeptProposals, ProposalsOf, masks_of
from reproduce.methods import Method
from reproduce.networks import load_proposer
from reproduce.run import RESULT_FILE, reserve
from reproduce.runner import DRY_SIDES, Runner, usable

TABLE_4_NAME = "table4"
NETWORK_SEED = 0  # of the networks that propose: `--seeds` are the classifiers'
MAX_SEGMENTS, MIN_SCORE = 100, 0.01  # of an image: what `instancefcn segment` writes


@dataclass(frozen=True)
class Naming:
    """One row of Table 4: whose proposals are named, and how.

    The classifier is one trained on proposals of the same method, also where it names the labelled masks themselves.
    """

    method: Method
    n: int = 300  # best proposals of an image that are named
    voted: bool = True
    suppressed: bool = True
    ground_truth: bool = False  # labelled masks instead of proposals: what is lost then is the classifier's alone

    @property
    def slug(self) -> str:
        """Names its measurements."""
        masks = "labelled-masks" if self.ground_truth else f"n{self.n}"
        return (
            f"{self.method.slug}-{masks}{'' if self.voted else '-unvoted'}{'' if self.suppressed else '-unsuppressed'}"
        )

    @property
    def label(self) -> str:
        """How its row begins."""
        without = [name for name, done in (("suppression", self.suppressed), ("voting", self.voted)) if not done]
        masks = "labelled masks in place of proposals" if self.ground_truth else f"{self.method.label}; N = {self.n}"
        return masks + (f", no {' and no '.join(without)}" if without else "")


@dataclass(frozen=True)
class ClassifierPlan:
    """All that a classifier is made of."""

    recipe: ClassifierRecipe
    images: ImageSelection
    proposals: ProposalNetwork
    inference: InferenceConfig  # how the network proposes


@dataclass(frozen=True)
class Network:
    """What proposes."""

    proposer: Proposer
    identity: ProposalNetwork

    @property
    def way(self) -> str:
        """Digest of how it proposes."""
        return hashlib.sha256(json.dumps(to_table(self.proposer.config)).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class NamingResult:
    """What became of one row, data set and seed."""

    precision: ImagePrecision
    coco_ap: float
    seconds: float  # that the classifier learnt, its proposals aside


class NamingRunner:
    """Makes classifiers and measurements that are not in the folder yet, with the networks of a ``Runner``."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.settings = runner.settings
        self.device = usable(runner.settings.device)
        self.proposing = cache(self._proposing)

    def measure(self, naming: Naming, data: str, seed: int) -> NamingResult:
        """How well one row names the objects of a data set."""
        network = self.proposing(naming.method)
        name = f"names-{slug_of(data)}-{naming.method.slug}-{network.identity.fingerprint}-{network.way}"
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

    def _proposing(self, method: Method) -> Network:
        """The network of a method: shipped, or trained by the same run as for the other tables."""
        path = SHIPPED_CHECKPOINT
        if method.recipe is not None:
            path = self.runner.run(method, TABLE_4_NAME, NETWORK_SEED)[0] / "best.safetensors"
        return Network(*load_proposer(path, self.device))

    def _classifier(self, network: Network, images: ImageSelection, folder: Path, seed: int) -> tuple[Path, float]:
        """A trained classifier's file, and the seconds that it learnt. Proposals are kept for the next seed."""
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
            write_whole(result, json.dumps({"seconds": watch.seconds}).encode())
        return own / "classifier.safetensors", json.loads(result.read_text(encoding="utf-8"))["seconds"]


class Stopwatch:
    """Seconds that going through an iterable took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, items: Iterable[int]) -> Iterable[int]:
        start = time.perf_counter()
        for item in items:
            yield item
            self.seconds = time.perf_counter() - start


def classifier_recipe(scale: Scale, seed: int, dry: bool) -> ClassifierRecipe:
    """``mini`` has the small head, ``paper`` the paper's; dry ones are narrow and see small images once."""
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
    """A classifier's own way of naming, as a row varies it."""
    return replace(
        config,
        proposals=naming.n,
        nms_threshold=config.nms_threshold if naming.suppressed else 1.0,  # no IoU is above
        vote_threshold=config.vote_threshold if naming.voted else 0.0,
    )


def measure(segmenter: Segmenter, proposals_of: ProposalsOf, source: Source, name: str) -> tuple[ImagePrecision, float]:
    """Judge the segments of all images; also COCO's AP, in percent."""
    results: list[dict[str, Any]] = []
    for index in track(range(len(source)), description=name, transient=True):
        proposals = proposals_of(source, index)
        image = source.image(index)
        segments = segmenter.name(image, proposals, max_segments=MAX_SEGMENTS, min_score=MIN_SCORE)
        results += to_coco_results(segments, source.labels(index).image_id)
    categories = split_by_category(source_to_coco(source), results, sources=(source.name, name))
    return ImagePrecision.of(categories), coco_precision(categories, "segm")["AP"]


def save_precision(precision: ImagePrecision, coco_ap: float, path: Path) -> None:
    """Arrays alone, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, coco_ap=coco_ap, **vars(precision))
    write_whole(path, buffer.getvalue())


def load_precision(path: Path) -> tuple[ImagePrecision, float]:
    """What ``save_precision`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    coco_ap = float(arrays.pop("coco_ap"))
    return ImagePrecision(**arrays), coco_ap


def slug_of(name: str) -> str:
    """A data set's name as part of a folder's."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
