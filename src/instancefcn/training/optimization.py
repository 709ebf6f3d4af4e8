"""Optimiser, learning rate over the run, and the running average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from instancefcn.model.build import Network

MAX_WARMUP = 0.1  # share of a run


@dataclass(frozen=True)
class OptimizationConfig:
    """Keys of ``[optimization]``. Steps of the schedule are shares of the run, so that it fits any ``--minutes``."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 0.002
    trunk_learning_rate: float = 0.3  # the trunk's, as a factor of the above
    momentum: float = 0.9  # sgd
    weight_decay: float = 0.02
    batch_size: int = 4  # images a step, over all processes
    iterations: int = 10_000
    schedule: Literal["step", "cosine"] = "cosine"
    step_at: tuple[float, ...] = (0.8,)  # step: a tenth of the rate from each of these shares of the run on
    warmup_iterations: int = 200  # the rate grows linearly; at most over the first MAX_WARMUP of the run
    clip_norm: float = 10.0  # of the gradient; 0 for no clipping
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that are validated and kept; 0 for none
    frozen_stages: int = 3  # the stem and the stages after it that keep their ImageNet weights
    precision: Literal["fp32", "bf16"] = "fp32"
    validate_every: float = 0.5  # share of the run


def build_optimizer(network: Network, config: OptimizationConfig) -> torch.optim.Optimizer:
    """An optimiser with the trunk at its own rate and no decay of biases and norms. Freezes the early stages."""
    for stage in network.backbone.stages()[: config.frozen_stages]:
        stage.requires_grad_(False)
    trunk = {id(parameter) for parameter in network.backbone.parameters()}
    groups = []
    for of_trunk in (True, False):
        for decayed in (True, False):
            parameters = [
                p
                for p in network.parameters()
                if p.requires_grad and (id(p) in trunk) == of_trunk and (p.ndim > 1) == decayed
            ]
            factor = config.trunk_learning_rate if of_trunk else 1.0
            decay = config.weight_decay if decayed else 0.0
            groups.append({"params": parameters, "weight_decay": decay, "factor": factor})
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def learning_rate(progress: float, iteration: int, config: OptimizationConfig) -> float:
    """Rate at a share ``progress`` of the run."""
    if config.schedule == "cosine":
        rate = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    else:
        rate = 0.1 ** sum(progress >= step for step in config.step_at)
    # A run of minutes cannot afford the warm-up of one of hours.
    warmth = max((iteration + 1) / max(config.warmup_iterations, 1), progress / MAX_WARMUP)
    return config.learning_rate * rate * min(1.0, warmth)


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights that forgets the random start quickly."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, count)

    return AveragedModel(network, multi_avg_fn=update)
