"""Step one on disk: proposals of every training image, matched, and the maps of a trunk that stays as it is.

Files are safetensors, an image's proposals in one and each view's maps in one, in a folder named after all that they
depend on: so a second run with other learning settings starts at once, and one with other data or proposals anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import load_file, save
from torch import Tensor

from instancefcn.classifier.checkpoint import ProposalNetwork
from instancefcn.classifier.config import ClassifierRecipe
from instancefcn.classifier.network import Classifier
from instancefcn.classifier.rois import Rois, match
from instancefcn.classifier.trunk import ProposalTrunk, Trunk, TrunkMaps
from instancefcn.config import to_table
from instancefcn.data import Source
from instancefcn.files import write_whole
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer, as_tensor

Track = Callable[[Sequence[tuple[Source, int]]], Iterable[tuple[Source, int]]]


@dataclass(frozen=True)
class View:
    """How a training image is looked at."""

    factor: float  # of the size that the trunk sees images at by rule
    flip: bool


@dataclass(frozen=True)
class Example:
    """One training image whose proposals are on disk."""

    source: Source
    index: int
    stem: Path  # of its files

    @property
    def width(self) -> int:
        """Image pixels."""
        return self.source.labels(self.index).width

    def rois(self, view: View) -> Rois:
        """Its proposals and instances, in the frame of the view's image before resizing."""
        rois = Rois(**load_file(self.stem.with_suffix(".rois.safetensors")))
        return rois.flipped(self.width) if view.flip else rois

    def pixels(self, view: View) -> UInt8[Tensor, "3 h w"]:
        """The image, mirrored where the view says so."""
        return look(self.source.image(self.index), view)

    def maps(self, number: int) -> TrunkMaps:
        """The maps of the view of that number, where they were kept."""
        tensors = load_file(self.stem.with_suffix(f".view{number}.safetensors"))
        scale = tensors.pop("scale").tolist()
        return TrunkMaps([tensors[name].float() for name in sorted(tensors)], (scale[0], scale[1]))


def views_of(recipe: ClassifierRecipe) -> list[View]:
    """The views that a recipe learns from."""
    flips = (False, True) if recipe.learning.flip else (False,)
    return [View(factor, flip) for factor in recipe.learning.scales for flip in flips]


def cache_examples(
    sources: Sequence[Source],
    classes: Mapping[int, int],
    proposer: Proposer,
    network: ProposalNetwork,
    classifier: Classifier,
    recipe: ClassifierRecipe,
    folder: Path,
    track: Track = iter,
) -> tuple[list[Example], list[str]]:
    """Make what is missing on disk, and say which images there are to learn from.

    Args:
        classes: class, from 1, of each category id.
        track: shows progress over what it is given.

    Returns:
        Examples with at least one proposal or instance, and the reasons why images were left out.
    """
    folder = folder / _key(sources, network, proposer.config, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    trunk = ProposalTrunk(proposer, recipe.classifier.strides) if classifier.trunk is None else classifier.trunk
    views = [] if recipe.learning.trunk_learning_rate else views_of(recipe)
    examples: list[Example] = []
    problems: list[str] = []
    every = [(source, index) for source in sources for index in range(len(source))]
    for source, index in track(every):
        labels = source.labels(index)
        number = next(number for number, other in enumerate(sources) if other is source)
        example = Example(source, index, folder / f"{number}_{labels.image_id}")
        path = example.stem.with_suffix(".rois.safetensors")
        if not path.exists():  # written after the views, so that it says all are there
            try:
                image = source.image(index)
            except (ValueError, OSError) as error:
                problems.append(str(error))
                continue
            _write_views(example.stem, image, views, trunk)
            proposals = proposer(image, max_proposals=recipe.rois.proposals)
            matched = match(proposals, labels.instances, classes, partial=source.partial)
            write_whole(path, save(vars(matched)))
        if len(example.rois(View(1.0, flip=False))):
            examples.append(example)
        else:
            problems.append(f"{labels.file_name}: neither proposals nor instances")
    return examples, problems


def look(image: UInt8[np.ndarray, "h w 3"], view: View) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a view, not yet resized."""
    pixels = as_tensor(image)
    return pixels.flip(-1) if view.flip else pixels


@torch.inference_mode()
def _write_views(
    stem: Path, image: UInt8[np.ndarray, "h w 3"], views: Sequence[View], trunk: Trunk | ProposalTrunk
) -> None:
    for number, view in enumerate(views):
        path = stem.with_suffix(f".view{number}.safetensors")
        if not path.exists():
            seen = trunk(look(image, view), view.factor)
            maps = {f"map{index}": level.half().cpu().contiguous() for index, level in enumerate(seen.maps)}
            write_whole(path, save({**maps, "scale": torch.tensor(seen.scale, dtype=torch.float64)}))


def _key(
    sources: Sequence[Source], network: ProposalNetwork, proposing: InferenceConfig, recipe: ClassifierRecipe
) -> str:
    """Digest of all that the files depend on."""
    tables = to_table(recipe)
    learning = {key: tables["learning"][key] for key in ("flip", "scales", "trunk_learning_rate")}
    classifier = {key: tables["classifier"][key] for key in ("trunk", "strides", "shorter_side", "longest_side")}
    about = [network.fingerprint, to_table(proposing), recipe.rois.proposals, learning, classifier]
    digest = hashlib.sha256(json.dumps(about).encode())
    for source in sources:
        digest.update(f"{source.name} {source.partial}".encode())
        for index in range(len(source)):
            labels = source.labels(index)
            digest.update(f"{labels.image_id} {labels.file_name} {labels.instances.category_ids.tolist()}".encode())
            for rle in labels.instances.rles:
                digest.update(rle["counts"])
    return digest.hexdigest()[:16]
