"""The training loop: steps, validations and checkpoints of one run, which can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from instancefcn.config import from_table, to_table
from instancefcn.data.source import Source
from instancefcn.data.training_image import TrainingImage
from instancefcn.inference.checkpoint import Checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.interrupts import Interrupts, leave_to_main, noted_interrupts
from instancefcn.objects import ObjectRule
from instancefcn.training.batch import Batch, BatchMaker
from instancefcn.training.dataset import RankSampler, batches_of_steps
from instancefcn.training.fingerprint import Fingerprint
from instancefcn.training.history import History
from instancefcn.training.initial_weights import Start
from instancefcn.training.learner import Learner
from instancefcn.training.log import Bars, Log
from instancefcn.training.optimization import Budget, learning_rate
from instancefcn.training.processes import images_of_pass, naming_a_lost_process
from instancefcn.training.recipe import Recipe
from instancefcn.training.run_files import BEST, LAST, RunFiles
from instancefcn.training.state import ANEW, STATE_FILE, TrainingState
from instancefcn.training.validation import deciding_instances, deciding_measure, mean_over_sources, validate

LOG_EVERY = 20  # iterations; the first and the last are logged, too
SAVE_EVERY = 120  # seconds
VALIDATE_EVERY = 0.5  # fraction of the run


class Trainer:
    """A network in training, with its optimizer, its averaged weights and its place in the run.

    Args:
        bars: show how far it is.
        data: what the run is trained on, for its state.
        report: called with warnings, in every process.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        start: Start,
        budget: Budget,
        out: Path,
        validation: Sequence[Source],
        bars: Bars,
        data: Fingerprint | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        self.fabric, self.recipe, self.budget = fabric, recipe, budget
        self.start, self.out, self.validation = start, out, validation
        self.bars, self.data, self.report = bars, data, report
        self.learner, self.files = Learner(fabric, recipe, start.network), RunFiles(out)
        self.iteration, self.history = 0, History()
        self.rule = start.rule  # until another is chosen
        self.seconds_before = 0.0  # trained before this process started
        self.started = time.monotonic()
        self.due = False  # a validation of these weights is to follow
        self.logged: int | None = 0  # lines of metrics.jsonl that the state knows of
        self.lost: set[str] = set()  # images that could not be read, as they were told of
        self.log: Log | None = None  # the first process's, while it runs
        self.stop = Interrupts()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def latest(self) -> list[str]:
        """Checkpoints that the latest weights go into: without validation, they are the best."""
        return [LAST] if self.validation else [LAST, BEST]

    def run(self, stream: Dataset[TrainingImage] | Dataset[list[TrainingImage]], workers: int) -> None:
        """Train until the budget is spent; log, validate and save meanwhile, and at the end in any case.

        Raises:
            Interrupted: SIGINT or SIGTERM came; all that was trained is saved.
            ValueError: losses, gradients or weights are no finite numbers any more; names the images.
            OSError: a file can't be written; names it, and what is safe.
        """
        with ExitStack() as stack:
            self.stop = stack.enter_context(noted_interrupts())
            stack.enter_context(naming_a_lost_process(self.fabric, self.files.kept))
            if self.fabric.is_global_zero:
                self.log = stack.enter_context(closing(Log(self.out, self.iteration, self.logged)))
                self.log.writer.add_text("trunk_weights", self.learner.network.backbone.weights_from)
            self.begin()
            self.iterate(stream, workers)
            if not self.validation:
                self.save(self.latest)
            elif self.history.validated != self.iteration:  # the budget was spent before
                self.validate()
            self.fabric.barrier()

    def begin(self) -> None:
        """Make good what a stopped run left undone; measure what training starts from."""
        if self.files.saved_at is not None:
            self.save(self.latest)  # checkpoints may be of another iteration than the state, or gone
        if self.due:
            self.validate()
        elif self.files.saved_at is None and self.validation and self.start.checkpoint is not None:
            self.validate_start(self.start.checkpoint)

    def iterate(self, stream: Dataset[TrainingImage] | Dataset[list[TrainingImage]], workers: int) -> None:
        """Do the iterations that are left, with what belongs between them."""
        network = self.learner.network
        config = self.recipe.optimization
        images = config.batch_size
        loader = DataLoader(
            stream,
            batch_size=images_of_pass(self.fabric, config),
            sampler=RankSampler(self.iteration, images, self.fabric.global_rank, self.fabric.world_size),
            num_workers=workers,
            collate_fn=BatchMaker(self.recipe, network.training_window_sizes, network.size_multiple),
            worker_init_fn=leave_to_main,
        )
        progress = self.progress()
        saved, first = time.monotonic(), (self.iteration, self.seconds)
        # Unnamed: an error's traceback would keep it, and with it the workers, which Python waits for at its end.
        for batches in batches_of_steps(loader, config.accumulate) if progress < 1 else ():
            self.tell_of_lost(batches)
            rate = learning_rate(progress, self.iteration, config)
            self.seed_step()
            try:
                losses = self.learner.step(batches, rate)
            except FloatingPointError as error:
                raise self.diverged(error, [name for batch in batches for name in batch.names]) from error
            self.iteration += 1
            before, progress = progress, self.progress()
            self.history.add_losses(losses)
            if self.iteration % LOG_EVERY == 0 or self.iteration == 1 or progress >= 1:
                self.write({f"loss_{name}": loss for name, loss in losses.items()} | {"learning_rate": rate})
                speed = (self.iteration - first[0]) * images / (self.seconds - first[1])
                left = max(0.0, self.seconds / progress - self.seconds) / 60
                self.bars.show(progress, f"loss {sum(losses.values()):.2f}, {speed:.1f} images/s, {left:.0f} min left")
            # By these two alone, so that a run that goes on here validates as one that was not stopped.
            passed = progress >= 1 or progress // VALIDATE_EVERY > before // VALIDATE_EVERY
            if self.validation and passed:
                self.validate()
                saved = time.monotonic()
            elif self.stop or time.monotonic() - saved > SAVE_EVERY:
                self.save(self.latest)
                saved = time.monotonic()
            if self.stop:
                raise self.stop.ended(self.files.kept())
            if progress >= 1:
                break

    def seed_step(self) -> None:
        """Let what a network drops by chance follow from seed, iteration and process, also in a resumed run."""
        numbers = (self.recipe.seed, self.iteration, self.fabric.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))

    def progress(self) -> float:
        """Fraction of the run that is done, and whether a signal came, as the first process sees both."""
        mine = self.budget.progress(self.iteration, self.seconds), self.stop.number
        progress, self.stop.number = self.fabric.broadcast(mine)
        return progress

    def diverged(self, error: FloatingPointError, names: Sequence[str] = ()) -> ValueError:
        """The error of a run whose numbers are no numbers any more; ``names``: files of the batch, where known."""
        config = self.recipe.optimization
        images = f", in a batch of {', '.join(names)}" if names else ""
        tries = [f"a lower optimization.learning_rate than {config.learning_rate:g} in the recipe"]
        tries += ["--precision fp32"] if config.precision != "fp32" else []
        tries += [] if config.clip_norm else ["optimization.clip_norm = 10"]
        return ValueError(
            f"{error} in iteration {self.iteration + 1}{images}. {self.files.last_good()}. Look at the labels of the "
            f"images with `instancefcn validate`; then try {', or '.join(tries)}, in another --out"
        )

    def tell_of_lost(self, batches: Sequence[Batch]) -> None:
        """Warn, once for each, of images that could not be read and were replaced by others."""
        for text in (text for batch in batches for text in batch.lost):
            if text not in self.lost:
                self.lost.add(text)
                self.report(f"warning: left out of training, another image is taken: {text}")

    def validate(self) -> None:
        """Save, measure, log it, and save as the best network, too, if it is that now (``History.best``).

        What is stopped in between is measured when the run goes on.
        """
        self.due = True
        self.save([LAST])
        network = self.learner.kept_network().eval()
        self.history.scores.append(self.measure(Proposer(network, self.recipe.inference, device=self.fabric.device)))
        self.due = False
        is_best = self.history.best == len(self.history.all_scores) - 1
        self.save([LAST, BEST] if is_best else [LAST])

    def validate_start(self, checkpoint: Checkpoint) -> None:
        """Measure the checkpoint that training starts from, proposing by its own rules, and save it as the best."""
        proposer = Proposer(checkpoint.build(), checkpoint.inference, device=self.fabric.device)
        self.history.start = self.measure(proposer)
        if self.fabric.is_global_zero:
            self.files.save_best(replace(checkpoint, training=self.record()))
        self.save([LAST])

    def measure(self, proposer: Proposer) -> float:
        """Measure on the validation sources, whose images the processes share, and log it; the figure that decides.

        Raises:
            Interrupted: before all images were looked at.
        """
        figures = validate(
            proposer,
            self.validation,
            stop=self.stop,
            kept=self.files.kept,
            fabric=self.fabric,
            track=partial(self.bars.track, text="validating"),
        )
        self.write({f"{source}/{name}": value for source, of in figures.items() for name, value in of.items()})
        if not self.history.measured:
            self.history.measure = deciding_measure(figures)
        self.history.validated, self.history.recall = self.iteration, figures
        self.history.instances = deciding_instances(self.validation, figures, self.history.measure)
        return mean_over_sources(figures, self.history.measure)

    def write(self, figures: Mapping[str, float]) -> None:
        """Log some figures of this iteration, in the first process."""
        if self.log is not None:
            with self.files.saying_what_is_safe():
                self.log.write(self.iteration, self.seconds, figures)

    def record(self) -> dict[str, Any]:
        """What checkpoints say of the run that made them: the same for the same run, so without its seconds."""
        return {
            "recipe": to_table(self.recipe),
            "trunk_weights": self.learner.network.backbone.weights_from,
            "iteration": self.iteration,
            "validation": self.history.recall if self.history.validated == self.iteration else {},
        }

    def save(self, names: Sequence[str]) -> None:
        """Write checkpoints of these names, then the state that resuming needs; as ``RunFiles.save``.

        The first process writes; in the others this does nothing.

        Raises:
            ValueError: the weights are no finite numbers; what is on disk stays.
        """
        if not self.fabric.is_global_zero:
            return
        try:
            self.learner.check_finite()
        except FloatingPointError as error:
            raise self.diverged(error) from error
        record, weights = self.record(), self.learner.kept_network().state_dict()
        state = TrainingState(
            iteration=self.iteration,
            seconds=self.seconds,
            recipe=record["recipe"],
            trunk_weights=record["trunk_weights"],
            history=asdict(self.history),
            objects=to_table(self.rule) if self.rule is not None else None,
            data=None if self.data is None else to_table(self.data),
            due=self.due,
            logged=0 if self.log is None else self.log.lines,
            **self.learner.tables(),
        )
        self.files.save(
            Checkpoint(self.recipe.network, self.recipe.inference, weights, record, self.rule), state, names
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: it is of another network, or damaged; names the file.
        """
        try:
            self.learner.restore(state)
            self.history = History.from_table(state.history) if state.history else History(scores=[state.best])
            self.rule = None if state.objects is None else from_table(ObjectRule, state.objects, "objects")
        except ValueError as error:
            raise ValueError(f"{self.out / STATE_FILE}: not the state of this training ({error}): {ANEW}") from error
        self.iteration, self.seconds_before = state.iteration, state.seconds
        self.due, self.logged = state.due, state.logged
        self.files = RunFiles(self.out, saved_at=state.iteration)
