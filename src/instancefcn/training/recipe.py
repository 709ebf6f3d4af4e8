"""A recipe: everything a run is made of but its data, read from TOML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from instancefcn.config import check_values, from_table, load_table
from instancefcn.data.augmentation import Augmentation
from instancefcn.inference.config import InferenceConfig
from instancefcn.model.config import NetworkConfig
from instancefcn.training.assignment import AssignmentConfig
from instancefcn.training.losses import LossConfig
from instancefcn.training.optimization import OptimizationConfig
from instancefcn.training.targets import SamplingConfig

RECIPES = files("instancefcn") / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One TOML file with a table for each room; a key that is left out has the value of ``base``, else ``lite``'s."""

    seed: int = 0  # of new weights, of views, and of the images that are kept out
    source_balance: float = 0.5  # a source of n images is drawn in proportion to n to this power
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    assignment: AssignmentConfig = field(default_factory=AssignmentConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)

    def __post_init__(self) -> None:
        check_values(self, "", seed=(0, 2**32 - 1), source_balance=(-100, 100))

    @property
    def longest_view(self) -> float:
        """Pixels of the longer side that an image is resized to at most for a view: whole ones as for proposing."""
        return math.inf if self.augmentation.crop else self.inference.longest_resized


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read an installed recipe by name (``lite``, ``paper``), or a TOML file by path.

    Raises:
        ValueError: no such recipe, no TOML, an unknown key, a value of the wrong type, or out of its range.

    Example:
        >>> load_recipe("paper").network.backbone
        'vgg16'
    """
    return from_table(Recipe, load_table(name_or_path, RECIPES), str(name_or_path))
