"""Local coherence (paper 3.2, Figure 3): do windows that are a few cells apart say the same of the pixels they share?

The paper argues that ours copies most pixels of a shifted window from the same score maps, so they stay as they are,
where ~DeepMask computes all of them anew. Here each labelled object is looked at by the window that suits it best, and
by those 1 to 4 cells beside, above and below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.data.resizing import network_input
from instancefcn.data.source import Source
from instancefcn.geometry.windows import window_centers
from instancefcn.inference.proposer import Proposer, as_tensor
from instancefcn.inference.tiles import sizes_in_one_pass
from instancefcn.model.assembling import assemble_windows
from instancefcn.structures import ScoreMaps
from reproduce.methods import Method
from reproduce.report import markdown_table, mean_and_spread, write_page
from reproduce.row_measures import kept_of_row, of_rows, test_set
from reproduce.runner import Runner

COHERENCE_NAME = "coherence"
SHIFTS = (1, 2, 3, 4)  # cells
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # y, x
OBJECT_TO_WINDOW = 128 / 224  # longer side of the object that a window is made for (Pinheiro et al., NIPS 2015)
FILE = "coherence.json"  # of a run's folder

Shares = dict[int, list[float]]  # by shift: shares of a network


@dataclass(frozen=True)
class Coherence:
    """Means over objects and directions, in percent, by shift."""

    objects: int
    pixels: dict[int, float]  # of those that two windows share: how many both give to the object, or both do not
    foreground: dict[int, float]  # IoU of the two masks there


def reproduce_coherence(runner: Runner) -> Path:
    """Measure the rows whose weights are there, train the others, and write ``coherence.md`` and ``coherence.json``."""
    found = of_rows(runner, coherence_of)
    table = markdown_table(
        ["", "objects", *(f"{n} cells: agree" for n in SHIFTS), *(f"{n} cells: IoU" for n in SHIFTS)],
        [
            [
                label,
                str(seeds[0].objects),
                *(mean_and_spread([of.pixels[n] for of in seeds]) for n in SHIFTS),
                *(mean_and_spread([of.foreground[n] for of in seeds]) for n in SHIFTS),
            ]
            for label, seeds in found.items()
        ],
    )
    note = (
        "Two windows, some cells apart, on the pixels that both see, percent: pixels on which they agree, and the "
        f"IoU of their masks there. Means over objects of {test_set(runner)[0]} and over four directions."
    )
    rows = {label: [vars(of) for of in seeds] for label, seeds in found.items()}
    kept = {"dry_run": runner.settings.dry, "rows": rows}
    return write_page(runner.settings, COHERENCE_NAME, "Local coherence", [note], table, kept)


def coherence_of(runner: Runner, method: Method, seed: int) -> Coherence:
    """Of a row of Table 2; see ``kept_of_row``."""
    kept = kept_of_row(runner, method, seed, FILE, lambda proposer, source: vars(measure_coherence(proposer, source)))
    by_shift = [{int(shift): share for shift, share in kept[name].items()} for name in ("pixels", "foreground")]
    return Coherence(kept["objects"], *by_shift)


def measure_coherence(proposer: Proposer, source: Source) -> Coherence:
    """Over all judged objects of a source."""
    pixels: Shares = {shift: [] for shift in SHIFTS}
    foreground: Shares = {shift: [] for shift in SHIFTS}
    objects = 0
    for sample in source:
        boxes = sample.instances.boxes_xyxy[sample.instances.judged]
        for maps, positions in suited_windows(proposer, sample.image, boxes):
            objects += len(positions)
            masks = masks_at(maps, positions, proposer)
            for shift in SHIFTS:
                for dy, dx in DIRECTIONS:
                    there = masks_at(maps, positions + torch.tensor([shift * dy, shift * dx]), proposer)
                    here, there = shared(masks, there, shift * dy * maps.density, shift * dx * maps.density)
                    pixels[shift] += (here == there).mean((1, 2)).tolist()
                    either, both = (here | there).sum((1, 2)), (here & there).sum((1, 2))
                    foreground[shift] += (both[either > 0] / either[either > 0]).tolist()
    means = [
        {shift: 100 * float(np.mean(of)) if of else float("nan") for shift, of in shares.items()}
        for shares in (pixels, foreground)
    ]
    return Coherence(objects, *means)


@torch.inference_mode()
def suited_windows(
    proposer: Proposer, image: np.ndarray, boxes_xyxy: Float[np.ndarray, "n 4"]
) -> Iterator[tuple[ScoreMaps, Int[Tensor, "_ 2"]]]:
    """For each ScoreMaps of each scale, the positions of the windows of the objects that suit it best.

    Of all window sizes and scales an object takes the one in whose window it is nearest to the size that windows are
    made for, and there the window whose centre is nearest.
    """
    height, width = image.shape[:2]
    sizes = sizes_in_one_pass(height, width, proposer.config)
    windows = proposer.network.window_sizes
    sides = np.array([[size.side * height / resized[0] for size in windows] for resized in sizes])
    longer = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).max(1, initial=0)
    distance = np.abs(np.log(longer[:, None, None] / (OBJECT_TO_WINDOW * sides)))
    best = distance.reshape(len(longer), -1).argmin(1) if len(longer) else np.zeros(0, dtype=int)
    centers = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    for scale, resized in enumerate(sizes):
        wanted = [best == scale * len(windows) + size for size in range(len(windows))]
        if not any(of_size.any() for of_size in wanted):
            continue
        pixels = network_input(as_tensor(image), resized, proposer.network.size_multiple, proposer.device)
        for maps, of_size in zip(proposer.network(pixels), wanted, strict=True):
            in_view = centers[of_size] * [resized[1] / width, resized[0] / height]
            _, map_height, map_width = maps.objectness.shape
            rows, columns = window_centers(map_height, map_width, maps.stride, maps.m)
            nearest = [nearest_to(in_view[:, axis], places) for axis, places in ((1, rows), (0, columns))]
            yield maps, torch.from_numpy(np.stack(nearest, axis=1))


def nearest_to(wanted: Float[np.ndarray, "n"], places: Float[Tensor, "k"]) -> Int[np.ndarray, "n"]:
    """Index of the place that is nearest to each wanted one."""
    return np.abs(wanted[:, None] - places.numpy()).argmin(1)


@torch.inference_mode()
def masks_at(maps: ScoreMaps, positions_yx: Int[Tensor, "n 2"], proposer: Proposer) -> Bool[np.ndarray, "n m m"]:
    """Masks of the windows at positions, which may lie outside the maps."""
    on = torch.zeros(len(positions_yx), dtype=torch.int64, device=maps.instance.device)
    logits = assemble_windows(maps, on, positions_yx.to(on.device))
    return (logits > proposer.config.threshold_logit).cpu().numpy()


def shared(
    masks: Bool[np.ndarray, "n m m"], shifted: Bool[np.ndarray, "n m m"], down: int, right: int
) -> tuple[Bool[np.ndarray, "n rows columns"], Bool[np.ndarray, "n rows columns"]]:
    """What windows, and those of them that lie so many pixels further down and right, see of the pixels of both.

    Example:
        >>> masks = np.array([[[True, False], [False, True]]])
        >>> [part.tolist() for part in shared(masks, masks, 0, 1)]
        [[[[False], [True]]], [[[True], [False]]]]
    """
    m = masks.shape[-1]
    rows, columns = (slice(max(by, 0), m + min(by, 0)) for by in (down, right))
    their_rows, their_columns = (slice(max(-by, 0), m + min(-by, 0)) for by in (down, right))
    return masks[:, rows, columns], shifted[:, their_rows, their_columns]
