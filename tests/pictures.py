"""Photographs of noise, masks to draw over them, and those of training images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from instancefcn.data.training_image import TrainingImage

HEIGHT, WIDTH = 120, 160
FIRST_WIDTH = 40  # of several files; each has another


def photograph(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Noise, RGB."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_photograph(path: Path, width: int = 40, height: int = 30, **options: Any) -> Path:
    """A file of noise, another one for each width; options are Pillow's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(height, width, seed=width)).save(path, **options)
    return path


def write_photographs(folder: Path, count: int, damaged: Sequence[int] = ()) -> Path:
    """Images 0.png, 1.png, ..., some of which are none."""
    for number in range(count):
        path = write_photograph(folder / f"{number}.png", width=FIRST_WIDTH + number)
        if number in damaged:
            path.write_bytes(b"no image")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """All files in a folder and those below, by their places in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rectangle(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """The mask of a rectangle, half-open, at (height, width)."""
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def masks_of(image: TrainingImage) -> Tensor:
    """Masks of the instances of a training image, [g, h, w], at its size."""
    return torch.from_numpy(image.gt_masks.whole())
