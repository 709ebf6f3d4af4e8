"""Optimizer, length and learning-rate schedule of a run, and the running average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from instancefcn.config import check_values
from instancefcn.model.network import Network

MAX_WARMUP = 0.1  # fraction of a run
MOMENTUM = 0.9  # of SGD (paper 3.3)
STEP_AT = 0.8  # SGD: a tenth of the rate from this fraction of the run on (paper: 32,000 of 40,000 iterations)


@dataclass(frozen=True)
class OptimizationConfig:
    """Keys of ``[optimization]``. The defaults are the ``lite`` preset's."""

    optimizer: Literal["sgd", "adamw"] = "adamw"  # sgd's rate falls in one step (paper), adamw's along a cosine
    learning_rate: float = 0.002  # the highest, after the warm-up
    trunk_learning_rate: float = 0.3  # factor on the rate for the trunk
    weight_decay: float = 0.02  # of weights; biases and norms have none
    batch_size: int = 2  # images a step, over all processes; many small steps matter where minutes are few
    accumulate: int = 1  # passes that a step is divided into, one after the other, where memory is short
    iterations: int = 10_000  # steps, unless the command says how many, or minutes
    warmup_iterations: int = 200  # the rate grows linearly; at most over the first MAX_WARMUP of the run
    clip_norm: float = 10.0  # of the gradient; 0 for no clipping
    ema_decay: float = 0.998  # of the averaged weights, which are validated and kept; 0 for no average
    frozen_stages: int = 3  # the stem and the stages after it that keep their ImageNet weights
    precision: Literal["fp32", "bf16"] = "fp32"  # of the network's arithmetic

    def __post_init__(self) -> None:
        check_values(
            self,
            "optimization",
            learning_rate=(0, 1000),
            trunk_learning_rate=(0, 1000),
            weight_decay=(0, 1000),
            batch_size=(1, 65_536),
            accumulate=(1, 65_536),
            iterations=(1, 10**9),
            warmup_iterations=(0, 10**9),
            clip_norm=(0, 1e9),
            ema_decay=(0, 1),
            frozen_stages=(0, 1000),
        )


@dataclass(frozen=True)
class Budget:
    """How long to train: for a number of iterations, or for some minutes, to which the schedule is fitted."""

    iterations: int
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, not {self.iterations}: leave them out for the recipe's")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be above 0, not {self.minutes:g}: leave them out to train by iterations")

    def progress(self, iteration: int, seconds: float) -> float:
        """Fraction of the run that is done."""
        return iteration / self.iterations if self.minutes is None else seconds / (60 * self.minutes)


def build_optimizer(network: Network, config: OptimizationConfig) -> torch.optim.Optimizer:
    """Freeze the early stages and build an optimizer: the trunk has its own rate, biases and norms no decay."""
    for stage in network.backbone.stages()[: config.frozen_stages]:
        stage.requires_grad_(False)
    trunk = set(network.backbone.parameters())
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in learnt if (p in trunk) == in_trunk and (p.ndim > 1) == decayed],
            "weight_decay": config.weight_decay if decayed else 0.0,
            "factor": config.trunk_learning_rate if in_trunk else 1.0,
        }
        for in_trunk, decayed in product((True, False), repeat=2)
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def learning_rate(progress: float, iteration: int, config: OptimizationConfig) -> float:
    """Learning rate at the fraction ``progress`` of the run."""
    if config.optimizer == "adamw":
        rate = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    else:
        rate = 0.1 if progress >= STEP_AT else 1.0
    # A short run shortens the warm-up.
    warmth = max((iteration + 1) / max(config.warmup_iterations, 1), progress / MAX_WARMUP)
    return config.learning_rate * rate * min(1.0, warmth)


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights; its decay grows at first, so that it forgets the start quickly."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, count)

    return AveragedModel(network, multi_avg_fn=update)
