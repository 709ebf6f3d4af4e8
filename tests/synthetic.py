"""Seeded scenes of overlapping shapes: data for tests and smoke trainings that needs no files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from instancefcn.data.label_maps import split_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import Labels, Problem, Source

KINDS = ("ellipse", "rectangle", "star")
SHAPES = (2, 7)  # drawn in a scene, at least and at most; those that would hide another one are left out
RADII = (0.1, 0.3)  # of shapes, in sides of the image
MIN_VISIBLE = 0.4  # share of a shape that others may not cover


@dataclass(frozen=True)
class Scene:
    """One scene; ``label_map`` numbers the visible pixels of shapes from 1, in the order in which they were drawn."""

    image: UInt8[np.ndarray, "h w 3"]
    label_map: Int[np.ndarray, "h w"]
    kinds: tuple[str, ...]


class SyntheticScenes(Source):
    """Scenes of ellipses, rectangles and stars; the i-th depends on the size, the seed and i alone.

    Masks are what is visible after occlusion, and every visible pixel of a shape is in one.
    """

    partial = False
    problems: Sequence[Problem] = ()

    def __init__(self, length: int, height: int = 128, width: int = 128, seed: int = 0) -> None:
        self.length, self.height, self.width, self.seed = length, height, width, seed
        self.categories = dict(enumerate(KINDS, start=1))
        self.name = f"synthetic:{length},{height},{width},{seed}"

    def __len__(self) -> int:
        return self.length

    def labels(self, index: int) -> Labels:
        scene = self._scene(index)
        ids, rles = split_label_map(scene.label_map)
        category_ids = [KINDS.index(scene.kinds[label - 1]) + 1 for label in ids]
        instances = to_instances(ids, rles, category_ids)
        return Labels(index + 1, f"{index + 1:06d}.png", None, self.height, self.width, instances)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return self._scene(index).image.copy()

    def _scene(self, index: int) -> Scene:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        return draw_scene(self.height, self.width, self.seed, index)


@functools.lru_cache(maxsize=16)  # labels and image of a scene are asked for one after the other
def draw_scene(height: int, width: int, seed: int, index: int) -> Scene:
    """Draw shapes one over the other on a textured background."""
    rng = np.random.default_rng((seed, index))
    image = _texture(height, width, rng)
    label_map = np.zeros((height, width), dtype=np.int64)
    kinds: list[str] = []
    areas: list[int] = []
    for _ in range(rng.integers(SHAPES[0], SHAPES[1] + 1)):
        kind = KINDS[rng.integers(len(KINDS))]
        mask, texture = _shape(kind, height, width, rng), _texture(height, width, rng)
        left = np.bincount(label_map[~mask], minlength=len(areas) + 1)[1:]
        if not mask.any() or (left < MIN_VISIBLE * np.array(areas)).any():
            continue
        kinds.append(kind)
        areas.append(int(mask.sum()))
        label_map[mask] = len(kinds)
        image[mask] = texture[mask]
    return Scene(image.round().astype(np.uint8), label_map, tuple(kinds))


def _shape(kind: str, height: int, width: int, rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Mask of a shape of random place, size and turn, whose centre is in the image."""
    side, angle = min(height, width), rng.uniform(0, 2 * np.pi)
    y, x = np.arange(height)[:, None] + 0.5 - rng.uniform(0, height), np.arange(width) + 0.5 - rng.uniform(0, width)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b = side * rng.uniform(*RADII, size=2)
    if kind == "ellipse":
        return (u / a) ** 2 + (v / b) ** 2 <= 1
    if kind == "rectangle":
        return (np.abs(u) <= a) & (np.abs(v) <= b)
    points, depth = rng.integers(3, 7), rng.uniform(0.2, 0.4)
    return np.hypot(u, v) <= a * (1 - depth + depth * np.cos(points * np.arctan2(v, u)))


def _texture(height: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "h w 3"]:
    """Stripes of a random colour, direction, pitch and strength, with noise; in 0..255."""
    colour, angle, pitch = rng.uniform(40, 215, size=3), rng.uniform(0, np.pi), rng.uniform(4, 24)
    phase = np.arange(height)[:, None] * np.sin(angle) + np.arange(width) * np.cos(angle)
    stripes = rng.uniform(0, 40) * np.sin(2 * np.pi * phase / pitch)
    return np.clip(colour + stripes[..., None] + rng.normal(0, 6, size=(height, width, 3)), 0, 255)
