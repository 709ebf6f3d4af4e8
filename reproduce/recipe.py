"""Recipes of the experiments: the package's, with ~DeepMask's network and training on crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from instancefcn.config import check_values, from_table, load_table
from instancefcn.training.recipe import RECIPES, Recipe
from reproduce.networks import ExperimentNetwork

OWN_RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class CropConfig:
    """Keys of ``[crops]``."""

    per_image: int = 0  # crops around single windows, half of them positive ones (Table 2); 0 for whole images

    def __post_init__(self) -> None:
        check_values(self, "crops", per_image=(0, 100_000))


@dataclass(frozen=True)
class ExperimentRecipe(Recipe):
    """One TOML file: the package's tables, and ``[crops]``."""

    network: ExperimentNetwork = field(default_factory=ExperimentNetwork)
    crops: CropConfig = field(default_factory=CropConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crops.per_image and self.augmentation.crop:
            raise ValueError("crops.per_image takes crops of whole images: set augmentation.crop = 0")


def load_recipe(name: str) -> ExperimentRecipe:
    """Read a recipe of this folder, or one that is installed with the package."""
    return from_table(ExperimentRecipe, load_table(name, OWN_RECIPES, RECIPES), name)
