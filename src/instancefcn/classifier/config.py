"""Keys of a classifier's recipe, and reading one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from instancefcn.config import check_values, from_table, load_table

RECIPES = files("instancefcn") / "recipes" / "classifier"


@dataclass(frozen=True)
class ClassifierConfig:
    """Keys of ``[classifier]``."""

    trunk: str = "tf_efficientnet_lite0"  # "vgg16", which has the paper's head, or any timm feature extractor
    shorter_side: float = 320.0  # pixels that the trunk sees the image at
    longest_side: float = 800.0  # pixels; a longer image is resized to less
    width: int = 256  # of the head's hidden layers; the paper has 4096

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.trunk):  # timm would fetch hf-hub:NAME from the network
            raise ValueError(f"classifier.trunk is {self.trunk!r:.60}; it must be the name of a timm model, or vgg16")
        check_values(self, "classifier", shorter_side=(16, 100_000), longest_side=(16, 1e9), width=(1, 65_536))


@dataclass(frozen=True)
class LearningConfig:
    """Keys of ``[learning]``."""

    epochs: int = 12  # over the images, each mirrored or not
    optimizer: Literal["adamw", "sgd"] = "adamw"  # adamw: the rate falls as a cosine; sgd: to a tenth at three quarters
    learning_rate: float = 0.001  # at first
    weight_decay: float = 0.02  # of all that is learnt
    trunk_learning_rate: float = 0.0  # the trunk's, as a factor of the above; 0: frozen, and its maps are kept on disk
    class_balance: float = 0.5  # a class of n instances weighs n to minus this power; 0: all the same
    label_smoothing: float = 0.05  # share of a target that all classes get alike

    def __post_init__(self) -> None:
        check_values(
            self,
            "learning",
            epochs=(1, 1_000_000),
            learning_rate=(0, 1000),
            weight_decay=(0, 1000),
            trunk_learning_rate=(0, 1000),
            class_balance=(-100, 100),
            label_smoothing=(0, 1),
        )


@dataclass(frozen=True)
class NamingConfig:
    """Keys of ``[naming]``: from scored proposals to segments. A classifier's file carries them."""

    proposals: int = 300  # N: the best proposals of an image are named, and learnt from
    nms_threshold: float = 0.3  # box IoU above which the worse of two segments of a category is suppressed
    vote_threshold: float = 0.5  # box IoU from which proposals are averaged into a survivor; 0 for never
    objectness_power: float = 0.5  # a segment scores its class's times the proposal's score to this power; paper: 0

    def __post_init__(self) -> None:
        check_values(
            self,
            "naming",
            proposals=(1, 1_000_000),
            nms_threshold=(0, 1),
            vote_threshold=(0, 1),
            objectness_power=(0, 1000),
        )


@dataclass(frozen=True)
class ClassifierRecipe:
    """One TOML file; a key that is left out has the value of ``base``, else ``lite``'s."""

    seed: int = 0  # of new weights and of what is drawn
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    naming: NamingConfig = field(default_factory=NamingConfig)

    def __post_init__(self) -> None:
        check_values(self, "", seed=(0, 2**32 - 1))


def load_classifier_recipe(name_or_path: str) -> ClassifierRecipe:
    """Read an installed recipe by name (``lite``, ``paper``), or a TOML file by path; ``base`` works as in ``Recipe``.

    Raises:
        ValueError: no such recipe, no TOML, an unknown key, or a value of the wrong type.
    """
    return from_table(ClassifierRecipe, load_table(name_or_path, RECIPES), name_or_path)
