"""Proposal networks and classifiers that are small and know nothing, and data sets whose categories can be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.scenes import plain
from instancefcn.classifier.checkpoint import load_proposer
from instancefcn.classifier.config import ClassifierConfig, ClassifierRecipe, LearningConfig, NamingConfig
from instancefcn.classifier.training import train_classifier
from instancefcn.data.source import Labels, Source
from instancefcn.inference.checkpoint import Checkpoint, save_checkpoint
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from synthetic import SyntheticScenes

NETWORK = NetworkConfig(
    backbone="test_efficientnet", k=3, channels=16, window_sizes=(7,), finest_window_sizes=(5,), blocks=1
)
INFERENCE = plain(shorter_sides=(64.0,), candidates=20)
RECIPE = ClassifierRecipe(
    classifier=ClassifierConfig(trunk="test_efficientnet", width=8, shorter_side=64.0),
    learning=LearningConfig(epochs=2),
    naming=NamingConfig(proposals=10),
)


def proposal_network(path: Path, seed: int = 0) -> Path:
    """A checkpoint of random weights."""
    torch.manual_seed(seed)
    weights = build_network(NETWORK).state_dict()
    save_checkpoint(Checkpoint(NETWORK, INFERENCE, weights, {"iteration": 0}), path)
    return path


def train(recipe: ClassifierRecipe, sources: Sequence[Source], proposals: Path, out: Path, **options: Any) -> Path:
    """A classifier's file, from a trunk of random weights."""
    return train_classifier(recipe, sources, *load_proposer(proposals), out, **{"imagenet": False, **options})


class Scenes(SyntheticScenes):
    """Synthetic scenes in which category ids stand for others, and some images show nothing."""

    def __init__(self, length: int, ids: Mapping[int, int], names: Mapping[int, str], empty: int = 0) -> None:
        super().__init__(length, height=64, width=80)
        self.categories = dict(names)
        self.ids, self.empty = ids, empty

    def labels(self, index: int) -> Labels:
        labels = super().labels(index)
        known = labels.instances
        kept = np.array([index >= self.empty and int(kind) in self.ids for kind in known.category_ids], dtype=bool)
        instances = replace(
            known,
            ids=known.ids[kept],
            rles=[rle for rle, keep in zip(known.rles, kept, strict=True) if keep],
            boxes_xyxy=known.boxes_xyxy[kept],
            category_ids=np.array([self.ids[int(kind)] for kind in known.category_ids[kept]], dtype=np.int64),
            crowd=known.crowd[kept],
            ignore=known.ignore[kept],
        )
        return replace(labels, instances=instances)
