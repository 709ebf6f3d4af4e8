"""The weights that training starts from."""

from __future__ import annotations

import warnings
from pathlib import Path

from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.model.build import build_network
from instancefcn.model.network import Network
from instancefcn.training.recipe import Recipe


def initial_network(recipe: Recipe, init: str) -> Network:
    """Build the recipe's network and fill it with weights.

    From a checkpoint of another network it takes the weights whose names and shapes agree, and warns of the others.

    Args:
        init: "imagenet" (the trunk's weights), "random", "shipped", or the path of a checkpoint.

    Raises:
        ValueError: there are no ImageNet weights, or nothing of the checkpoint fits.
    """
    if init in ("imagenet", "random"):
        return build_network(recipe.network, imagenet=init == "imagenet")
    checkpoint = load_checkpoint(SHIPPED_CHECKPOINT if init == "shipped" else Path(init))
    network = build_network(recipe.network)
    own = network.state_dict()
    weights = checkpoint.build().state_dict()
    fitting = {name: w for name, w in weights.items() if name in own and own[name].shape == w.shape}
    if not fitting:
        raise ValueError(f"{init} is of another network ({checkpoint.network}) than the recipe's ({recipe.network})")
    if len(fitting) < len(own):
        warnings.warn(f"{init}: {len(fitting)} of {len(own)} tensors fit; the others start anew", stacklevel=2)
    network.load_state_dict(fitting, strict=False)
    network.backbone.weights_from = f"checkpoint {init}"
    return network
