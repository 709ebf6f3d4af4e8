"""How far colours lie apart for people who see all colours, and for those who do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# What is seen of linear RGB without one kind of cones: Machado, Oliveira and Fernandes, "A Physiologically-based Model
# for Simulation of Color Vision Deficiency" (2009), severity 1; red, green, blue.
BLINDNESS = np.array(
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def smallest_difference(colours: Sequence[Any] | np.ndarray) -> float:
    """The smallest difference of two of the colours, RGB of 0 to 255, in CIELAB, as seen by whoever sees it worst.

    A difference of 2.3 is just seen where two colours touch.
    """
    rgb = np.array(colours, dtype=float) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    views = [_lab(linear), *(_lab(linear @ matrix.T) for matrix in BLINDNESS)]
    apart = np.min([np.linalg.norm(view[:, None] - view[None], axis=-1) for view in views], axis=0)
    return float(apart[np.triu_indices(len(rgb), 1)].min())


def rgb(text: str) -> tuple[int, ...]:
    """Numbers of a colour like ``#0072b2``."""
    return tuple(bytes.fromhex(text.removeprefix("#")))


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = np.clip(linear, 0, 1) @ _XYZ.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
