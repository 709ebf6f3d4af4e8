"""Masks of windows and a way to propose that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import WindowMasks


def squares(*columns_and_scores: tuple[int, float]) -> WindowMasks:
    """Foreground in the left three of four columns of cells of 10 px; a window starts at a column of pixels."""
    columns, scores = np.array(columns_and_scores).T
    logits = np.full((len(columns), 4, 4), 20, dtype=np.float32)
    logits[:, :, 3] = -20
    windows = np.stack([columns, 10 + 0 * columns, columns + 40, 50 + 0 * columns], axis=1)
    return WindowMasks.of(scores, logits.ravel(), np.full(len(columns), 4), windows, 0.0)


def plain(**keys: Any) -> InferenceConfig:
    """Proposing as in the paper, at a shorter side of 512, with some keys changed."""
    paper: dict[str, Any] = {
        "shorter_sides": (512.0,),
        "overview": 0.0,
        "quality_power": 0.0,
        "stability_power": 0.0,
        "blend_tiles": False,
        "mask_threshold": 0.5,
        "soft_nms_threshold": 0.0,
        "vote_threshold": 0.0,
    }
    return InferenceConfig(**(paper | keys))
