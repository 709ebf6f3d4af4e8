"""A network's weights in a file, with everything that is needed to rebuild it and to propose with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import torch
from torch import Tensor, nn

from instancefcn.config import Table, from_table, to_table
from instancefcn.container import check_fit, check_weights, read_container, write_container
from instancefcn.inference.config import InferenceConfig
from instancefcn.model.build import build_empty, build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule

FORMAT = "instancefcn/1"
SHIPPED_CHECKPOINT = Path(__file__).parent.parent / "weights" / "lite.safetensors"
M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

# Keys that older checkpoints carry, with the one value that is still built.
RETIRED_NETWORK: Table = {
    "fc_channels": 512,
    "stride_8": "holes",
    "extra_levels": 1,
    "density": 2,
    "detail": True,
    "fine_from_stride": 16,
    "finest_blocks": 1,
    "coarse_logits": True,
    "head_layers": 1,
}
RETIRED_INFERENCE: Table = {"nms_overlap": "box"}
# Keys that older checkpoints lack, with the value that they stood for.
ADDED_INFERENCE: Table = {
    "stability_power": 0.0,
    "soft_nms_threshold": 0.0,
    "blend_tiles": False,
    "image_scales": [],
    "overview": 0.0,
    "tiles": False,
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights, how to build their network, how to propose with it, and a record of the run that made them."""

    network: NetworkConfig
    inference: InferenceConfig
    weights: Mapping[str, Tensor]
    training: Table  # recipe, iteration, validation figures
    objects: ObjectRule | None = None  # how its candidates become objects; None where no data chose it
    path: Path | None = field(default=None, compare=False)  # of the file it was read from

    def build(self, network: Network | None = None) -> Network:
        """The network with these weights, in evaluation mode, single precision.

        Args:
            network: where the weights go; None builds the network that the file describes.

        Raises:
            ValueError: the weights belong to another network. They are compared before memory is taken for it, so that
                no file makes us build more than it holds.
        """
        if network is not None:
            return with_weights(network, self.weights, self.path)
        network = build_empty(self.network)
        own = network.state_dict()
        check_fit(self.weights, own, self.path)
        copies = {name: tensor.to(own[name].dtype, copy=True) for name, tensor in self.weights.items()}
        network.load_state_dict(copies, assign=True)
        if any(buffer.is_meta for buffer in network.buffers()):  # some trunks have buffers that no file keeps
            return with_weights(build_network(self.network), self.weights, self.path)
        return network.eval()


def with_weights(module: M, weights: Mapping[str, Tensor], path: Path | None = None) -> M:
    """Load weights into a module; it is returned in evaluation mode, single precision.

    Args:
        path: of the file that the weights are from, for the message.

    Raises:
        ValueError: the weights belong to another network.
    """
    check_fit(weights, module.state_dict(), path)
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return module.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a checkpoint so that ``path`` is either the old file or the whole new one."""
    tables = {"network": to_table(checkpoint.network), "inference": to_table(checkpoint.inference)}
    if checkpoint.objects is not None:
        tables |= {"objects": to_table(checkpoint.objects)}
    write_container(path, FORMAT, checkpoint.weights, tables | {"training": checkpoint.training}, dtype)


def load_checkpoint(path: Path, network_type: type[NetworkConfig] = NetworkConfig) -> Checkpoint:
    """Read a checkpoint.

    Args:
        network_type: the dataclass of its network's keys.

    Raises:
        ValueError: no such file, not safetensors, not a checkpoint of this package, or weights that are infinite, NaN
            or all zero; names the file.
    """
    weights, tables = read_container(path, FORMAT, "instancefcn train", ("network", "inference", "training"))
    for name in ("network", "inference", "training", "objects"):
        table = tables.get(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"{path}: its metadata is damaged: {name} must be a table, not {table!r:.60}")
    network = tables["network"]
    kind = network.get("kind", NetworkConfig.kind)
    if kind not in get_args(get_type_hints(network_type)["kind"]):
        raise ValueError(
            f"{path}: network: kind is {kind!r}, a network of the paper's experiments: load it from a "
            "checkout, as `python -m reproduce` does"
        )
    if "m" in network and kind != "pyramid":  # an older file: it has the pyramid's keys, which mean nothing here
        network = {key: value for key, value in network.items() if key not in RETIRED_NETWORK}
        network |= {"window_sizes": [network["m"]], "finest_window_sizes": []}
    network = {key: value for key, value in network.items() if key != "m"}
    checkpoint = Checkpoint(
        from_stored(network_type, network, RETIRED_NETWORK, f"{path}: network"),
        from_stored(InferenceConfig, ADDED_INFERENCE | tables["inference"], RETIRED_INFERENCE, f"{path}: inference"),
        weights,
        tables["training"],
        ObjectRule.from_stored(tables["objects"], f"{path}: objects") if "objects" in tables else None,
        path,
    )
    check_weights(weights, path)
    return checkpoint


def from_stored(cls: type[T], table: Table, retired: Table, where: str) -> T:
    """The dataclass of a file's table, which has every key, and may have retired ones.

    Raises:
        ValueError: as ``from_table``, or a retired key has a value that is not supported any more.
    """
    for key, value in retired.items():
        if table.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {table[key]!r}; since this key retired, only {value!r} is supported")
    return from_table(cls, {key: value for key, value in table.items() if key not in retired}, where, complete=True)
