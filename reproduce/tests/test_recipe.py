"""Variants state only what differs from their base: what they come to is pinned here, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from instancefcn.config import to_table
from instancefcn.training.recipe import load_recipe as load_installed
from reproduce.methods import DEEPMASK, OURS
from reproduce.recipe import load_recipe
from reproduce.runner import Runner
from reproduce.settings import Settings

PAPER_SIDES = (118.5, 177.8, 266.7, 400.0, 600.0, 900.0)
MINI_SIDES = (112.0, 168.0, 252.0, 378.0)
PAPER: dict[str, Any] = {
    "seed": 0,
    "source_balance": 1.0,
    "network.kind": "single",
    "network.backbone": "vgg16",
    "network.k": 5,
    "network.channels": 512,
    "network.window_sizes": (21,),
    "network.finest_window_sizes": (),
    "network.batch_norm": "folded",
    "augmentation.shorter_sides": PAPER_SIDES,
    "augmentation.image_scales": (),
    "augmentation.draw": "one_of",
    "augmentation.object_side": 0.0,
    "augmentation.crop": 0,
    "augmentation.flip": True,
    "augmentation.rotate": False,
    "augmentation.colour_jitter": 0.0,
    "augmentation.copy_paste": 0.0,
    "assignment.judged_in": "image",
    "assignment.rule": "deepmask",
    "assignment.object_to_window": 0.5714285714,
    "assignment.center_tolerance": 0.0714285714,
    "assignment.center_negative": 0.1428571429,
    "assignment.scale_tolerance": 1.1892071150,
    "sampling.windows": 256,
    "sampling.near_misses": 0,
    "sampling.soft_targets": False,
    "loss.objectness": "logistic",
    "loss.objectness_weight": 1.0,
    "loss.mask_weight": 1.0,
    "loss.dice_weight": 0.0,
    "loss.quality_weight": 1.0,
    "optimization.optimizer": "sgd",
    "optimization.learning_rate": 0.001,
    "optimization.trunk_learning_rate": 1.0,
    "optimization.weight_decay": 0.0005,
    "optimization.batch_size": 8,
    "optimization.accumulate": 1,
    "optimization.iterations": 40_000,
    "optimization.warmup_iterations": 0,
    "optimization.clip_norm": 0.0,
    "optimization.ema_decay": 0.0,
    "optimization.frozen_stages": 0,
    "optimization.precision": "fp32",
    "inference.shorter_sides": PAPER_SIDES,
    "inference.image_scales": (),
    "inference.overview": 0.0,
    "inference.longest_side": 10_000.0,
    "inference.tiles": False,
    "inference.candidates": 1000,
    "inference.quality_power": 0.0,
    "inference.stability_power": 0.0,
    "inference.blend_tiles": False,
    "inference.mask_threshold": 0.5,
    "inference.nms_threshold": 0.8,
    "inference.soft_nms_threshold": 0.0,
    "inference.nms_candidates": 6000,
    "inference.vote_threshold": 0.0,
}
MINI = PAPER | {
    "source_balance": 0.5,
    "network.kind": "dilated",
    "network.backbone": "tf_efficientnet_lite0",
    "network.channels": 128,
    "augmentation.shorter_sides": MINI_SIDES,
    "augmentation.object_side": 96.0,
    "augmentation.colour_jitter": 0.2,
    "assignment.rule": "gapless",
    "assignment.scale_tolerance": 1.2247448714,
    "sampling.windows": 64,
    "loss.dice_weight": 1.0,
    "optimization.optimizer": "adamw",
    "optimization.learning_rate": 0.002,
    "optimization.trunk_learning_rate": 0.5,
    "optimization.weight_decay": 0.02,
    "optimization.batch_size": 4,
    "optimization.accumulate": 1,
    "optimization.iterations": 150,
    "optimization.warmup_iterations": 20,
    "optimization.clip_norm": 10.0,
    "optimization.ema_decay": 0.98,
    "optimization.frozen_stages": 3,
    "inference.shorter_sides": MINI_SIDES,
    "inference.longest_side": 1333.0,
    "inference.nms_candidates": 2000,
}
PAPER_DEEPMASK = PAPER | {"crops.per_image": 256, "network.kind": "deepmask"}
MINI_DEEPMASK = MINI | {
    "crops.per_image": 4,
    "network.kind": "deepmask",
    "augmentation.object_side": 128.0,
    "optimization.learning_rate": 0.0003,
    "optimization.trunk_learning_rate": 1.0,
}


def sides(*pixels: float) -> dict[str, Any]:
    return {"augmentation.shorter_sides": pixels, "inference.shorter_sides": pixels}


def factors(larger: float) -> dict[str, Any]:
    """DeepMask's for COCO, 2 ** -2 to 2 ** 1 in steps of sqrt(2), times another."""
    scales = tuple(pytest.approx(larger * 2 ** (step / 2), rel=1e-9) for step in range(-4, 3))
    return {"augmentation.image_scales": scales, "inference.image_scales": scales}


VARIANTS = {
    "paper-coco": PAPER | factors(1) | {"crops.per_image": 0},
    "paper-coco-deepmask": PAPER_DEEPMASK | sides(158.0, 237.0, 355.6, 533.3, 800.0, 1200.0) | factors(4 / 3),
    "paper": PAPER | {"crops.per_image": 0},
    "paper-crops": PAPER | {"crops.per_image": 256},
    "paper-deepmask": PAPER_DEEPMASK | sides(158.0, 237.0, 355.6, 533.3, 800.0, 1200.0),
    "paper-deepmask-same-scales": PAPER_DEEPMASK,
    "paper-gapless": PAPER
    | {"crops.per_image": 0, "assignment.rule": "gapless", "assignment.scale_tolerance": 1.2247448714},
    "mini": MINI | {"crops.per_image": 0},
    "mini-few-windows": MINI | {"crops.per_image": 0, "sampling.windows": 4},
    "mini-crops": MINI | {"crops.per_image": 4},
    "mini-deepmask": MINI_DEEPMASK | sides(149.3, 224.0, 336.0, 504.0),
    "mini-deepmask-same-scales": MINI_DEEPMASK,
    "mini-vgg16": MINI
    | {
        "crops.per_image": 0,
        "network.kind": "single",
        "network.backbone": "vgg16",
        "network.channels": 512,
        "optimization.learning_rate": 0.0005,
        "optimization.trunk_learning_rate": 0.2,
        "optimization.frozen_stages": 2,
    },
}


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every key with the table it stands in, but for the pyramid's blocks, which these networks do not have."""
    keys: dict[str, Any] = {}
    for key, value in table.items():
        keys |= flat(value, f"{key}.") if isinstance(value, dict) else {prefix + key: value}
    return {key: value for key, value in keys.items() if key != "network.blocks"}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_what_it_says(name: str) -> None:
    assert flat(to_table(load_recipe(name))) == VARIANTS[name]


def test_the_installed_preset_is_the_papers() -> None:
    assert flat(to_table(load_installed("paper"))) == PAPER


def test_table_5_has_scales_of_its_own_where_it_has_runs_of_its_own(tmp_path: Path) -> None:
    paper, mini = (Runner(Settings(scale, tmp_path, tmp_path)) for scale in ("paper", "mini"))
    for method, name in ((OURS, "paper-coco"), (DEEPMASK, "paper-coco-deepmask")):
        recipe = load_recipe(name)
        assert paper.recipe(method, 0, "table5") == recipe
        assert paper.recipe(method, 0, "table3") != recipe
        assert mini.recipe(method, 0, "table5") == mini.recipe(method, 0, "table3")
