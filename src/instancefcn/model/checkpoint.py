"""Weights in safetensors, with what is needed to rebuild and run the network in the metadata. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from instancefcn.config import Table, from_table, to_table
from instancefcn.files import write_whole
from instancefcn.model.build import Network, NetworkConfig, build_network

FORMAT = "instancefcn/1"
# Keys of [network] that checkpoints once had, with the one value that this package still builds.
RETIRED_NETWORK = {"fc_channels": 512, "stride_8": "holes"}
RETIRED = ("refill_threshold",)  # keys of [inference] that checkpoints once had; soft_nms_threshold took its place


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights, how to build it, and the tables that its run was made of."""

    network: NetworkConfig
    inference: Table
    weights: Mapping[str, Tensor]
    training: Table  # recipe, seed, iteration, validation figures: for the record

    def build(self, network: Network | None = None) -> Network:
        """The network, in evaluation mode, single precision.

        Args:
            network: what the weights go into; None builds the one that the file describes.

        Raises:
            ValueError: the weights are not of the network.
        """
        network = build_network(self.network) if network is None else network
        try:
            network.load_state_dict({name: tensor.float() for name, tensor in self.weights.items()})
        except RuntimeError as error:
            raise ValueError(f"weights do not fit the network that the checkpoint names: {error}") from error
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a checkpoint so that ``path`` is either the old file or the new one, whole, whatever happens."""
    weights = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in checkpoint.weights.items()
    }
    metadata = {
        "format": FORMAT,
        "network": json.dumps(to_table(checkpoint.network)),
        "inference": json.dumps(checkpoint.inference),
        "training": json.dumps(checkpoint.training),
    }
    write_whole(path, save(weights, metadata))


def load_checkpoint(path: Path, keys: type[NetworkConfig] = NetworkConfig) -> Checkpoint:
    """Read a checkpoint.

    Args:
        keys: what its ``[network]`` table may have.

    Raises:
        ValueError: no such file, not safetensors, or not one of this package's; names the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint; give a .safetensors file that `instancefcn train` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of this package ({FORMAT}), but {metadata.get('format')!r}")
    try:
        network, inference, training = (json.loads(metadata[key]) for key in ("network", "inference", "training"))
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: its metadata is damaged ({error!r})") from error
    inference = {key: value for key, value in inference.items() if key not in RETIRED}
    network = {key: value for key, value in network.items() if RETIRED_NETWORK.get(key) != value}
    try:
        config = from_table(keys, network, f"{path}: network")
    except ValueError as error:
        raise ValueError(
            f"{error}. A network of the paper's experiments can be loaded from a checkout alone: `python -m reproduce`"
        ) from error
    return Checkpoint(config, inference, weights, training)
