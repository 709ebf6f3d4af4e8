"""The keys of a classifier's recipe, and reading one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

from instancefcn.config import from_table

RECIPES = files("instancefcn") / "recipes" / "classifier"
OF_PROPOSALS = "proposals"  # as a trunk: the maps that the proposal network's own trunk made of the image


@dataclass(frozen=True)
class ClassifierConfig:
    """Keys of ``[classifier]``: where features come from, and the head. The defaults are ``lite``'s."""

    head: Literal["lite", "paper"] = "lite"
    trunk: str = "tf_efficientnet_lite0"  # a timm feature extractor, "vgg16", or "proposals" (OF_PROPOSALS)
    strides: tuple[int, ...] = (16, 32)  # of the trunk's maps that features are pooled from
    shorter_side: float = 320.0  # pixels that the trunk sees the image at; "proposals" has the proposals' own
    longest_side: float = 800.0
    width: int = 256  # of the head's hidden layers; the paper has 4096
    reduced: int = 192  # lite: channels that the maps are reduced to before pooling
    dropout: float = 0.3


@dataclass(frozen=True)
class RoiConfig:
    """Keys of ``[rois]``: the proposals of an image that the classifier learns from (CFM, Dai et al., CVPR 2015)."""

    proposals: int = 300  # best ones of an image; its labelled instances are added to them
    per_image: int = 64
    overlaps: tuple[float, ...] = (0.5, 0.1, 0.0)  # least mask IoU of each kind; the first kind is foreground
    fractions: tuple[float, ...] = (0.3, 0.5, 0.2)  # of each kind; what one lacks the others fill

    def __post_init__(self) -> None:
        if len(self.overlaps) != len(self.fractions) or list(self.overlaps) != sorted(self.overlaps, reverse=True):
            raise ValueError(
                f"rois.overlaps must fall and have a fraction each, not {self.overlaps} and {self.fractions}"
            )
        if min(self.proposals, self.per_image) < 1:
            raise ValueError("rois.proposals and per_image must be at least 1")


@dataclass(frozen=True)
class LearningConfig:
    """Keys of ``[learning]``."""

    epochs: int = 12  # over the images, a view of each
    batch_size: int = 8  # images
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 0.001
    schedule: Literal["cosine", "step"] = "cosine"  # step: a tenth after three quarters
    weight_decay: float = 0.02
    trunk_learning_rate: float = 0.0  # the trunk's, as a factor of the above; 0: frozen, and its maps are kept on disk
    class_balance: float = 0.5  # a class of n instances weighs n to minus this power; 0: all the same
    label_smoothing: float = 0.05
    flip: bool = True
    scales: tuple[float, ...] = (1.0,)  # of the shorter side, a view each (and mirrored)


@dataclass(frozen=True)
class NamingConfig:
    """Keys of ``[naming]``: from scored proposals to segments. A classifier's file carries them."""

    proposals: int = 300  # N: best proposals of an image that are named
    nms_threshold: float = 0.3  # box IoU above which the worse of two of a category is suppressed
    vote_threshold: float = 0.5  # box IoU from which proposals are averaged into a survivor; 0 for never
    mask_threshold: float = 0.4  # on the average
    objectness_power: float = 0.0  # a segment scores its class's times the proposal's score to this power; paper: 0


@dataclass(frozen=True)
class ClassifierRecipe:
    """One TOML file; what it leaves out has the value of ``lite``."""

    seed: int = 0
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    rois: RoiConfig = field(default_factory=RoiConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    naming: NamingConfig = field(default_factory=NamingConfig)

    def __post_init__(self) -> None:
        if self.classifier.trunk == OF_PROPOSALS and self.learning.trunk_learning_rate:
            raise ValueError("the proposals' trunk stays as it is: set learning.trunk_learning_rate = 0")
        if self.classifier.head == "paper" and len(self.classifier.strides) != 1:
            raise ValueError("the head 'paper' pools from one map: give classifier.strides one entry")


def load_classifier_recipe(name_or_path: str) -> ClassifierRecipe:
    """A shipped recipe by name (``lite``, ``paper``) or a TOML file by path.

    Raises:
        ValueError: no such recipe, no TOML, an unknown key or a value of the wrong type.
    """
    shipped = {entry.name.removesuffix(".toml"): entry for entry in RECIPES.iterdir() if entry.name.endswith(".toml")}
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
    return from_table(ClassifierRecipe, table, name_or_path)
