"""Masks for people: an outline without jags, without small holes and without specks."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image, ImageFilter

from instancefcn.geometry.rle import Rle, area, encode_in_box
from instancefcn.geometry.runs import near_box

SMALLEST_HOLE = 0.1  # of the mask's area; a smaller hole is filled
SMALLEST_PART = 0.05  # of the largest part's area; a smaller part is dropped


def clean(rle: Rle, smoothing: float) -> Rle:
    """The mask with a smooth outline, small holes filled and specks dropped.

    Args:
        smoothing: standard deviation of the blur, in units of the square root of the mask's area, after which every
            pixel that is half covered belongs to the mask; 0 leaves the outline as it is.
    """
    blur = smoothing * float(np.sqrt(area(rle)))
    rows, columns, mask = near_box(rle, int(np.ceil(3 * blur)) + 1)
    if blur:
        blurred = Image.fromarray(mask).convert("L").filter(ImageFilter.GaussianBlur(blur))
        smooth = np.asarray(blurred) >= 128
        mask = smooth if smooth.any() else mask  # what is thinner than the blur keeps its outline
    return encode_in_box(drop_specks(fill_holes(mask)), rows.start, columns.start, *rle["size"])


def fill_holes(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Fill what the mask encloses and is smaller than ``SMALLEST_HOLE`` of it; pixels are neighbours by their sides."""
    labels, count = connected_parts(~np.pad(mask, 1), corners=False)
    if count == 1:  # nothing but what is all around
        return mask
    sizes = np.bincount(labels.ravel())
    small = sizes < SMALLEST_HOLE * mask.sum()
    small[[0, labels[0, 0]]] = False  # the mask itself, and all that is around it
    return mask | small[labels][1:-1, 1:-1]


def drop_specks(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Leave out parts smaller than ``SMALLEST_PART`` of the largest; pixels are neighbours by sides and corners."""
    labels, count = connected_parts(mask, corners=True)
    if count == 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # background
    return (sizes >= SMALLEST_PART * sizes.max())[labels] & mask


def connected_parts(mask: Bool[np.ndarray, "h w"], *, corners: bool) -> tuple[Int[np.ndarray, "h w"], int]:
    """The number of each pixel's connected part, from 1 on, 0 outside the mask; and how many there are.

    Args:
        corners: pixels are neighbours by sides and corners, else by sides alone.
    """
    from scipy import ndimage  # a quarter of a second, which proposing candidates need not wait for

    found: Any = ndimage.label(mask, ndimage.generate_binary_structure(2, 2 if corners else 1))
    return found
