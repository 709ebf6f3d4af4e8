"""A classifier's weights in safetensors, with its categories and its proposal network in the metadata. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from instancefcn.classifier.config import ClassifierConfig, NamingConfig
from instancefcn.classifier.network import Classifier
from instancefcn.config import Table, from_table, to_table
from instancefcn.files import write_whole
from instancefcn.inference.checkpoint import Checkpoint, load_checkpoint
from instancefcn.inference.proposer import Proposer

FORMAT = "instancefcn-classifier/1"
SHIPPED = Path(__file__).parent.parent / "weights"

# Keys of older files, with the one value that is still supported.
RETIRED: Table = {"head": "lite", "strides": [16, 32], "reduced": 192, "dropout": 0.3}
RETIRED_VGG16: Table = {"head": "paper", "strides": [8], "reduced": 192, "dropout": 0.5}
RETIRED_NAMING: Table = {"mask_threshold": 0.4}

Config = TypeVar("Config")


@dataclass(frozen=True)
class ProposalNetwork:
    """Which proposal network a classifier belongs to."""

    name: str  # of the file it was read from
    fingerprint: str  # of its weights

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


@dataclass(frozen=True)
class ClassifierCheckpoint:
    """A classifier's weights, how to build it, and what its run was made of."""

    classifier: ClassifierConfig
    naming: NamingConfig
    categories: dict[int, str]
    proposals: ProposalNetwork
    weights: Mapping[str, Tensor]
    training: Table

    def build(self) -> Classifier:
        """The classifier, in evaluation mode, single precision.

        Raises:
            ValueError: the weights are not of the classifier that the file describes.
        """
        classifier = Classifier(self.classifier, self.categories)
        try:
            classifier.load_state_dict({name: tensor.float() for name, tensor in self.weights.items()})
        except RuntimeError as error:
            raise ValueError(f"weights do not fit the classifier that the file describes: {error}") from error
        return classifier.eval()


def identify(checkpoint: Checkpoint, path: Path) -> ProposalNetwork:
    """A proposal network's name and fingerprint: of its weights in half precision, as shipping rounds them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.weights.items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.cpu().to(torch.float16).contiguous().numpy().tobytes())
    return ProposalNetwork(path.name, digest.hexdigest()[:12])


def check_proposals(checkpoint: ClassifierCheckpoint, used: ProposalNetwork, where: str) -> None:
    """Refuse a proposal network that the classifier was not trained for.

    Raises:
        ValueError: names both.
    """
    if checkpoint.proposals.fingerprint != used.fingerprint:
        raise ValueError(
            f"{where} was trained for the proposals of {checkpoint.proposals}, not for those of {used}: give that one "
            "with --checkpoint, or train a classifier with --proposals-from this one"
        )


def save_classifier(checkpoint: ClassifierCheckpoint, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a classifier so that ``path`` is either the old file or the new one, whole, whatever happens."""
    weights = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in checkpoint.weights.items()
    }
    tables = {
        "classifier": to_table(checkpoint.classifier),
        "naming": to_table(checkpoint.naming),
        "categories": [[category_id, name] for category_id, name in checkpoint.categories.items()],
        "proposals": to_table(checkpoint.proposals),
        "training": checkpoint.training,
    }
    write_whole(path, save(weights, {"format": FORMAT, **{key: json.dumps(table) for key, table in tables.items()}}))


def load_classifier(name_or_path: str | Path) -> ClassifierCheckpoint:
    """Read a classifier: a shipped one by its name (``animals``), or a file.

    Raises:
        ValueError: no such classifier, or a file of another kind; names it.
    """
    path = Path(name_or_path)
    shipped = SHIPPED / f"{name_or_path}.safetensors"
    if not path.is_file() and path.name == str(name_or_path) and shipped.is_file():
        path = shipped
    if not path.is_file():
        raise ValueError(
            f"{name_or_path}: no such classifier; give {' or '.join(shipped_classifiers()) or 'a shipped name'}, or a "
            ".safetensors file that `instancefcn train-classifier` wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: not a classifier ({FORMAT}), but {metadata.get('format')!r}; `instancefcn train-classifier` "
            "writes classifiers"
        )
    keys = ("classifier", "naming", "categories", "proposals", "training")
    try:
        classifier, naming, categories, proposals, training = (json.loads(metadata[key]) for key in keys)
        retired = RETIRED_VGG16 if classifier["trunk"] == "vgg16" else RETIRED
        return ClassifierCheckpoint(
            _read(ClassifierConfig, classifier, retired, f"{path}: classifier"),
            _read(NamingConfig, naming, RETIRED_NAMING, f"{path}: naming"),
            {int(category_id): str(name) for category_id, name in categories},
            from_table(ProposalNetwork, proposals, f"{path}: proposals"),
            weights,
            training,
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: its metadata is damaged ({error!r})") from error


def _read(cls: type[Config], table: Table, retired: Table, where: str) -> Config:
    """A table of a file, which has every key, and retired ones at their one value."""
    for key, value in retired.items():
        if table.pop(key, value) != value:
            raise ValueError(f"{where}: {key} must be {value!r}; other values are no longer supported")
    missing = sorted({field.name for field in fields(cls)} - table.keys())  # pyright: ignore[reportArgumentType]
    if missing:
        raise ValueError(f"{where}: {missing[0]} is missing")
    return from_table(cls, table, where)


def shipped_classifiers() -> list[str]:
    """Names of the classifiers that come with the package."""
    found: list[str] = []
    for path in sorted(SHIPPED.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format") == FORMAT:
                found.append(path.stem)
    return found


def load_proposer(
    path: Path, *, device: str | torch.device = "cpu", precision: Literal["fp32", "bf16"] = "fp32"
) -> tuple[Proposer, ProposalNetwork]:
    """The proposer of a checkpoint, and which network it has.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    checkpoint = load_checkpoint(path)
    proposer = Proposer(checkpoint.build(), checkpoint.inference, device=device, precision=precision)
    return proposer, identify(checkpoint, path)
