"""Small objects: how many times larger images are to be looked at, so that they are judged, and what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from instancefcn.data.source import Source
from instancefcn.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer
from instancefcn.inference.tiles import closer
from instancefcn.structures import Track
from instancefcn.training.coverage import Coverage, coverage
from instancefcn.training.recipe import Recipe
from instancefcn.training.run_files import BEST, LAST
from instancefcn.training.validation import deciding_measure, mean_over_sources, validate

MOST_TIMES = 4  # a pass costs the square of it
TINY_SHARE = 0.02  # of the instances that may stay too small


def looking_closer(recipe: Recipe, times: int) -> Recipe:
    """The recipe that also looks at images ``times`` as large, in tiles where they exceed ``longest_side``.

    Views in training reach that size, too, and an instance is judged by its pixels in a view, not in the image.

    Raises:
        ValueError: as ``inference.tiles.closer``.
    """
    if times == 1:
        return recipe
    views, sides = recipe.augmentation, recipe.augmentation.shorter_sides
    if views.draw == "between":
        sides = (sides[0], sides[1] * times)
    else:
        sides = tuple(sorted({*sides, *(side * times for side in sides)}))
    return replace(
        recipe,
        augmentation=replace(views, shorter_sides=sides),
        assignment=replace(recipe.assignment, judged_in="view"),
        inference=closer(recipe.inference, times),
    )


def times_needed(sources: Sequence[Source], recipe: Recipe) -> int:
    """The least number of times at which 98 % of the instances are large enough to be judged; at most MOST_TIMES."""
    for times in range(1, MOST_TIMES):
        counts = [coverage(source, looking_closer(recipe, times)) for source in sources]
        if sum(count.tiny for count in counts) <= TINY_SHARE * sum(count.instances for count in counts):
            return times
    return MOST_TIMES


def hint(source: Source, recipe: Recipe, before: Coverage) -> str:
    """What would bring in the instances of a source that are too small to be judged; empty if few are or nothing can.

    Args:
        before: ``coverage(source, recipe)``.
    """
    if recipe.inference.image_scales or before.tiny <= TINY_SHARE * before.instances:
        return ""
    try:
        times = times_needed([source], recipe)
        after = coverage(source, looking_closer(recipe, times))
    except ValueError:  # tiles would be too small, or sides too large
        return ""
    side = max(closer(recipe.inference, times).shorter_sides)
    return f"--tiles {times} (a shorter side of {side:.0f}) would bring in {before.tiny - after.tiny} of {before.tiny}"


def store_sides(out: Path, validation: Sequence[Source], device: torch.device, track: Track = iter) -> str:
    """Choose the shorter sides of ``best`` and ``last`` in a run's folder, as ``best`` is chosen on validation images.

    Tried are all sides that the files name, and each of them alone; the fewest win where others are no better.

    Args:
        track: told of every image of a source, for a progress bar.

    Returns:
        A line that says what was chosen for the best.
    """
    chosen: dict[int, tuple[InferenceConfig, str]] = {}  # by iteration: the best may be the last
    for name in (BEST, LAST):
        checkpoint = load_checkpoint(out / name)
        iteration = checkpoint.training["iteration"]
        if iteration not in chosen:
            chosen[iteration] = _choose_sides(checkpoint, validation, device, track)
        save_checkpoint(replace(checkpoint, inference=chosen[iteration][0]), out / name)
    return next(iter(chosen.values()))[1]


def _choose_sides(
    checkpoint: Checkpoint, validation: Sequence[Source], device: torch.device, track: Track
) -> tuple[InferenceConfig, str]:
    """How a checkpoint is to propose, and a line that says so."""
    tried, network = candidates(checkpoint.inference), checkpoint.build()
    measured = [validate(Proposer(network, config, device=device), validation, track=track) for config in tried]
    measure = deciding_measure(measured[0])
    scores = [mean_over_sources(figures, measure) for figures in measured]
    best = int(np.argmax(np.round(scores, 1)))
    names = [" and ".join(f"{side:.0f}" for side in config.shorter_sides) for config in tried]
    figures = ", ".join(f"{sides}: {score:.1f}" for sides, score in zip(names, scores, strict=True))
    return tried[best], f"proposes at a shorter side of {names[best]} ({measure} on validation images at {figures})"


def candidates(config: InferenceConfig) -> list[InferenceConfig]:
    """Each of the shorter sides alone, the smallest first, then all of them."""
    alone = [replace(config, shorter_sides=(side,)) for side in sorted(set(config.shorter_sides))]
    return [*alone, config] if len(alone) > 1 else alone
