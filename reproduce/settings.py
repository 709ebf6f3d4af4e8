"""What the command line asks of an experiment, and what that changes in recipes."""

from __future__ import annotations

import json
import shlex
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from instancefcn.config import Table, from_table, merge_tables, to_table
from reproduce.datasets import Scale
from reproduce.recipe import CropConfig, ExperimentRecipe

DRY_SIDES = (96.0,)  # shorter sides of images in a dry run


@dataclass(frozen=True)
class Settings:
    """The options of the command line."""

    scale: Scale
    data_root: Path
    out: Path
    seeds: int = 1
    iterations: int | None = None  # of every run, instead of the recipes'
    minutes: float | None = None  # of every run, instead of iterations
    processes: int = 1
    device: str = "auto"
    workers: int = 1
    dry: bool = False  # two steps, two images, random weights
    changes: tuple[str, ...] = ()  # of every recipe, such as "optimization.batch_size=16"
    searched_rates: bool = False  # of every row, those that `rates` found in the same folder
    finished: bool = False  # read what is there; what is not there is left out

    @property
    def folder(self) -> Path:
        """Where the results of this scale go."""
        return self.out / (f"{self.scale}-dry" if self.dry else self.scale)

    def command(self, experiment: str) -> str:
        """The command that makes an experiment's page."""
        budget = f" --iterations {self.iterations}" if self.iterations else ""
        budget += f" --minutes {self.minutes:g}" if self.minutes else ""
        budget += "".join(f" --set {shlex.quote(change)}" for change in self.changes)
        budget += " --searched-rates" * self.searched_rates + " --dry-run" * self.dry
        command = f"python -m reproduce {experiment} --scale {self.scale} --data-root {self.data_root}"
        return f"{command} --out {self.out} --seeds {self.seeds}{budget}"

    def apply(self, recipe: ExperimentRecipe, seed: int) -> ExperimentRecipe:
        """A recipe with this seed and what the settings change; small for a dry run."""
        recipe = replace(recipe, seed=seed)
        if self.changes:
            table = reduce(merge_tables, map(parse_change, self.changes), to_table(recipe))
            recipe = from_table(ExperimentRecipe, table, f"--set {' '.join(self.changes)}")
        if self.iterations is not None:
            optimization = replace(recipe.optimization, iterations=self.iterations)
            recipe = replace(recipe, optimization=optimization)
        return dry(recipe, self.processes) if self.dry else recipe


def parse_change(change: str) -> Table:
    """``KEY=VALUE`` as a table; the value is TOML, or else a text without quotes.

    Raises:
        ValueError: it is not of that form.

    Example:
        >>> parse_change("optimization.precision=bf16")
        {'optimization': {'precision': 'bf16'}}
    """
    key, given, value = change.partition("=")
    for written in (value, json.dumps(value)) if given else ():
        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"{key} = {written}")
    raise ValueError(f"--set {change}: write it as TABLE.KEY=VALUE, such as optimization.batch_size=16")


def dry(recipe: ExperimentRecipe, processes: int) -> ExperimentRecipe:
    """The same network on small images for two steps."""
    return replace(
        recipe,
        augmentation=replace(recipe.augmentation, shorter_sides=DRY_SIDES, image_scales=(), draw="one_of"),
        crops=CropConfig(min(recipe.crops.per_image, 2)),
        optimization=replace(recipe.optimization, iterations=2, batch_size=processes),
        inference=replace(recipe.inference, shorter_sides=DRY_SIDES, image_scales=(), candidates=20, nms_candidates=20),
    )
