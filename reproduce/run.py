"""One training of an experiment in a folder of its own. It is done once; a run that was stopped goes on.

With several processes torchrun starts ``python -m reproduce.run FOLDER``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from instancefcn.config import from_table, to_table
from instancefcn.files import read_json, write_whole
from instancefcn.inference.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.training.loop import train
from instancefcn.training.state import STATE_FILE, read_state
from reproduce.crops import CropStream
from reproduce.datasets import ImageSelection, open_images
from reproduce.networks import ExperimentNetwork, build_network
from reproduce.recipe import ExperimentRecipe

PLAN_FILE, RESULT_FILE = "run.json", "result.json"


@dataclass(frozen=True)
class RunPlan:
    """What decides a run's outcome, and where it trains; written to ``run.json``."""

    recipe: ExperimentRecipe = field(default_factory=ExperimentRecipe)
    images: ImageSelection = field(default_factory=lambda: ImageSelection(()))
    minutes: float = 0.0  # instead of the recipe's iterations; 0 for those
    imagenet: bool = True  # the trunk starts from its weights; else it knows nothing
    data_root: str = ""  # folder of the data sets, which the images' specs begin with
    device: str = "auto"
    workers: int = 1


@dataclass(frozen=True)
class RunResult:
    """How long a run trained."""

    iterations: int
    seconds: float


def carry_out(run: RunPlan, folder: Path, processes: int = 1, with_weights: bool = False) -> RunResult:
    """Train, or go on, unless the run is done.

    Args:
        with_weights: ``best.safetensors`` must be in the folder. Weights are not kept in git, so on another machine a
            run that is done may lack them; it is then trained anew.

    Raises:
        ValueError: the folder holds another run, or training raises it.
    """
    result, weights = folder / RESULT_FILE, folder / "best.safetensors"
    reserve(folder, run)
    if not result.exists() or (with_weights and not weights.exists()):
        if processes == 1:
            _train(run, folder)
        else:
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            subprocess.run([sys.executable, *launcher, "-m", __name__, str(folder)], check=True)
        checkpoint = load_checkpoint(weights, ExperimentNetwork)
        seconds = read_state(folder / STATE_FILE).seconds
        save_checkpoint(checkpoint, weights, dtype=torch.float16)  # half the size
        write_whole(result, json.dumps({"iteration": checkpoint.training["iteration"], "seconds": seconds}))
        for name in ("last.safetensors", STATE_FILE):  # no longer needed, and many runs would fill a disk
            (folder / name).unlink(missing_ok=True)
    done = json.loads(result.read_text(encoding="utf-8"))
    return RunResult(done["iteration"], done["seconds"])


def reserve(folder: Path, run: Any) -> None:
    """Write a run's plan into its folder.

    Raises:
        ValueError: the folder holds another plan.
    """
    plan = folder / PLAN_FILE
    there = from_table(type(run), read_json(plan), str(plan)) if plan.exists() else run
    if outcome(there) != outcome(run):
        raise ValueError(f"{plan} is of another run (recipe, images or budget): give another --out, or remove {folder}")
    if not (folder / RESULT_FILE).exists():
        write_whole(plan, json.dumps(to_table(run), indent=1))


def outcome(run: Any) -> str:
    """A plan as text, without what may differ between machines: the folder of the data, the device and the workers."""
    table = to_table(run)
    root = table.pop("data_root", "")
    text = json.dumps({key: value for key, value in table.items() if key not in ("device", "workers")})
    return text.replace(f"{root}/", "DATA/") if root else text


def _train(run: RunPlan, folder: Path) -> None:
    sources = open_images(run.images)
    torch.manual_seed(run.recipe.seed)
    network = build_network(run.recipe.network, imagenet=run.imagenet)
    train(
        run.recipe,
        sources,
        folder,
        minutes=run.minutes or None,
        keep_out=False,
        resume=True,
        device=run.device,
        workers=run.workers,
        network=network,
        stream=CropStream(sources, run.recipe, network.window_sizes) if run.recipe.crops.per_image else None,
    )


if __name__ == "__main__":
    started_in = Path(sys.argv[1])
    table = json.loads((started_in / PLAN_FILE).read_text(encoding="utf-8"))
    _train(from_table(RunPlan, table, str(started_in / PLAN_FILE)), started_in)
