"""Proposals of every training image, matched, and the maps of a frozen trunk, on disk.

Files are safetensors in a folder named after all that they depend on. So a second run with other learning settings
starts at once, and one with other data or proposals starts anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from instancefcn.classifier.checkpoint import ProposalNetwork, fingerprint
from instancefcn.classifier.config import ClassifierRecipe
from instancefcn.classifier.network import Trunk
from instancefcn.classifier.rois import Rois, match_proposals
from instancefcn.data.source import Source
from instancefcn.files import size_and_time, write_whole
from instancefcn.inference.proposer import Proposer, as_tensor
from instancefcn.structures import Track


@dataclass(frozen=True)
class Example:
    """One training image whose proposals are on disk."""

    source: Source
    index: int
    size: tuple[int, int]  # (height, width)
    stem: Path  # of its files

    def rois(self, flip: bool) -> Rois:
        """Its proposals and instances, in the image's frame; ``flip`` mirrors both."""
        rois = Rois(**_load(self.file("proposals")))
        return rois.flipped(self.size[1]) if flip else rois

    def pixels(self, flip: bool) -> UInt8[Tensor, "3 h w"]:
        """The image, or the mirrored image."""
        return _mirrored(as_tensor(self.source.image(self.index)), flip)

    def maps(self, flip: bool, device: torch.device) -> list[Float[Tensor, "1 _ _ _"]]:
        """The trunk's maps of the image, or of the mirrored image, from disk."""
        tensors = _load(self.file("mirrored" if flip else "maps"), str(device))
        return [tensors[name].float() for name in sorted(tensors)]

    def file(self, kind: str) -> Path:
        """Where something of the image is kept."""
        return self.stem.with_name(f"{self.stem.name}.{kind}.safetensors")


def cache_examples(
    sources: Sequence[Source],
    classes: Mapping[int, int],
    proposer: Proposer,
    network: ProposalNetwork,
    trunk: Trunk,
    recipe: ClassifierRecipe,
    folder: Path,
    track: Track = iter,
) -> tuple[list[Example], list[str]]:
    """Make what is missing on disk.

    Args:
        classes: class, from 1, of each category id.

    Returns:
        Examples with at least one proposal or instance to learn from, and the reasons why images were left out.
    """
    folder = folder / _key(sources, proposer, network, trunk, recipe)
    examples: list[Example] = []
    problems: list[str] = []
    for number, index in track([(number, i) for number, source in enumerate(sources) for i in range(len(source))]):
        source = sources[number]
        labels = source.labels(index)
        example = Example(source, index, (labels.height, labels.width), folder / f"{number}_{labels.image_id}")
        path = example.file("proposals")
        if not path.exists():  # written after the maps, so that it says all are there
            try:
                image = source.image(index)
            except (ValueError, OSError) as error:
                problems.append(str(error))
                continue
            if not recipe.learning.trunk_learning_rate:
                for kind, flip in (("maps", False), ("mirrored", True)):
                    with torch.inference_mode():
                        maps = trunk(_mirrored(as_tensor(image), flip))
                    tensors = {f"map{level}": values.half().cpu().contiguous() for level, values in enumerate(maps)}
                    write_whole(example.file(kind), save(tensors))
            proposals = proposer(image, max_proposals=recipe.naming.proposals)
            partial = source.partial or labels.partial
            matched = match_proposals(proposals, labels.with_rejected(), classes, partial=partial)
            write_whole(path, save(vars(matched)))
        rois = example.rois(flip=False)
        if not rois.ignored.all():
            examples.append(example)
        else:
            unsure = "only proposals that may be unlabelled objects, or lie on crowds"
            problems.append(f"{labels.file_name}: {unsure if len(rois) else 'neither proposals nor instances'}")
    return examples, problems


def _load(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    try:
        return load_file(path, device)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged; remove it, and it is made anew: {error}") from error


def _mirrored(pixels: UInt8[Tensor, "3 h w"], flip: bool) -> UInt8[Tensor, "3 h w"]:
    return pixels.flip(-1) if flip else pixels


def _key(
    sources: Sequence[Source], proposer: Proposer, network: ProposalNetwork, trunk: Trunk, recipe: ClassifierRecipe
) -> str:
    """Digest of all that the files depend on."""
    config = recipe.classifier
    frozen = None if recipe.learning.trunk_learning_rate else fingerprint(trunk)
    proposing = [network.fingerprint, asdict(proposer.config), proposer.precision, recipe.naming.proposals]
    about = [proposing, config.trunk, config.shorter_side, config.longest_side, frozen]
    digest = hashlib.sha256(json.dumps(about).encode())
    for source in sources:
        digest.update(f"{source.name} {source.partial}".encode())
        for index in range(len(source)):
            labels = source.labels(index)
            digest.update(f"{labels.image_id} {labels.file_name} {labels.instances.category_ids.tolist()}".encode())
            if labels.path is None:
                digest.update(source.image(index).tobytes())
            else:
                digest.update(repr(size_and_time(labels.path)).encode())
            flags = labels.partial, labels.instances.crowd.tolist(), labels.instances.ignore.tolist()
            digest.update(repr(flags).encode())
            for rle in labels.with_rejected().rles:
                digest.update(rle["counts"])
    return digest.hexdigest()[:16]
