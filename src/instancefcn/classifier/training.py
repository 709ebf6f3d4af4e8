"""Training of a classifier on proposals that stay as they are."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from instancefcn.classifier.cache import Example, cache_examples
from instancefcn.classifier.checkpoint import ClassifierCheckpoint, ProposalNetwork, save_classifier
from instancefcn.classifier.config import ClassifierRecipe, LearningConfig
from instancefcn.classifier.network import Classifier
from instancefcn.classifier.rois import BACKGROUND, sample
from instancefcn.config import to_table
from instancefcn.data.source import Source
from instancefcn.inference.proposer import Proposer
from instancefcn.structures import Track

BATCH_SIZE = 8  # images


def train_classifier(
    recipe: ClassifierRecipe,
    sources: Sequence[Source],
    proposer: Proposer,
    network: ProposalNetwork,
    out: Path,
    *,
    cache: Path | None = None,
    imagenet: bool = True,
    report: Callable[[str], None] = print,
    track_images: Track = iter,
    track_steps: Track = iter,
) -> Path:
    """Train a classifier for the proposals of a network, and return the path of its file.

    Writes ``classifier.safetensors`` and ``metrics.jsonl`` into ``out``, and proposals into ``cache`` (``out/cache``
    where none is given), which may be deleted afterwards.

    Args:
        proposer, network: from ``load_proposer``; the classifier learns on the proposer's device.
        imagenet: start the trunk from ImageNet weights, else from random ones.
        report: is told what was left out.
        track_images, track_steps: show progress over what they are given.

    Raises:
        ValueError: nothing to learn from, categories that contradict each other, no ImageNet weights, or a loss or
            weights that became infinite or NaN; then no classifier is written.
    """
    names, counts = count_instances(sources)
    for category_id, name in names.items():
        if category_id not in counts:
            report(f"category {name!r} ({category_id}) has no instance to learn from: nothing will be named so")
    classes = {category_id: number for number, category_id in enumerate(counts, start=1)}
    categories = {category_id: names[category_id] for category_id in counts}
    torch.manual_seed(recipe.seed)
    classifier = Classifier(recipe.classifier, categories, imagenet=imagenet).to(proposer.device).eval()
    examples, problems = cache_examples(
        sources, classes, proposer, network, classifier.trunk, recipe, cache or out / "cache", track_images
    )
    for problem in problems:
        report(f"left out: {problem}")
    if not examples:
        raise ValueError("no image to learn from: `instancefcn validate` with the same --data says why")
    out.mkdir(parents=True, exist_ok=True)
    weights = class_weights(list(counts.values()), recipe.learning.class_balance)
    with (out / "metrics.jsonl").open("w", encoding="utf-8") as log:
        for figures in learn(classifier, examples, weights, recipe, track_steps):
            log.write(json.dumps(figures) + "\n")
            log.flush()
    path = out / "classifier.safetensors"
    about = {"recipe": to_table(recipe), "images": len(examples), "data": [source.name for source in sources]}
    save_classifier(
        ClassifierCheckpoint(recipe.classifier, recipe.naming, categories, network, classifier.state_dict(), about),
        path,
    )
    return path


def count_instances(sources: Sequence[Source]) -> tuple[dict[int, str], dict[int, int]]:
    """Names of all categories by id, and the number of instances of each that has any, by ascending id.

    Raises:
        ValueError: two sources disagree on a category, or there is no instance at all.
    """
    names: dict[int, str] = {}
    for source in sources:
        for category_id, name in source.categories.items():
            if names.setdefault(category_id, name) != name:
                raise ValueError(
                    f"{source.name}: category {category_id} is {name!r}, but {names[category_id]!r} in other --data: "
                    "give each category one id everywhere"
                )
    for name in names.values():
        ids = [category_id for category_id, other in names.items() if other == name]
        if len(ids) > 1 and len(sources) > 1:
            raise ValueError(f"category {name!r} has the ids {ids}: give each category one id everywhere")
    counts = Counter[int]()
    for source in sources:
        for index in range(len(source)):
            instances = source.labels(index).instances
            counts.update(instances.category_ids[instances.judged].tolist())
    if not counts:
        raise ValueError(f"no labelled instance to learn from in {', '.join(source.name for source in sources)}")
    return names, dict(sorted(counts.items()))


def class_weights(counts: Sequence[int], balance: float) -> Float[Tensor, "classes"]:
    """Weights in the loss of background, 1, and of classes; their mean over all instances is 1 too.

    A class of n instances weighs in proportion to n to minus the power ``balance``.
    """
    number = torch.tensor(counts, dtype=torch.float)
    weights = number**-balance
    return torch.cat([torch.ones(1), weights * number.sum() / (weights * number).sum()])


def learn(
    classifier: Classifier,
    examples: Sequence[Example],
    weights: Float[Tensor, "classes"],
    recipe: ClassifierRecipe,
    track: Track = iter,
) -> Iterable[dict[str, float]]:
    """Train in place; figures of each epoch."""
    config = recipe.learning
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = build_optimizer(classifier, config)
    in_epoch = math.ceil(len(examples) / BATCH_SIZE)
    steps = config.epochs * in_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step / steps, config))
    loss_function = nn.CrossEntropyLoss(weights.to(classifier.device), label_smoothing=config.label_smoothing)
    order: list[int] = []
    sums = Counter[str]()
    classifier.head.train()
    for done in track(range(steps)):
        epoch, step = divmod(done, in_epoch)
        if step == 0:
            order = torch.randperm(len(examples), generator=generator).tolist()
            sums.clear()
        batch = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        forward = [_forward(classifier, examples[index], config, generator) for index in batch]
        logits, targets = (torch.cat(parts).to(classifier.device) for parts in zip(*forward, strict=True))
        loss = loss_function(logits, targets)
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss became {loss.item()} in epoch {epoch + 1}: lower learning.learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        foreground = targets != BACKGROUND
        right = foreground & (logits[:, 1:].argmax(1) + 1 == targets)
        sums.update(loss=loss.item(), rois=len(targets), foreground=int(foreground.sum()), right=int(right.sum()))
        if step + 1 == in_epoch:
            yield {
                "epoch": epoch + 1,
                "loss": sums["loss"] / in_epoch,
                "foreground named right": sums["right"] / max(sums["foreground"], 1),
                "foreground": sums["foreground"] / max(sums["rois"], 1),
            }
    if not all(parameter.isfinite().all() for parameter in classifier.parameters()):  # after the last step, too
        raise ValueError("the weights became infinite or NaN: lower learning.learning_rate")
    classifier.eval()


def build_optimizer(classifier: Classifier, config: LearningConfig) -> torch.optim.Optimizer:
    """An optimizer of the head, and of the trunk at its own rate. A rate of 0 freezes the trunk."""
    parts = ((classifier.head, 1.0), (classifier.trunk, config.trunk_learning_rate))
    for part, factor in parts:
        part.requires_grad_(factor > 0)
    groups = [{"params": part.parameters(), "lr": config.learning_rate * factor} for part, factor in parts if factor]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def rate_factor(progress: float, config: LearningConfig) -> float:
    """Factor of the learning rate after a share of the run."""
    if config.optimizer == "sgd":
        return 0.1 if progress >= 0.75 else 1.0
    return 0.5 * (1 + math.cos(math.pi * progress))


def _forward(
    classifier: Classifier, example: Example, config: LearningConfig, generator: torch.Generator
) -> tuple[Float[Tensor, "n classes"], Int[Tensor, "n"]]:
    """Logits and targets of one image's sampled proposals; the image is mirrored or not, at random."""
    flip, device = bool(torch.randint(2, (), generator=generator)), classifier.device
    rois, targets = sample(example.rois(flip), generator)
    maps = classifier.trunk(example.pixels(flip)) if config.trunk_learning_rate else example.maps(flip, device)
    return classifier(maps, example.size, rois.boxes_xyxy.to(device), rois.masks.to(device)), targets
