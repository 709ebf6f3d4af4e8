"""Labelled instances that proposals find and miss (the paper's Figures 8 and 9).

For each instance the proposal with the best IoU is drawn on white. An instance whose best IoU is below 0.5 is missed:
its own mask is drawn, white with a red outline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageFilter

from instancefcn.drawing import PALETTE, default_line_width, outline, tint
from instancefcn.evaluation.curves import empty_figure, in_font
from instancefcn.evaluation.results import GroundTruth, ScoredRegions
from instancefcn.geometry.rle import Rle, area, decode, ious
from instancefcn.viz.panels import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_IOU = 0.5  # below it an instance is missed
MISSED_COLOUR: Int[np.ndarray, "3"] = np.array((228, 0, 0))
# Without the colours that look like the red of missed instances, to colour-blind people, too.
FOUND_COLOURS: Int[np.ndarray, "c 3"] = PALETTE[[1, 2, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 16, 18, 19]]
PANEL_SIDE = 4.3  # inches: the longer side of a panel


@dataclass(frozen=True)
class BestProposals:
    """The instances of an image, without crowds, and the proposal that overlaps each most."""

    gt_rles: list[Rle]
    rles: list[Rle]  # one for each instance, the instance's own where no proposal touches it
    ious: Float[np.ndarray, "g"]

    @property
    def missed(self) -> int:
        """Number of instances that no proposal finds."""
        return int((self.ious < MIN_IOU).sum())


def find_best(ground_truth: GroundTruth, proposals: ScoredRegions) -> BestProposals:
    """Find the proposal with the best IoU for each instance; among equal IoUs the better score wins. Both are masks."""
    assert not isinstance(ground_truth.regions, np.ndarray)
    assert not isinstance(proposals.regions, np.ndarray)
    gt_rles = [rle for rle, crowd in zip(ground_truth.regions, ground_truth.crowd, strict=True) if not crowd]
    overlaps = ious(proposals.regions, gt_rles)
    best = overlaps.max(0, initial=0)
    rles = [proposals.regions[int(of.argmax())] if of.any() else gt for of, gt in zip(overlaps.T, gt_rles, strict=True)]
    return BestProposals(gt_rles, rles, best)


def draw_best(image: UInt8[np.ndarray, "h w 3"], best: BestProposals) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the tinted photograph inside the best proposals, and missed instances white with red outlines, on white.

    Smaller masks lie over larger ones; red is drawn last, so that nothing hides it. The colour of an instance does not
    depend on the proposals.
    """
    canvas = np.full_like(image, 255)
    line_width = default_line_width(*image.shape[:2])
    found = best.ious >= MIN_IOU
    drawn = [rle if hit else gt for rle, gt, hit in zip(best.rles, best.gt_rles, found, strict=True)]
    colours = FOUND_COLOURS[np.arange(len(drawn)) % len(FOUND_COLOURS)]
    for index in sorted(range(len(drawn)), key=lambda index: -area(drawn[index])):
        if found[index]:
            tint(canvas, image, drawn[index], colours[index], line_width)
            outline(canvas, drawn[index], colours[index], line_width)
        else:
            tint(canvas, canvas, drawn[index], np.full(3, 255), line_width, opacity=1.0)
    for index in np.flatnonzero(~found):
        canvas[_ring(drawn[index], math.ceil(1.5 * line_width))] = MISSED_COLOUR
    return canvas


def _ring(rle: Rle, width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels within ``width`` of a mask, outside it; even the thinnest mask has such a ring."""
    mask = decode(rle)
    grown = Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * width + 1))
    return (np.asarray(grown) > 0) & ~mask


def draw_beside(image: UInt8[np.ndarray, "h w 3"], best: Mapping[str, BestProposals]) -> Figure:
    """The photograph, and beside it the best proposals of each file.

    Args:
        best: of one image, by the file's name; the name is left out where there is one file.
    """
    pictures = {"photograph": image}
    for name, found in best.items():
        count = len(found.ious)
        text = f"{count - found.missed} of {count} found" + (f", {found.missed} missed (red)" if found.missed else "")
        pictures[f"{in_font(name)}: {text}" if len(best) > 1 else text] = draw_best(image, found)
    height, width = (side * PANEL_SIDE / max(image.shape) for side in image.shape[:2])
    titles = [fill(title, round(12 * width)) for title in pictures]
    figure = empty_figure(len(pictures) * width, height + 0.2 * (1 + max(title.count("\n") + 1 for title in titles)))
    whole = np.array([0.0, 0, image.shape[1], image.shape[0]])
    for axes, title, picture in zip(figure.subplots(1, len(titles)), titles, pictures.values(), strict=True):
        show(axes, picture, whole, whole)
        axes.set_title(title, loc="left", fontsize=9, parse_math=False)
    return figure
