"""Masks of windows that several tests share."""

from __future__ import annotations

import numpy as np

from instancefcn.inference.window_masks import WindowMasks


def squares(*columns_and_scores: tuple[int, float]) -> WindowMasks:
    """Foreground in the left three of four columns of cells of 10 px; a window starts at a column of pixels."""
    columns, scores = np.array(columns_and_scores).T
    logits = np.full((len(columns), 4, 4), 20, dtype=np.float32)
    logits[:, :, 3] = -20
    windows = np.stack([columns, 10 + 0 * columns, columns + 40, 50 + 0 * columns], axis=1)
    return WindowMasks.of(scores, logits.ravel(), np.full(len(columns), 4), windows, 0.0)
