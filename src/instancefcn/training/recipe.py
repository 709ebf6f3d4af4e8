"""A recipe: everything a run is made of but its data, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from instancefcn.config import from_table
from instancefcn.data.transforms import Augmentation
from instancefcn.inference.proposer import InferenceConfig
from instancefcn.model.build import NetworkConfig
from instancefcn.training.assignment import AssignmentConfig
from instancefcn.training.losses import LossConfig
from instancefcn.training.optimization import OptimizationConfig
from instancefcn.training.targets import SamplingConfig

RECIPES = files("instancefcn") / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One TOML file, a table for each room; what a file leaves out has the ``lite`` preset's value."""

    seed: int = 0
    source_balance: float = 1.0  # a source with n images is drawn in proportion to n to this power
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    assignment: AssignmentConfig = field(default_factory=AssignmentConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name (``lite``, ``paper``) or a TOML file by path.

    Raises:
        ValueError: no such recipe, no TOML, an unknown key or a value of the wrong type.
    """
    shipped = {
        recipe.name.removesuffix(".toml"): recipe for recipe in RECIPES.iterdir() if recipe.name.endswith(".toml")
    }
    if name_or_path in shipped:
        text = shipped[name_or_path].read_text(encoding="utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text(encoding="utf-8")
    else:
        raise ValueError(f"recipe {name_or_path!r} is neither a file nor one of {', '.join(sorted(shipped))}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name_or_path}: not TOML: {error}") from error
    return from_table(Recipe, table, name_or_path)
