"""A classifier's weights in a file, with its categories and its proposal network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from instancefcn.classifier.config import ClassifierConfig, NamingConfig
from instancefcn.classifier.network import Classifier
from instancefcn.config import Table, from_table, to_table
from instancefcn.container import check_fit, check_weights, read_container, write_container
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, from_stored, with_weights
from instancefcn.inference.proposer import Proposer
from instancefcn.model.network import Network

FORMAT = "instancefcn-classifier/1"
SHIPPED = SHIPPED_CHECKPOINT.parent

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
    path: Path | None = field(default=None, compare=False)  # of the file it was read from

    def build(self) -> Classifier:
        """The classifier, in evaluation mode, single precision.

        Raises:
            ValueError: the weights are not of the classifier that the file describes.
        """
        with torch.device("meta"):
            check_fit(self.weights, Classifier(self.classifier, self.categories).state_dict(), self.path)
        return with_weights(Classifier(self.classifier, self.categories), self.weights, self.path)


def identify(network: Network, path: Path) -> ProposalNetwork:
    """A proposal network's name and fingerprint."""
    return ProposalNetwork(path.name, fingerprint(network))


def fingerprint(module: nn.Module) -> str:
    """Twelve digits of the SHA-256 of a module's weights in half precision, as shipping rounds them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.cpu().to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


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
    tables = {name: to_table(getattr(checkpoint, name)) for name in ("classifier", "naming", "proposals")}
    tables |= {"categories": list(checkpoint.categories.items()), "training": checkpoint.training}
    write_container(path, FORMAT, checkpoint.weights, tables, dtype)


def load_classifier(name_or_path: str | Path) -> ClassifierCheckpoint:
    """Read a classifier: a shipped one by its name (``animals``), or a file.

    Raises:
        ValueError: no such classifier, or a file of another kind; names it.
    """
    path = Path(name_or_path)
    if not path.is_file() and path.name == str(name_or_path):
        path = SHIPPED / f"{name_or_path}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"{name_or_path}: no such classifier; give the name of a shipped one, animals, or a .safetensors file that "
            "`instancefcn train-classifier` wrote"
        )
    names = ("classifier", "naming", "categories", "proposals", "training")
    weights, tables = read_container(path, FORMAT, "instancefcn train-classifier", names)
    for name in names:  # older files have others besides
        table = tables[name]
        if not isinstance(table, list if name == "categories" else dict):
            raise ValueError(f"{path}: its metadata is damaged: {name} is {table!r:.60}")
    retired = RETIRED_VGG16 if tables["classifier"].get("trunk") == "vgg16" else RETIRED
    checkpoint = ClassifierCheckpoint(
        from_stored(ClassifierConfig, tables["classifier"], retired, f"{path}: classifier"),
        from_stored(NamingConfig, tables["naming"], RETIRED_NAMING, f"{path}: naming"),
        _categories(tables["categories"], path),
        from_table(ProposalNetwork, tables["proposals"], f"{path}: proposals"),
        weights,
        tables["training"],
        path,
    )
    check_weights(weights, path)
    return checkpoint


def _categories(entries: list[Any], path: Path) -> dict[int, str]:
    """Names by id, from pairs."""
    try:
        return {int(category_id): str(name) for category_id, name in entries}
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: its metadata is damaged: categories are no ids with names ({error})") from error


def load_proposer(
    path: Path, *, device: str | torch.device = "auto", precision: Literal["auto", "fp32", "bf16"] = "fp32"
) -> tuple[Proposer, ProposalNetwork]:
    """The proposer of a checkpoint, and which network it has.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    proposer = Proposer.from_checkpoint(path, device=device, precision=precision)
    return proposer, identify(proposer.network, path)
