"""A network that learns: with its optimizer and its averaged weights, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from instancefcn.model.batch_norms import freeze_batch_norms
from instancefcn.model.network import Network
from instancefcn.training.batch import Batch
from instancefcn.training.losses import LossConfig, LossTotals, compute_losses
from instancefcn.training.optimization import average_weights, build_optimizer
from instancefcn.training.processes import add_up
from instancefcn.training.recipe import Recipe
from instancefcn.training.state import TrainingState, check_optimizer


class TrainingNetwork(nn.Module):
    """A network whose ``forward`` gives losses, so that data-parallel training wraps one module."""

    def __init__(self, network: Network, loss: LossConfig) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: Batch, totals: LossTotals) -> dict[str, Tensor]:
        batch = batch.to(next(self.network.parameters()).device)
        score_maps = self.network(batch.pixels.to(memory_format=torch.channels_last).float())
        for maps, labels in zip(score_maps, batch.labels, strict=True):
            assert maps.objectness.shape == labels.shape, "labels were made for other maps"
        return compute_losses(score_maps, batch.labels, batch.sampled, self.loss, totals)


class Learner:
    """A network in training, with its optimizer and its averaged weights."""

    def __init__(self, fabric: Fabric, recipe: Recipe, network: Network) -> None:
        self.fabric, self.recipe, self.network = fabric, recipe, network
        decay = recipe.optimization.ema_decay
        self.averaged = average_weights(network, decay).to(fabric.device) if decay else None
        module = TrainingNetwork(network, recipe.loss).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.module, self.optimizer = fabric.setup(module, build_optimizer(network, recipe.optimization))

    def step(self, batches: Sequence[Batch], rate: float) -> dict[str, float]:
        """Do one iteration on the batches of this process, and return its losses, over all processes.

        The losses and the gradient are those of all batches, of all processes, as one: only the order of sums differs.

        Raises:
            FloatingPointError: a loss or the gradient is infinite or NaN; the weights stay as they were.
        """
        self.network.train()
        if self.recipe.network.batch_norm != "running":
            freeze_batch_norms(self.network.backbone)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        each = [LossTotals.of(batch.labels, batch.sampled) for batch in batches]
        totals = LossTotals(*add_up(self.fabric, [sum(numbers) for numbers in zip(*each, strict=True)]))
        sums: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number, batch in enumerate(batches, start=1):
            with self.fabric.no_backward_sync(self.module, enabled=number < len(batches)):  # pyright: ignore[reportArgumentType]
                losses = self.module(batch, totals)
                values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
                if not math.isfinite(sum(values.values())):
                    parts = ", ".join(f"{name} {loss:g}" for name, loss in values.items())
                    raise FloatingPointError(f"the loss became {sum(values.values())} ({parts})")
                # Processes average their gradients, which are to be added up.
                self.fabric.backward(torch.stack(list(losses.values())).sum() * self.fabric.world_size)
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
        # Without a largest norm, gradients stay as they are, and are looked at alone.
        limit = self.recipe.optimization.clip_norm or math.inf
        norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        if norm is not None and not norm.isfinite():
            raise FloatingPointError("the gradient became infinite or NaN")
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        return dict(zip(sums, add_up(self.fabric, list(sums.values())), strict=True))

    def kept_network(self) -> Network:
        """The network to validate and save: the averaged one, if weights are averaged."""
        return self.network if self.averaged is None else cast(Network, self.averaged.module)

    def check_finite(self) -> None:
        """Look at all weights, before they take the place of others on disk.

        Raises:
            FloatingPointError: one is infinite or NaN.
        """
        for network in (self.network, self.kept_network()):
            if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
                raise FloatingPointError("the weights became infinite or NaN")

    def tables(self) -> dict[str, Any]:
        """What a state keeps of it, and ``restore`` takes."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: TrainingState) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: it is of another network, or damaged.
        """
        try:
            self.network.load_state_dict(state.network)
            if self.averaged is not None and state.averaged is not None:
                self.averaged.load_state_dict(state.averaged)
            check_optimizer(state.optimizer, self.optimizer)
            self.optimizer.load_state_dict(state.optimizer)
            self.check_finite()
        except (ArithmeticError, RuntimeError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(" ".join(str(error).split())[:300]) from error
        self.network.backbone.weights_from = state.trunk_weights or "unknown"
