"""One training step: a batch through the network to its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from instancefcn.model.network import Network
from instancefcn.training.batch import Batch
from instancefcn.training.losses import LossConfig, compute_losses


class TrainingNetwork(nn.Module):
    """A network with its losses as ``forward``, so that data-parallel training wraps one module."""

    def __init__(self, network: Network, loss: LossConfig) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch.to(next(self.network.parameters()).device)
        score_maps = self.network(batch.pixels.to(memory_format=torch.channels_last).float())
        for maps, labels in zip(score_maps, batch.labels, strict=True):
            assert maps.objectness.shape == labels.shape, "labels were made for other maps"
        return compute_losses(score_maps, batch.labels, batch.sampled, self.loss)
