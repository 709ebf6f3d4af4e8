"""A recipe that trains in a second, and scenes to train on."""

from __future__ import annotations

from typing import Any

from inference.scenes import plain
from instancefcn.data.augmentation import Augmentation
from instancefcn.model.config import NetworkConfig
from instancefcn.training.optimization import OptimizationConfig
from instancefcn.training.recipe import Recipe
from synthetic import SyntheticScenes

TINY = Recipe(
    network=NetworkConfig(
        backbone="test_efficientnet", k=3, channels=16, window_sizes=(7,), finest_window_sizes=(5,), blocks=1
    ),
    augmentation=Augmentation(shorter_sides=(64.0, 96.0), crop=64),
    optimization=OptimizationConfig(batch_size=2, iterations=4, warmup_iterations=2),
    inference=plain(shorter_sides=(64.0,), candidates=20),
)


def scenes(length: int = 4, **options: Any) -> SyntheticScenes:
    """Scenes of 64 x 80 pixels."""
    return SyntheticScenes(length, height=64, width=80, **options)
