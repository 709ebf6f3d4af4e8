"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, Progress, TextColumn
from torch.utils.data import DataLoader

from instancefcn.config import to_table
from instancefcn.data import Source
from instancefcn.inference.proposer import Proposer
from instancefcn.model.backbones import freeze_batch_norms
from instancefcn.model.build import Network, build_network
from instancefcn.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from instancefcn.training.dataset import RankSampler, TrainingStream
from instancefcn.training.log import Log
from instancefcn.training.optimization import average_weights, build_optimizer, learning_rate
from instancefcn.training.recipe import Recipe
from instancefcn.training.state import TrainingState, load_state, save_state
from instancefcn.training.step import Batch, TrainingNetwork
from instancefcn.training.validation import validation_recall

LOG_EVERY = 20  # iterations
SAVE_EVERY = 120  # seconds


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of iterations, or minutes that the schedule is fitted to."""

    iterations: int
    minutes: float | None = None

    def progress(self, iteration: int, seconds: float) -> float:
        """Share of the run that is done."""
        return seconds / (60 * self.minutes) if self.minutes else iteration / self.iterations


def train(
    recipe: Recipe,
    sources: Sequence[Source],
    out: Path,
    *,
    validation: Sequence[Source] = (),
    iterations: int | None = None,
    minutes: float | None = None,
    init: str = "imagenet",
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
) -> Path:
    """Train a network and return the path of its best checkpoint.

    Writes ``best.safetensors`` and ``last.safetensors`` (averaged weights), ``last.state`` (what resuming needs),
    ``metrics.jsonl`` and tensorboard events into ``out``. Best is by AR@100, averaged over the validation sources;
    without any it is the last.

    Args:
        iterations: instead of the recipe's.
        minutes: train this long, validation included; the schedule is fitted to it.
        init: "imagenet", "random", or a checkpoint file.
        resume: go on from ``last.state`` in ``out``, if there is one.
        device: "cpu", "cuda", "mps", or "auto".
        workers: processes that load images; 0 to load between the steps.

    Raises:
        ValueError: no data, no weights, a checkpoint of another network, or ``out`` holds a run already.
    """
    config = recipe.optimization
    budget = Budget(iterations or config.iterations, minutes)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    state = find_state(out, recipe, resume)
    fabric.seed_everything(recipe.seed, verbose=False)
    network = initial_network(recipe, init if state is None else "random")
    if state is not None:
        network.load_state_dict(state.network)
    optimizer = build_optimizer(network, config)
    averaged = average_weights(network, config.ema_decay) if config.ema_decay else None
    if state is not None:
        optimizer.load_state_dict(state.optimizer)
        if averaged is not None and state.averaged is not None:
            averaged.load_state_dict(state.averaged)
    module, optimizer = fabric.setup(TrainingNetwork(network, recipe).to(memory_format=torch.channels_last), optimizer)
    if averaged is not None:
        averaged.to(fabric.device)
    state = state or TrainingState(0, 0.0, -1.0, to_table(recipe), {}, None, {})

    per_rank = max(1, config.batch_size // fabric.world_size)
    loader = DataLoader(
        TrainingStream(sources, recipe.augmentation, recipe.source_balance, recipe.seed),
        batch_size=per_rank,
        sampler=RankSampler(state.iteration, per_rank * fabric.world_size, fabric.global_rank, fabric.world_size),
        num_workers=workers,
        collate_fn=list,
        persistent_workers=workers > 0,
    )

    def save(state: TrainingState, names: Sequence[str], recall: dict[str, dict[str, float]]) -> None:
        """Averaged weights under each name, then what resuming needs."""
        weights = (averaged.module if averaged is not None else network).state_dict()
        record = {
            "recipe": to_table(recipe),
            "iteration": state.iteration,
            "seconds": state.seconds,
            "validation": recall,
        }
        checkpoint = Checkpoint(recipe.network, to_table(recipe.inference), weights, record)
        for name in names:
            save_checkpoint(checkpoint, out / f"{name}.safetensors")
        full = replace(
            state,
            network=network.state_dict(),
            averaged=averaged.state_dict() if averaged is not None else None,
            optimizer=optimizer.state_dict(),
        )
        save_state(full, out / "last.state")

    chief = fabric.is_global_zero
    log = Log(out, resumed_at=state.iteration) if chief else None
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    next_validation = config.validate_every * (
        1 + budget.progress(state.iteration, state.seconds) // config.validate_every
    )
    started = saved = time.monotonic()
    trained_before = state.seconds
    with bar if chief else nullcontext():
        task = bar.add_task("training", total=1.0)
        for images in loader:
            progress = fabric.broadcast(budget.progress(state.iteration, state.seconds))
            if progress >= 1:
                break
            network.train()
            if recipe.network.batch_norm == "frozen":
                freeze_batch_norms(network.backbone)
            rate = learning_rate(progress, state.iteration, config)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            generator = torch.Generator().manual_seed(hash((recipe.seed, state.iteration, fabric.global_rank)))
            losses = module(Batch(images), generator)
            total = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            fabric.backward(total)
            if config.clip_norm:
                fabric.clip_gradients(module, optimizer, max_norm=config.clip_norm)
            optimizer.step()
            if averaged is not None:
                averaged.update_parameters(network)
            state = replace(state, iteration=state.iteration + 1, seconds=trained_before + time.monotonic() - started)
            progress = budget.progress(state.iteration, state.seconds)
            if not chief:
                continue
            assert log is not None
            if not total.isfinite():
                raise ValueError(
                    f"the loss became {total.item()} at iteration {state.iteration}: lower the learning rate"
                )
            if state.iteration % LOG_EVERY == 0:
                text = log.losses(state.iteration, state.seconds, rate, losses, config.batch_size, progress)
                bar.update(task, completed=progress, description=text)
            if validation and (progress >= next_validation or progress >= 1):
                next_validation += config.validate_every
                kept = cast(Network, averaged.module) if averaged is not None else network
                recall = validation_recall(Proposer(kept.eval(), recipe.inference, device=fabric.device), validation)
                score = sum(values["AR@100"] for values in recall.values()) / len(recall)
                log.validation(state.iteration, state.seconds, recall)
                names = ["last", "best"] if score > state.best else ["last"]
                state = replace(state, best=max(state.best, score), seconds=trained_before + time.monotonic() - started)
                save(state, names, recall)
                saved = time.monotonic()
            elif time.monotonic() - saved > SAVE_EVERY:
                save(state, ["last"], {})
                saved = time.monotonic()
        if chief and not validation:
            save(state, ["last", "best"], {})
    fabric.barrier()
    return out / "best.safetensors"


def find_state(out: Path, recipe: Recipe, resume: bool) -> TrainingState | None:
    """The state to go on from, if that is asked for and there is one.

    Raises:
        ValueError: ``out`` holds a run and resume is off, or the run there has another recipe.
    """
    path = out / "last.state"
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out} holds a run already: go on with --resume, or give another --out")
    state = load_state(path)
    if state.recipe != to_table(recipe):
        raise ValueError(f"{out} was trained with another recipe: give that one, or another --out")
    return state


def initial_network(recipe: Recipe, init: str) -> Network:
    """A network to start from: an ImageNet trunk, a random one, or a checkpoint's weights.

    Raises:
        ValueError: no ImageNet weights, or a checkpoint of another network.
    """
    if init in ("imagenet", "random"):
        return build_network(recipe.network, imagenet=init == "imagenet")
    checkpoint = load_checkpoint(Path(init))
    network = build_network(recipe.network)
    if checkpoint.network != recipe.network:
        raise ValueError(f"{init} is of another network ({checkpoint.network}) than the recipe's ({recipe.network})")
    network.load_state_dict(checkpoint.build().state_dict())
    return network
