"""The weights that training starts from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from instancefcn.container import check_fit
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, Checkpoint, load_checkpoint
from instancefcn.model.build import build_empty, build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule
from instancefcn.training.recipe import Recipe

AUTO, IMAGENET, RANDOM, SHIPPED = "auto", "imagenet", "random", "shipped"
FEW_IMAGES = 1000  # with fewer labelled images than this, auto starts from the shipped checkpoint


@dataclass(frozen=True)
class Start:
    """The network that training starts from."""

    network: Network
    checkpoint: Checkpoint | None = None  # all of whose weights it has; None: there is nothing to compare with

    @property
    def rule(self) -> ObjectRule | None:
        """The rule for objects of the checkpoint, but for ``alike``: that is for things that it was not trained on."""
        if self.checkpoint is None or self.checkpoint.objects is None:
            return None
        return replace(self.checkpoint.objects, alike=1.0)


def choose_init(init: str, recipe: Recipe, labelled: int) -> str:
    """What "auto" stands for; any other ``init`` as it is.

    The shipped checkpoint, if it is of the recipe's network and there are fewer than ``FEW_IMAGES`` labelled images;
    else the trunk's ImageNet weights.
    """
    if init != AUTO:
        return init
    few = labelled < FEW_IMAGES
    return SHIPPED if few and load_checkpoint(SHIPPED_CHECKPOINT).network == recipe.network else IMAGENET


def check_network(network: Network, config: NetworkConfig) -> None:
    """Stop where a network is not the one that checkpoints of a recipe name, which would build another from them.

    The experiments of the paper have networks of their own, and configurations: these are not looked at.

    Raises:
        ValueError: says what differs.
    """
    if type(config) is not NetworkConfig:
        return
    named = build_empty(config)
    if network.window_sizes != named.window_sizes:
        raise ValueError(f"the network has {network.window_sizes}, and the recipe's {named.window_sizes}")
    try:
        check_fit(network.state_dict(), named.state_dict())
    except ValueError as error:
        raise ValueError(f"the network is not the recipe's: {error}") from error


def initial_network(recipe: Recipe, init: str) -> Start:
    """Build the recipe's network and fill it with weights.

    From a checkpoint of another network it takes the weights whose names and shapes agree, and warns of the others.

    Args:
        init: "imagenet" (the trunk's weights), "random", "shipped", or the path of a checkpoint.

    Raises:
        ValueError: there are no ImageNet weights, or nothing of the checkpoint fits.
    """
    if init in (IMAGENET, RANDOM):
        return Start(build_network(recipe.network, imagenet=init == IMAGENET))
    checkpoint = load_checkpoint(SHIPPED_CHECKPOINT if init == SHIPPED else Path(init))
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
    return Start(network, checkpoint if len(fitting) == len(own) == len(weights) else None)
