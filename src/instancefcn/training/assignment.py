"""Labels windows as positive, negative or ignored, by DeepMask's rule or by two rules without its gaps.

A window is *positive* if an instance is centred in it and has the size that windows of this size are made for,
*negative* if no instance comes close to that, and *ignored* otherwise. Windows centred on padding are ignored, too.
Lengths are relative to the window; the DeepMask paper gives them for windows of 224 pixels and objects of 128.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.config import check_values
from instancefcn.geometry.windows import window_centers
from instancefcn.structures import WindowSize

NEGATIVE, IGNORED, POSITIVE = 0, -1, 1

SCALE_NEGATIVE = 2.0  # windows within this factor of the size that suits an instance are not negative (DeepMask)
MIN_AREA, MIN_SIDE = 100.0, 5.0  # pixels; instances of less area or a shorter side are not judged


@dataclass(frozen=True)
class AssignmentConfig:
    """Keys of ``[assignment]``; lengths are fractions of the window's side. The defaults are the ``lite`` preset's."""

    # deepmask: positive where centre and size suit. gapless: the largest windows also take what still fits into them,
    # the smallest all that is smaller. nearest_scale: as gapless, but on the window size nearest to the instance alone
    rule: Literal["deepmask", "gapless", "nearest_scale"] = "gapless"
    object_to_window: float = 2 / 3  # longer side of the instance that a window is made for (DeepMask: 128 / 224)
    center_tolerance: float = 0.1  # positive within this much, along each axis (DeepMask: 16 / 224)
    center_negative: float = 0.18  # not negative within this much (DeepMask: 32 / 224)
    # image or view: where an instance must have MIN_AREA and MIN_SIDE pixels to be judged; a view may be enlarged
    judged_in: Literal["image", "view"] = "image"
    # Positive within this factor of the size that suits; more than half the largest step between two windows leaves no
    # gaps (DeepMask: 2 ** (1 / 4)).
    scale_tolerance: float = 1.22

    def __post_init__(self) -> None:
        check_values(
            self,
            "assignment",
            object_to_window=(0.01, 10),
            center_tolerance=(0, 10),
            center_negative=(0, 10),
            scale_tolerance=(1, 100),
        )
        if self.center_tolerance > self.center_negative:
            raise ValueError(
                f"assignment.center_tolerance must be center_negative at most, not {self.center_tolerance:g} above "
                f"{self.center_negative:g}: a window would be positive and negative at once; lower "
                "center_tolerance, or raise center_negative"
            )


@dataclass(frozen=True)
class Grid:
    """Positions of the windows of one size over one image."""

    size: WindowSize
    height: int  # in positions
    width: int

    @classmethod
    def over(cls, height: int, width: int, size: WindowSize) -> Grid:
        """The grid of windows of one size over an image of ``height`` x ``width`` pixels."""
        return cls(size, -(-height // size.stride), -(-width // size.stride))

    @property
    def centers(self) -> tuple[Float[Tensor, "h"], Float[Tensor, "w"]]:
        """``window_centers`` of all windows."""
        return window_centers(self.height, self.width, self.size.stride, self.size.m)


@dataclass(frozen=True)
class Assignment:
    """Labels of all windows of one grid."""

    labels: Int[Tensor, "h w"]  # POSITIVE, NEGATIVE or IGNORED
    gt_index: Int[Tensor, "h w"]  # that the window is positive for, else the nearest one near its centre; -1: none


def assign(
    gt_boxes: Float[Tensor, "g 4"],
    gt_ignored: Bool[Tensor, "g"],
    grids: Sequence[Grid],
    config: AssignmentConfig,
    partial: bool = False,
    other_sides: Sequence[float] = (),
    padding: Bool[Tensor, "h w"] | None = None,
) -> list[Assignment]:
    """Label the windows of several grids of positions.

    Args:
        gt_boxes: tight boxes of the instances, xyxy, in the network's frame.
        gt_ignored: crowds, tiny instances and the like; windows centred on them are ignored, at every size.
        partial: objects may be unlabelled, so only windows centred on or beside a labelled instance are negative.
        other_sides: sides, in the network's frame, of the windows at the other scales of an image pyramid. Under
            ``nearest_scale``, an instance is left to them if one of them suits it better.
        padding: pixels of the network's frame that are no pixels of an image; windows centred on them, or beyond them
            on the right and below, are ignored. None: every window is centred on the image.
    """
    sides = torch.tensor([*(float(grid.size.side) for grid in grids), *other_sides])
    scale_error = scale_errors(gt_boxes[~gt_ignored], sides, config)  # [kept, sides]
    positive_scale = scale_error <= config.scale_tolerance
    if config.rule == "nearest_scale" and len(scale_error):
        positive_scale = (scale_error == scale_error.amin(1, keepdim=True)) & (scale_error < torch.inf)
    assignments: list[Assignment] = []
    for grid, error, positive in zip(grids, scale_error.T, positive_scale.T, strict=False):
        assignment = _assign_grid(gt_boxes, ~gt_ignored, grid, error, positive, config, partial)
        if padding is not None:
            assignment.labels[beyond := _on_padding(grid, padding)] = IGNORED
            assignment.gt_index[beyond] = -1  # no near misses either
        assignments.append(assignment)
    return assignments


def scale_errors(
    gt_boxes: Float[Tensor, "g 4"], sides: Float[Tensor, "grids"], config: AssignmentConfig
) -> Float[Tensor, "g grids"]:
    """Factor (at least 1) by which each instance is off the size that windows of each side are made for.

    Except under ``deepmask``, the largest windows also take larger instances that still fit into them, and the smallest
    windows all smaller instances. An instance that does not fit into the largest window is off by infinity.
    """
    longer = (gt_boxes[:, 2:] - gt_boxes[:, :2]).amax(1)
    made_for = sides * config.object_to_window
    if config.rule != "deepmask":
        fits = longer <= sides.max()
        longer = longer.clamp(min=float(made_for.min()), max=float(made_for.max()))
        longer = torch.where(fits, longer, torch.inf)
    ratio = longer[:, None] / made_for[None]
    return torch.maximum(ratio, 1 / ratio)


def _assign_grid(
    gt_boxes: Float[Tensor, "g 4"],
    kept: Bool[Tensor, "g"],
    grid: Grid,
    scale_error: Float[Tensor, "kept"],
    positive_scale: Bool[Tensor, "kept"],
    config: AssignmentConfig,
    partial: bool,
) -> Assignment:
    shape = grid.height, grid.width
    center_y, center_x = grid.centers
    labels = torch.full(shape, IGNORED if partial else NEGATIVE)
    gt_index = torch.full(shape, -1)
    for box in gt_boxes if partial else ():  # nothing else is unlabelled on or beside a labelled instance
        margin = (box[2:] - box[:2]) / 2
        labels[_within(center_y, center_x, torch.cat([box[:2] - margin, box[2:] + margin]))] = NEGATIVE
    for box in gt_boxes[~kept]:
        labels[_within(center_y, center_x, box)] = IGNORED

    # In numpy, whose operations on small arrays take less time than torch's: an image may have 10,000 instances.
    of_windows, of_instances, nearest = labels.numpy(), gt_index.numpy(), np.full(shape, np.inf, dtype=np.float32)
    centers, reach = (center_y.numpy(), center_x.numpy()), config.center_negative * grid.size.side
    boxes, indices = gt_boxes[kept].numpy(), kept.nonzero()[:, 0].tolist()
    for i in ((scale_error < SCALE_NEGATIVE) | positive_scale).nonzero()[:, 0].tolist():
        middle = ((boxes[i, 1::-1] + boxes[i, :1:-1]) / 2).tolist()
        part = tuple(_close(axis, place, reach) for axis, place in zip(centers, middle, strict=True))
        offset_y, offset_x = (abs(axis[near] - place) for axis, near, place in zip(centers, part, middle, strict=True))
        distance = np.maximum(offset_y[:, None], offset_x[None]) / np.float32(grid.size.side)
        positive = (distance <= np.float32(config.center_tolerance)) & bool(positive_scale[i])
        near = (distance < np.float32(config.center_negative)) | positive
        # A window goes to an instance that it is positive for, and among those to the nearest.
        rank = np.where(positive, distance - np.float32(1), distance)
        taken = near & (rank < nearest[part])
        nearest[part][taken] = rank[taken]
        of_instances[part][taken] = indices[i]
        of_windows[part][near & (of_windows[part] != POSITIVE)] = IGNORED
        of_windows[part][positive] = POSITIVE
    return Assignment(labels, gt_index)


def _close(centers: Float[np.ndarray, "n"], place: float, reach: float) -> slice:
    """Those of ascending centres within a distance of a place, and one more on each side."""
    first, end = np.searchsorted(centers, [place - reach, place + reach]).tolist()
    return slice(max(first - 1, 0), end + 1)


def _on_padding(grid: Grid, padding: Bool[Tensor, "h w"]) -> Bool[Tensor, "_ _"]:
    """Whether each window of a grid is centred on padding, or outside the pixels of ``padding``."""
    height, width = padding.shape
    center_y, center_x = grid.centers
    rows, columns = center_y.long(), center_x.long()
    outside = (rows >= height)[:, None] | (columns >= width)[None]
    return outside | padding[rows.clamp(max=height - 1)][:, columns.clamp(max=width - 1)]


def _within(center_y: Tensor, center_x: Tensor, box_xyxy: Tensor) -> Bool[Tensor, "h w"]:
    left, top, right, bottom = box_xyxy
    return ((center_y >= top) & (center_y < bottom))[:, None] & ((center_x >= left) & (center_x < right))[None]


def is_tiny(gt_areas: Float[Tensor, "g"], gt_boxes: Float[Tensor, "g 4"]) -> Bool[Tensor, "g"]:
    """Whether each instance is too small to be judged, by the area of its mask and its box, in pixels."""
    return (gt_areas < MIN_AREA) | ((gt_boxes[:, 2:] - gt_boxes[:, :2]).amin(1) < MIN_SIDE)


def is_covered(gt_boxes: Float[Tensor, "g 4"], sides: Sequence[float], config: AssignmentConfig) -> Bool[Tensor, "g"]:
    """Whether each instance has a size for which some window is positive; boxes and sides in image pixels."""
    error = scale_errors(gt_boxes, torch.tensor(sides), config)
    if config.rule == "nearest_scale":
        return (error < torch.inf).any(1)
    return (error <= config.scale_tolerance * (1 + 1e-6)).any(1)
