"""A classifier's weights in a file, with its categories and its proposal network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from instancefcn.classifier.config import ClassifierConfig, NamingConfig
from instancefcn.classifier.network import Classifier
from instancefcn.config import Table, from_table, to_table
from instancefcn.container import read_container, write_container
from instancefcn.inference.checkpoint import Checkpoint, load_checkpoint, without_retired
from instancefcn.inference.proposer import Proposer

FORMAT = "instancefcn-classifier/1"
SHIPPED = Path(__file__).parent.parent / "weights"

# Keys that older files carry, with the one value that is still built.
RETIRED: Table = {"head": "lite", "strides": [16, 32], "reduced": 192, "dropout": 0.3}
RETIRED_VGG16: Table = {"head": "paper", "strides": [8], "reduced": 192, "dropout": 0.5}
RETIRED_NAMING: Table = {"mask_threshold": 0.4}


@dataclass(frozen=True)
class ProposalNetwork:
    """Which proposal network a classifier was trained for."""

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
    """Write a classifier so that ``path`` is either the old file or the whole new one."""
    tables = {
        "classifier": to_table(checkpoint.classifier),
        "naming": to_table(checkpoint.naming),
        "categories": list(checkpoint.categories.items()),
        "proposals": to_table(checkpoint.proposals),
        "training": checkpoint.training,
    }
    write_container(path, FORMAT, checkpoint.weights, tables, dtype)


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
    weights, tables = read_container(path, FORMAT, "instancefcn train-classifier")
    try:
        retired = RETIRED_VGG16 if tables["classifier"]["trunk"] == "vgg16" else RETIRED
        classifier = without_retired(tables["classifier"], retired, f"{path}: classifier")
        naming = without_retired(tables["naming"], RETIRED_NAMING, f"{path}: naming")
        return ClassifierCheckpoint(
            from_table(ClassifierConfig, classifier, f"{path}: classifier", complete=True),
            from_table(NamingConfig, naming, f"{path}: naming", complete=True),
            {int(category_id): str(name) for category_id, name in tables["categories"]},
            from_table(ProposalNetwork, tables["proposals"], f"{path}: proposals", complete=True),
            weights,
            tables["training"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: its metadata is damaged ({error!r})") from error


def shipped_classifiers() -> list[str]:
    """Names of the classifiers that come with the package."""
    found: list[str] = []
    for path in sorted(SHIPPED.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format") == FORMAT:
                found.append(path.stem)
    return found


def load_proposer(
    path: Path, *, device: str | torch.device = "auto", precision: Literal["fp32", "bf16"] = "fp32"
) -> tuple[Proposer, ProposalNetwork]:
    """The proposer of a checkpoint, and which network it has.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    checkpoint = load_checkpoint(path)
    proposer = Proposer(checkpoint.build(), checkpoint.inference, device=device, precision=precision)
    return proposer, identify(checkpoint, path)
