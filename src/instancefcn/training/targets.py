"""Targets of a batch: a sample of the labels, and the masks that sampled windows should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.config import check_values
from instancefcn.data.training_image import TrainingImage
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import IGNORED, NEGATIVE, POSITIVE, Assignment
from instancefcn.training.covered_cells import CoveredCells


@dataclass(frozen=True)
class SamplingConfig:
    """Keys of ``[sampling]``: the windows of each image that the losses see."""

    windows: int = 256  # positives and negatives together; positives are at most half
    near_misses: int = 32  # windows beside a positive, whose masks only the quality branch learns from
    soft_targets: bool = True  # fraction of each cell that the instance covers; False: whether it covers half (paper)

    def __post_init__(self) -> None:
        check_values(self, "sampling", windows=(1, 1_000_000), near_misses=(0, 1_000_000))


@dataclass(frozen=True)
class SampledWindows:
    """Windows of one ScoreMaps whose masks are assembled, and their targets."""

    image_index: Int[Tensor, "n"]
    positions_yx: Int[Tensor, "n 2"]
    positive: Bool[Tensor, "n"]  # else a near miss
    targets: Float[Tensor, "n dm dm"]  # in [0, 1]: the instance inside the window, at the density of the score maps
    void: Bool[Tensor, "n dm dm"]  # label unknown
    gt_cells: Float[Tensor, "n"]  # area of the whole instance, also outside the window, in score-map cells

    def to(self, device: torch.device) -> SampledWindows:
        """The same on another device."""
        return SampledWindows(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def keep_sampled(grids: Sequence[Assignment], windows: int, generator: torch.Generator) -> list[Assignment]:
    """Ignore all windows of an image but ``windows``, drawn 1:1 (paper 3.3); negatives replace missing positives."""
    flat = torch.cat([grid.labels.flatten() for grid in grids])
    kept = torch.full_like(flat, IGNORED)
    positives = _draw((flat == POSITIVE).nonzero()[:, 0], windows // 2, generator)
    negatives = _draw((flat == NEGATIVE).nonzero()[:, 0], windows - len(positives), generator)
    kept[positives], kept[negatives] = POSITIVE, NEGATIVE
    parts = zip(kept.split([grid.labels.numel() for grid in grids]), grids, strict=True)
    return [Assignment(part.view(grid.labels.shape), grid.gt_index) for part, grid in parts]


def sample_windows(
    sizes: Sequence[WindowSize],
    assignments: Sequence[Sequence[Assignment]],
    images: Sequence[TrainingImage],
    config: SamplingConfig,
    generators: Sequence[torch.Generator],
) -> list[SampledWindows]:
    """Draw the windows to assemble on each ScoreMaps: at most ``windows // 2`` positives an image, and near misses.

    Args:
        sizes: window size of each ScoreMaps.
        assignments: ``[image][score maps]``.
        generators: one an image, so that its windows do not depend on the images beside it.
    """
    drawn: list[_Candidates] = []
    for image_index, (grids, generator) in enumerate(zip(assignments, generators, strict=True)):
        found = _candidates(image_index, grids)
        positive, near_miss = found.positive.nonzero()[:, 0], (~found.positive).nonzero()[:, 0]
        drawn.append(found[_draw(positive, config.windows // 2, generator)])
        drawn.append(found[_draw(near_miss, config.near_misses, generator)])
    windows = _concatenate(drawn)
    covered = [CoveredCells(image) for image in images]
    sampled: list[SampledWindows] = []
    for maps_index, size in enumerate(sizes):
        here = windows[(windows.maps_index == maps_index).nonzero()[:, 0]]
        targets, void, areas = _targets(size, here, covered, config)
        sampled.append(SampledWindows(here.image_index, here.positions_yx, here.positive, targets, void, areas))
    return sampled


@dataclass(frozen=True)
class _Candidates:
    """Windows that may be drawn: positives and near misses."""

    image_index: Int[Tensor, "n"]
    maps_index: Int[Tensor, "n"]  # which ScoreMaps
    positions_yx: Int[Tensor, "n 2"]
    gt_index: Int[Tensor, "n"]  # instance of the image
    positive: Bool[Tensor, "n"]

    def __getitem__(self, index: Int[Tensor, "k"]) -> _Candidates:
        return _Candidates(*(column[index] for column in vars(self).values()))


def _concatenate(parts: Sequence[_Candidates]) -> _Candidates:
    return _Candidates(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


def _candidates(image_index: int, grids: Sequence[Assignment]) -> _Candidates:
    """Those of one image."""
    found: list[_Candidates] = []
    for maps_index, grid in enumerate(grids):
        positive = grid.labels == POSITIVE
        positions = (positive | ((grid.labels == IGNORED) & (grid.gt_index >= 0))).nonzero()
        y, x = positions.unbind(1)
        indices = torch.full_like(y, image_index), torch.full_like(y, maps_index)
        found.append(_Candidates(*indices, positions, grid.gt_index[y, x], positive[y, x]))
    return _concatenate(found)


def _targets(
    size: WindowSize, windows: _Candidates, covered: Sequence[CoveredCells], config: SamplingConfig
) -> tuple[Float[Tensor, "n dm dm"], Bool[Tensor, "n dm dm"], Float[Tensor, "n"]]:
    """Targets, void and areas of windows of one size."""
    count, side, cell = len(windows.positive), size.m * size.density, size.stride // size.density
    targets, void = np.zeros((count, side, side), dtype=np.float32), np.zeros((count, side, side), dtype=bool)
    areas = np.zeros(count, dtype=np.float32)
    corners = (windows.positions_yx - size.m // 2) * size.density
    columns = windows.image_index.tolist(), windows.gt_index.tolist(), corners.tolist()
    for index, (image, instance, (y, x)) in enumerate(zip(*columns, strict=True)):
        cells = covered[image]
        targets[index], areas[index] = cells.instance(instance, cell, (y, x), side, soft=config.soft_targets)
        void[index] = cells.void(cell, (y, x), side)
    return torch.from_numpy(targets), torch.from_numpy(void), torch.from_numpy(areas)


def _draw(candidates: Int[Tensor, "n *rest"], count: int, generator: torch.Generator) -> Int[Tensor, "count *rest"]:
    return candidates[torch.randperm(len(candidates), generator=generator)[:count]]
