"""Step two: the classifier, on proposals that stay as they are."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from instancefcn.classifier.cache import Example, Track, View, cache_examples, views_of
from instancefcn.classifier.checkpoint import ClassifierCheckpoint, ProposalNetwork, save_classifier
from instancefcn.classifier.config import ClassifierRecipe, LearningConfig
from instancefcn.classifier.network import Classifier
from instancefcn.classifier.rois import BACKGROUND, sample
from instancefcn.classifier.trunk import channels_of_proposals
from instancefcn.config import to_table
from instancefcn.data import Source
from instancefcn.inference.proposer import Proposer

Steps = Callable[[Sequence[int]], Iterable[int]]


def train_classifier(
    recipe: ClassifierRecipe,
    sources: Sequence[Source],
    proposer: Proposer,
    network: ProposalNetwork,
    out: Path,
    *,
    cache: Path | None = None,
    imagenet: bool = True,
    say: Callable[[str], None] = print,
    track_images: Track = iter,
    track_steps: Steps = iter,
) -> Path:
    """Train a classifier for the proposals of a network, and return the path of its file.

    Writes ``classifier.safetensors`` and ``metrics.jsonl`` into ``out``, and what is kept of the images into ``cache``
    (``out/cache`` where none is given), which may be deleted afterwards.

    Args:
        proposer, network: from ``load_proposer``; the classifier learns on the proposer's device.
        imagenet: start the classifier's own trunk from ImageNet weights; else it knows nothing.
        say: is told what was left out.
        track_images, track_steps: show progress over what they are given.

    Raises:
        ValueError: nothing to learn, categories that contradict each other, or a file that can't be used.
    """
    names, classes = classes_of(sources)
    for category_id, name in names.items():
        if category_id not in classes:
            say(f"category {name!r} ({category_id}) has no instance to learn from: nothing will be named so")
    config = recipe.classifier
    channels = channels_of_proposals(proposer, config.strides) if config.trunk == "proposals" else ()
    torch.manual_seed(recipe.seed)
    categories = {category_id: names[category_id] for category_id in classes}
    classifier = Classifier(config, categories, channels=channels, imagenet=imagenet).to(proposer.device)
    classifier.eval()
    examples, problems = cache_examples(
        sources, classes, proposer, network, classifier, recipe, cache or out / "cache", track_images
    )
    for problem in problems:
        say(f"left out: {problem}")
    if not examples:
        raise ValueError("no image to learn from: `instancefcn validate` with the same --data says why")
    out.mkdir(parents=True, exist_ok=True)
    weights = class_weights(instance_counts(sources, classes), recipe.learning.class_balance)
    with (out / "metrics.jsonl").open("w", encoding="utf-8") as log:
        for figures in learn(classifier, examples, weights, recipe, track_steps):
            log.write(json.dumps(figures) + "\n")
            log.flush()
    path = out / "classifier.safetensors"
    about = {"recipe": to_table(recipe), "images": len(examples), "data": [source.name for source in sources]}
    save_classifier(
        ClassifierCheckpoint(
            config, recipe.naming, categories, classifier.channels, network, classifier.state_dict(), about
        ),
        path,
    )
    return path


def classes_of(sources: Sequence[Source]) -> tuple[dict[int, str], dict[int, int]]:
    """Names of all categories by id, and the class, from 1, of those that have an instance.

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
    ids_of = Counter(names.values())
    for name, count in ids_of.items():
        ids = [category_id for category_id, other in names.items() if other == name]
        if count > 1 and len(sources) > 1:
            raise ValueError(f"category {name!r} has the ids {ids}: give each category one id everywhere")
    seen = Counter[int]()
    for source in sources:
        for index in range(len(source)):
            instances = source.labels(index).instances
            seen.update(instances.category_ids[~(instances.crowd | instances.ignore)].tolist())
    if not seen:
        raise ValueError(f"no labelled instance to learn from in {', '.join(source.name for source in sources)}")
    return names, {category_id: number for number, category_id in enumerate(sorted(seen), start=1)}


def instance_counts(sources: Sequence[Source], classes: Mapping[int, int]) -> list[int]:
    """Instances of each class, in the order of the classes."""
    counts = [0] * len(classes)
    for source in sources:
        for index in range(len(source)):
            instances = source.labels(index).instances
            for category_id in instances.category_ids[~(instances.crowd | instances.ignore)].tolist():
                counts[classes[category_id] - 1] += 1
    return counts


def class_weights(counts: Sequence[int], balance: float) -> Float[Tensor, "classes"]:
    """Weights of background and of each class in the loss; those of all instances have mean 1, as background has."""
    number = torch.tensor(counts, dtype=torch.float)
    weights = number.clamp(min=1) ** -balance
    return torch.cat([torch.ones(1), weights * number.sum() / (weights * number).sum()])


def learn(
    classifier: Classifier,
    examples: Sequence[Example],
    weights: Float[Tensor, "classes"],
    recipe: ClassifierRecipe,
    track: Steps = iter,
) -> Iterable[dict[str, float]]:
    """Train in place; figures of each epoch."""
    config, views = recipe.learning, views_of(recipe)
    device = next(classifier.parameters()).device
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = build_optimizer(classifier, config)
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = [step for _ in range(config.epochs) for step in range(math.ceil(len(examples) / config.batch_size))]
    order: list[int] = []
    sums: Counter[str] = Counter()
    weights = weights.to(device)
    classifier.head.train()
    for done, step in zip(range(len(steps)), track(steps), strict=True):
        if step == 0:
            order = torch.randperm(len(examples), generator=generator).tolist()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * learning_rate(done / len(steps), config)
        logits: list[Tensor] = []
        targets: list[Tensor] = []
        for index in order[step * config.batch_size : (step + 1) * config.batch_size]:
            number = int(torch.randint(len(views), (), generator=generator))
            of_image, of_target = _forward(classifier, examples[index], number, views[number], recipe, generator)
            logits.append(of_image)
            targets.append(of_target)
        loss, named = _loss(torch.cat(logits), torch.cat(targets).to(device), weights, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.update({"loss": float(loss.detach()), **named})
        if done + 1 == len(steps) or steps[done + 1] == 0:
            in_epoch = step + 1
            yield {
                "epoch": (done + 1) // in_epoch,
                "loss": sums["loss"] / in_epoch,
                "foreground named right": sums["named right"] / max(sums["foreground"], 1),
                "foreground": sums["foreground"] / max(sums["rois"], 1),
            }
            sums.clear()
    classifier.eval()


def build_optimizer(classifier: Classifier, config: LearningConfig) -> torch.optim.Optimizer:
    """Of the head, and of the trunk at its own rate; a trunk whose rate is 0 is frozen."""
    groups = [{"params": list(classifier.head.parameters()), "lr": config.learning_rate}]
    if classifier.trunk is not None:
        classifier.trunk.requires_grad_(bool(config.trunk_learning_rate))
        if config.trunk_learning_rate:
            rate = config.learning_rate * config.trunk_learning_rate
            groups.append({"params": list(classifier.trunk.parameters()), "lr": rate})
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def learning_rate(progress: float, config: LearningConfig) -> float:
    """The rate, as a factor, after a share of the run."""
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 0.1 if progress >= 0.75 else 1.0


def _forward(
    classifier: Classifier,
    example: Example,
    number: int,
    view: View,
    recipe: ClassifierRecipe,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "n classes"], Int[Tensor, "n"]]:
    """Logits and targets of one image's sampled proposals."""
    device = next(classifier.parameters()).device
    rois, targets = sample(example.rois(view), recipe.rois, generator)
    if recipe.learning.trunk_learning_rate:
        assert classifier.trunk is not None
        maps = classifier.trunk(example.pixels(view), view.factor)
    else:
        maps = example.maps(number)
        maps = type(maps)([level.to(device) for level in maps.maps], maps.scale)
    return classifier(maps, rois.boxes_xyxy.to(device), rois.masks.to(device)), targets


def _loss(
    logits: Float[Tensor, "n classes"],
    targets: Int[Tensor, "n"],
    weights: Float[Tensor, "classes"],
    config: LearningConfig,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Cross-entropy, and counts of proposals, of foreground, and of foreground that gets its name."""
    loss = F.cross_entropy(logits, targets, weight=weights, label_smoothing=config.label_smoothing)
    foreground = targets != BACKGROUND
    right = (logits[:, 1:].argmax(1) + 1 == targets) & foreground
    counts = {"rois": len(targets), "foreground": int(foreground.sum()), "named right": int(right.sum())}
    return loss, {key: float(value) for key, value in counts.items()}
