"""Training: from labelled images and a recipe to the best checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from torch.utils.data import Dataset

from instancefcn.data.source import Source
from instancefcn.data.training_image import TrainingImage
from instancefcn.model.network import Network
from instancefcn.run_folder import run_folder
from instancefcn.training.calibration import store_rules
from instancefcn.training.dataset import TrainingStream
from instancefcn.training.fingerprint import Fingerprint, compare_data
from instancefcn.training.initial_weights import AUTO, RANDOM, Start, check_network, choose_init, initial_network
from instancefcn.training.keeping_out import divide
from instancefcn.training.learnable import check_learnable
from instancefcn.training.log import show_progress
from instancefcn.training.optimization import Budget
from instancefcn.training.processes import images_of_pass, launch, was_restarted
from instancefcn.training.recipe import Recipe
from instancefcn.training.run_files import BEST, refuse_checkpoints
from instancefcn.training.sides import store_sides
from instancefcn.training.state import find_state
from instancefcn.training.summary import summarize
from instancefcn.training.trainer import Trainer


def train(
    recipe: Recipe,
    sources: Sequence[Source],
    out: str | Path,
    *,
    validation: Sequence[Source] = (),
    iterations: int | None = None,
    minutes: float | None = None,
    init: str = AUTO,
    keep_out: bool = True,
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
    network: Network | None = None,
    stream: Dataset[TrainingImage] | Dataset[list[TrainingImage]] | None = None,
    report: Callable[[str], None] = print,
    choose_sides: bool = False,
    changed_data: bool = False,
) -> Path:
    """Train a network and return the path of its best checkpoint.

    Writes ``best.safetensors`` and ``last.safetensors`` (averaged weights), ``last.state`` (what resuming needs),
    ``metrics.jsonl`` and tensorboard events into ``out``. Best is by the F1 of objects (``object_f1``), averaged over
    the validation sources, or by AR@100 where none has all its objects labelled; without validation it is the last. A
    checkpoint that training starts from is validated first. Of all that were validated the best is the latest that is
    not below the highest score by more than its standard error (``History.best``). At the end the checkpoints get the
    rule by which their candidates become objects, chosen on the validation images; with under 20 labelled images they
    keep the rule of the checkpoint that training started from.

    Args:
        iterations: replaces the recipe's number.
        minutes: train this long, validation included, with a schedule of this length.
        init: "imagenet", "random", "shipped" for the checkpoint of this package, the path of a checkpoint, or "auto",
            see ``choose_init``.
        keep_out: without ``validation``, keep a tenth of the images out and validate on it, see ``keeping_out``.
        resume: continue from ``last.state`` in ``out``, if there is one.
        device: see ``choose_device``.
        workers: processes that load images; 0 to load between the steps.
        network: the recipe's, with weights to start from; ``init`` is then not read.
        stream: training images, or lists of them, instead of random views of the sources.
        changed_data: resume although the data are not those that the run was trained on; what differs is reported.
        choose_sides: in the end, choose among the recipe's ``inference.shorter_sides`` on the validation images.
        report: called with lines of text: what is done, and in the end what was learnt, and warnings.

    SIGINT and SIGTERM end it between two iterations, or two images of a validation, with all that was trained saved.
    With ``iterations``, the same data, recipe and start give the same weights, bit for bit, on one machine.

    Raises:
        TypeError: ``recipe`` is none, or ``sources`` or ``validation`` no list of sources.
        ValueError: no iterations or minutes, nothing to learn, no weights, a checkpoint of another network, ``out``
            holds a run already, ``network`` is not the recipe's, the data to resume with are others, another run writes
            to it, or losses became infinite or NaN.
        Interrupted: it was stopped; a KeyboardInterrupt.
        OSError: a file can't be written; names it, and what is safe.

    Example:
        >>> source = open_source("labelme:labelled")  # doctest: +SKIP
        >>> best = train(load_recipe("lite"), [source], "runs/mine", minutes=10)  # doctest: +SKIP
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be what load_recipe gives, not {recipe!r}")
    for name, given in (("sources", sources), ("validation", validation)):
        if isinstance(given, Source | str) or not all(isinstance(source, Source) for source in given):
            raise TypeError(f"{name} must be a list of what open_source gives, such as [open_source('labels:mine')]")
    config, out = recipe.optimization, Path(out)
    budget = Budget(config.iterations if iterations is None else iterations, minutes)
    fabric = launch(device, config)
    fabric.seed_everything(recipe.seed, verbose=False)
    images_of_pass(fabric, config)  # before anything else is done
    tell = report if fabric.is_global_zero else lambda _: None
    if stream is None:
        check_learnable(sources)
    with run_folder(out) if fabric.is_global_zero else nullcontext():
        again = resume or was_restarted()
        state = find_state(out, recipe, again)
        if state is None and not again:
            refuse_checkpoints(out)
        data = Fingerprint.of(sources, validation, keep_out)
        if state is not None and (others := compare_data(out, state, data, changed_data)):
            tell(others)
        images = divide(sources, validation, recipe.seed, keep_out and stream is None)
        tell(images.described)
        if network is not None:
            check_network(network, recipe.network)
            start = Start(network)
        else:
            weights = choose_init(init, recipe, images.labelled)
            start = initial_network(recipe, weights if state is None else RANDOM)
            tell(f"starts from {weights} weights" if state is None else f"goes on after iteration {state.iteration}")
        if stream is None:
            stream = TrainingStream(
                images.training, recipe.augmentation, recipe.source_balance, recipe.seed, recipe.longest_view
            )
        chosen: list[str] = []
        with show_progress(fabric.is_global_zero) as bars:
            trainer = Trainer(fabric, recipe, start, budget, out, images.validation, bars, data, report)
            if state is not None:
                trainer.restore(state)
            trainer.run(stream, workers)
            if choose_sides and images.validation and fabric.is_global_zero:
                track = partial(bars.track, text="choosing the side")
                chosen.append(store_sides(out, images.validation, fabric.device, track))
            if images.chooses_rule and fabric.is_global_zero:
                track = partial(bars.track, text="choosing the threshold")
                chosen.append(store_rules(out, images.validation, fabric.device, trainer.rule, track))
        seen = trainer.iteration * config.batch_size
        for line in (*chosen, *summarize(trainer.history, trainer.iteration, seen, images.trained_on)):
            tell(line)
        return out / BEST
