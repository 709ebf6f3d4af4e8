"""The training loop: steps, validations and checkpoints of one run, which can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from instancefcn.config import from_table, to_table
from instancefcn.data.source import Source
from instancefcn.data.training_image import TrainingImage
from instancefcn.inference.checkpoint import Checkpoint, save_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.model.batch_norms import freeze_batch_norms
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule
from instancefcn.training.batch import Batch, BatchMaker
from instancefcn.training.dataset import RankSampler
from instancefcn.training.history import History
from instancefcn.training.initial_weights import Start
from instancefcn.training.log import Log, show_progress
from instancefcn.training.losses import LossConfig, compute_losses
from instancefcn.training.optimization import Budget, average_weights, build_optimizer, learning_rate
from instancefcn.training.processes import images_of_process
from instancefcn.training.recipe import Recipe
from instancefcn.training.state import STATE_FILE, TrainingState, save_state
from instancefcn.training.validation import mean_recall, validation_recall

LOG_EVERY = 20  # iterations; the first and the last are logged, too
SAVE_EVERY = 120  # seconds
VALIDATE_EVERY = 0.5  # fraction of the run


class TrainingNetwork(nn.Module):
    """A network whose ``forward`` gives the losses of a batch, so that data-parallel training wraps one module."""

    def __init__(self, network: Network, loss: LossConfig) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch.to(next(self.network.parameters()).device)
        score_maps = self.network(batch.pixels.to(memory_format=torch.channels_last).float())
        for maps, labels in zip(score_maps, batch.labels, strict=True):
            assert maps.objectness.shape == labels.shape, "labels were made for other maps"
        return compute_losses(score_maps, batch.labels, batch.sampled, self.loss)


class Trainer:
    """A network in training, with its optimizer, its averaged weights and its place in the run."""

    def __init__(
        self, fabric: Fabric, recipe: Recipe, start: Start, budget: Budget, out: Path, validation: Sequence[Source]
    ) -> None:
        self.fabric, self.recipe, self.network, self.budget = fabric, recipe, start.network, budget
        self.start, self.out, self.validation = start, out, validation
        decay = recipe.optimization.ema_decay
        self.averaged = average_weights(self.network, decay).to(fabric.device) if decay else None
        module = TrainingNetwork(self.network, recipe.loss).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.module, self.optimizer = fabric.setup(module, build_optimizer(self.network, recipe.optimization))
        self.iteration, self.history = 0, History()
        self.rule = None if start.checkpoint is None else start.checkpoint.objects  # until another is chosen
        self.seconds_before = 0.0  # trained before this process started
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return self.seconds_before + time.monotonic() - self.started

    def progress(self) -> float:
        """Fraction of the run that is done, as the first process measures it."""
        return self.fabric.broadcast(self.budget.progress(self.iteration, self.seconds))

    def run(self, stream: Dataset[TrainingImage] | Dataset[list[TrainingImage]], workers: int) -> None:
        """Train until the budget is spent; log, validate and save meanwhile."""
        fabric, config = self.fabric, self.recipe.optimization
        per_process = images_of_process(fabric, config)
        images_per_step = per_process * fabric.world_size
        loader = DataLoader(
            stream,
            batch_size=per_process,
            sampler=RankSampler(self.iteration, images_per_step, fabric.global_rank, fabric.world_size),
            num_workers=workers,
            collate_fn=BatchMaker(self.recipe, self.network.training_window_sizes, self.network.size_multiple),
        )
        log = Log(self.out, self.iteration) if fabric.is_global_zero else None
        if log is not None:
            log.text("trunk_weights", self.network.backbone.weights_from)
            if self.validation and self.start.checkpoint is not None:
                self.validate_start(self.start.checkpoint, log)
        progress = self.progress()
        first = self.iteration, self.seconds
        next_validation = VALIDATE_EVERY * (1 + progress // VALIDATE_EVERY)
        saved = time.monotonic()
        with show_progress(fabric.is_global_zero) as bar:
            for batch in loader:
                if progress >= 1:
                    break
                rate = learning_rate(progress, self.iteration, config)
                losses = self.step(batch, rate)
                progress = self.progress()
                if log is None:
                    continue
                values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
                self.history.add_losses(values)
                if self.iteration % LOG_EVERY == 0 or self.iteration == 1 or progress >= 1:
                    seconds = self.seconds
                    log.write(
                        self.iteration,
                        seconds,
                        {f"loss_{name}": loss for name, loss in values.items()} | {"learning_rate": rate},
                    )
                    speed = (self.iteration - first[0]) * images_per_step / (seconds - first[1])
                    left = max(0.0, seconds / progress - seconds) / 60
                    bar(progress, f"loss {sum(values.values()):.2f}, {speed:.1f} images/s, {left:.0f} min left")
                if self.validation and progress >= min(next_validation, 1):
                    next_validation += VALIDATE_EVERY
                    self.validate(log)
                    saved = time.monotonic()
                elif time.monotonic() - saved > SAVE_EVERY:
                    self.save(["last"])
                    saved = time.monotonic()
            if log is not None and not self.validation:
                self.save(["last", "best"])
        fabric.barrier()

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """Do one iteration on the batch of this process, and return its losses."""
        self.network.train()
        if self.recipe.network.batch_norm == "frozen":
            freeze_batch_norms(self.network.backbone)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        losses = self.module(batch)
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            raise ValueError(f"the loss became {total.item()} at iteration {self.iteration}: lower the learning rate")
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        if self.recipe.optimization.clip_norm:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.optimization.clip_norm)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        self.iteration += 1
        return losses

    def kept_network(self) -> Network:
        """The network to validate and save: the averaged one, if weights are averaged."""
        return self.network if self.averaged is None else cast(Network, self.averaged.module)

    def validate(self, log: Log) -> None:
        """Measure recall, log it, and save: as the last network, and as the best if it beats all before."""
        proposer = Proposer(self.kept_network().eval(), self.recipe.inference, device=self.fabric.device)
        recall = self.measure(proposer, log)
        score = mean_recall(recall)
        names = ["last", "best"] if score > self.history.best else ["last"]
        self.history.scores.append(score)
        self.save(names, recall)

    def validate_start(self, checkpoint: Checkpoint, log: Log) -> None:
        """Measure the checkpoint that training starts from, proposing by its own rules, and save it as the best."""
        recall = self.measure(Proposer(checkpoint.build(), checkpoint.inference, device=self.fabric.device), log)
        self.history.start = mean_recall(recall)
        save_checkpoint(replace(checkpoint, training=self.record(recall)), self.out / "best.safetensors")
        self.save(["last"])

    def measure(self, proposer: Proposer, log: Log) -> dict[str, dict[str, float]]:
        """Recall on the validation sources, which is logged."""
        recall = validation_recall(proposer, self.validation)
        figures = {f"{source}/{name}": value for source, values in recall.items() for name, value in values.items()}
        log.write(self.iteration, self.seconds, figures)
        return recall

    def record(self, recall: Mapping[str, Mapping[str, float]] | None = None) -> dict[str, Any]:
        """What checkpoints say of the run that made them."""
        return {
            "recipe": to_table(self.recipe),
            "trunk_weights": self.network.backbone.weights_from,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "validation": recall or {},
        }

    def save(self, names: Sequence[str], recall: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Write checkpoints of these names, then the state that resuming needs."""
        weights = self.kept_network().state_dict()
        record = self.record(recall)
        checkpoint = Checkpoint(self.recipe.network, self.recipe.inference, weights, record, self.rule)
        for name in names:
            save_checkpoint(checkpoint, self.out / f"{name}.safetensors")
        state = TrainingState(
            **{key: value for key, value in record.items() if key != "validation"},
            history=asdict(self.history),
            objects=to_table(self.rule) if self.rule is not None else None,
            network=self.network.state_dict(),
            averaged=self.averaged.state_dict() if self.averaged is not None else None,
            optimizer=self.optimizer.state_dict(),
        )
        save_state(state, self.out / STATE_FILE)

    def restore(self, state: TrainingState) -> None:
        """Continue from a saved state."""
        self.network.load_state_dict(state.network)
        self.network.backbone.weights_from = state.trunk_weights or "unknown"
        self.optimizer.load_state_dict(state.optimizer)
        if self.averaged is not None and state.averaged is not None:
            self.averaged.load_state_dict(state.averaged)
        self.history = History(**state.history) if state.history else History(scores=[state.best])
        self.rule = None if state.objects is None else from_table(ObjectRule, state.objects, "the rule in the state")
        self.iteration, self.seconds_before = state.iteration, state.seconds
