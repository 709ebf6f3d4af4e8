"""How much drawing proposed objects save: a simulated labeller, round by round.

    python benchmarks/labelling.py --domain corn                     # 5 rounds of 10 images, 5 minutes of training each
    python benchmarks/labelling.py --domain corn --init imagenet
    python benchmarks/labelling.py --iterations 200 --rounds 2       # every domain; the same result on a busy machine
    python benchmarks/labelling_page.py                              # the table and the chart of all that is there

The labeller starts with no labels. In each round the network proposes objects on the next images. An object that has an
IoU of 0.8 or more with an instance, one to one, is accepted as it is; from 0.5 on it is corrected; an instance without
an object is drawn, and an object without an instance deleted. The same is counted on the val split, which nothing is
trained on or chosen by. Then the images get their true labels, and a network is trained on all that are labelled, from
the weights that --init names.

Each run has a folder, benchmarks/runs/labelling/DOMAIN-INIT-CHOICE-SEED-IMAGES; IMAGES are those of a round. Its
rounds.json is written anew after each round, and the run goes on from there, or from the middle of a training, when it
is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from instancefcn.data.images import AnyImage
from instancefcn.data.open import open_source
from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.evaluation.counting import WRONG, match_objects
from instancefcn.files import read_json, write_whole
from instancefcn.geometry.rle import Rle, ious
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling.next_images import Criterion, choose_next
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances
from instancefcn.training.calibration import choose_rule
from instancefcn.training.initial_weights import IMAGENET, RANDOM, SHIPPED
from instancefcn.training.loop import train
from instancefcn.training.recipe import Recipe, load_recipe

ACCEPTED, CORRECTED = 0.8, 0.5  # IoU from which an object is accepted as it is, and from which it is corrected
F1_AT = (0.5, 0.75)
DOMAINS = {
    "nuclei": "labels:{root}/nuclei/{split}",
    "corn": "coco:{root}/corn/annotations/instances_{split}.json,{root}/corn/{split}",
    "food": "coco:{root}/food/annotations/instances_{split}.json,{root}/food/{split}",
    "pennfudan": "labels:{root}/pennfudan/{split}",
    "aerial-buildings": (
        "coco:{root}/aerial-buildings/annotations/instances_{split}.json,{root}/aerial-buildings/{split}"
    ),
}
ROUNDS_FILE = "rounds.json"


@dataclass(frozen=True)
class Settings:
    """What decides the result of a run, but for the speed of the machine."""

    domain: str
    init: str = SHIPPED  # or "imagenet", or the path of a checkpoint
    choose: Criterion = "random"  # how the next images are chosen
    seed: int = 0
    images: int = 10  # a round
    minutes: float | None = 5.0  # of training a round
    iterations: int | None = None  # instead of minutes
    recipe: str = "lite"


def count_edits(objects: Sequence[Rle], instances: Instances) -> dict[str, int]:
    """What a labeller does with the objects proposed on one image, best first.

    Returns:
        ``instances`` is ``accepted + corrected + drawn``. ``deleted`` objects find no instance and lie on no crowd.
        ``wrong@T`` and ``right@T``: objects at an IoU threshold T of ``F1_AT``.
    """
    wanted, crowds = instances.divided()
    overlaps, on_crowds = ious(objects, wanted), ious(objects, crowds, crowd=True)
    matched = match_objects(overlaps, on_crowds, CORRECTED)
    found = np.flatnonzero(matched >= 0)
    accepted = int((overlaps[found, matched[found]] >= ACCEPTED).sum())
    counts = {
        "images": 1,
        "instances": len(wanted),
        "accepted": accepted,
        "corrected": len(found) - accepted,
        "drawn": len(wanted) - len(found),
        "deleted": int((matched == WRONG).sum()),
    }
    for threshold in F1_AT:
        at = match_objects(overlaps, on_crowds, threshold)
        counts |= {f"right@{threshold}": int((at >= 0).sum()), f"wrong@{threshold}": int((at == WRONG).sum())}
    return counts


def count_all_edits(find: Callable[[AnyImage], Proposals] | None, source: Source) -> dict[str, Any]:
    """``count_edits`` summed over images, with F1 in percent; everything is drawn where nobody finds objects yet."""
    total: dict[str, Any] = {}
    for index in range(len(source)):
        objects = find(source.image(index)).rles if find is not None else []
        for name, number in count_edits(objects, source.labels(index).instances).items():
            total[name] = total.get(name, 0) + number
    for threshold in F1_AT if total else ():
        right, wrong = total.pop(f"right@{threshold}"), total.pop(f"wrong@{threshold}")
        total[f"F1@{threshold}"] = 100 * 2 * right / max(right + wrong + total["instances"], 1)
    return total


def choose_images(
    settings: Settings, proposer: Proposer | None, training: Source, labelled: Sequence[int], round_number: int
) -> list[int]:
    """Indices of the images to label next, chosen as ``instancefcn next`` does; by chance without a network."""
    left = sorted(set(range(len(training))) - set(labelled))
    seed = int(np.random.SeedSequence((settings.seed, round_number)).generate_state(1)[0])
    pool, known = ([partial(training.image, index) for index in indices] for indices in (left, labelled))
    by = settings.choose if proposer is not None else "random"
    chosen = choose_next(by, pool, settings.images, proposer=proposer, labelled=known, seed=seed)
    return sorted(left[choice.index] for choice in chosen)


def run(
    settings: Settings,
    training: Source,
    validation: Source,
    out: Path,
    *,
    rounds: int,
    recipe: Recipe | None = None,
    workers: int = 1,
    report: Any = print,
) -> dict[str, Any]:
    """Label round by round, or go on with a run that was cut.

    Args:
        training: images to be labelled, with their true labels.
        validation: what is measured on after each round, and nothing else.
        out: folder of the run.
        rounds: number of trainings; before the first one, objects are those of the weights to start from.
        recipe: instead of the one that the settings name.

    Returns:
        What ``rounds.json`` holds: ``{"settings", "machine", "rounds": [{"labelled", "chosen", "next", "val",
        "iterations", "seconds"}, ...]}``; round r was proposed in by the network of r trainings. "iterations" are those
        of the best checkpoint, which may come before the end of its training.

    Raises:
        ValueError: ``out`` holds a run of other settings.
    """
    recipe = replace(load_recipe(settings.recipe) if recipe is None else recipe, seed=settings.seed)
    path = out / ROUNDS_FILE
    kept = read_json(path) if path.exists() else {"settings": asdict(settings), "machine": machine(), "rounds": []}
    if kept["settings"] != asdict(settings):
        raise ValueError(f"{path}: of other settings: {kept['settings']}; give another --out, or remove the folder")
    for number in range(len(kept["rounds"]), rounds + 1):
        labelled = [index for earlier in kept["rounds"] for index in earlier["chosen"]]
        if number and not kept["rounds"][-1]["chosen"]:
            break  # all images are labelled
        known = Selection([(training, index) for index in labelled], "labelled")
        started = time.monotonic()
        proposer, iterations = network_of_round(settings, known, out / f"round-{number}", recipe, workers, report)
        seconds = time.monotonic() - started
        chosen = choose_images(settings, proposer, training, labelled, number)
        find = None if proposer is None else proposer.objects
        found = {
            "labelled": len(labelled),
            "chosen": chosen,
            "next": count_all_edits(find, Selection([(training, index) for index in chosen], "next")),
            "val": count_all_edits(find, validation),
            "iterations": iterations,
            "seconds": round(seconds, 1),
        }
        kept["rounds"].append(found)
        write_whole(path, json.dumps(kept, indent=2) + "\n")
        for name in ("last.state", "last.safetensors"):  # the round is over
            (out / f"round-{number}" / name).unlink(missing_ok=True)
        report(f"{settings.domain}, {len(labelled)} labelled: {summary(found['next'])}; val {summary(found['val'])}")
    return kept


def network_of_round(
    settings: Settings, labelled: Selection, out: Path, recipe: Recipe, workers: int, report: Any
) -> tuple[Proposer | None, int]:
    """The proposer after training on what is labelled, and the iteration of its checkpoint, the best of that training.

    Before any label it is that of the weights to start from, None where these are of a trunk alone. A checkpoint that
    carries no rule for objects gets one from the labelled images themselves.
    """
    if len(labelled) == 0:
        if settings.init in (IMAGENET, RANDOM):
            return None, 0
        return Proposer.from_checkpoint(None if settings.init == SHIPPED else settings.init), 0
    path = train(
        recipe,
        [labelled],
        out,
        iterations=settings.iterations,
        minutes=settings.minutes if settings.iterations is None else None,
        init=settings.init,
        resume=True,
        workers=workers,
        report=report,
    )
    proposer = Proposer.from_checkpoint(path)
    if proposer.rule is None:
        proposer.rule = choose_rule(proposer, [labelled])
    return (proposer if proposer.rule is not None else None), int(load_checkpoint(path).training["iteration"])


def summary(counts: dict[str, Any]) -> str:
    """Shares of the labelled objects, on one line."""
    whole = max(counts.get("instances", 0), 1)
    names = ("accepted", "corrected", "drawn", "deleted")
    return ", ".join(f"{name} {100 * counts.get(name, 0) / whole:.1f}" for name in names)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown", "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", action="append", choices=sorted(DOMAINS), help="may be given again; default: all")
    parser.add_argument("--init", default=SHIPPED, help="shipped (default), imagenet, or a checkpoint")
    parser.add_argument(
        "--choose", default="random", choices=get_args(Criterion), help="what is labelled next: `next --by`"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice and of training")
    parser.add_argument("--round", type=int, default=10, help="images a round (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="trainings (default: 5)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training a round (default: 5)")
    parser.add_argument("--iterations", type=int, help="of training a round, instead of minutes")
    parser.add_argument("--recipe", default="lite", help="lite (default), or a TOML file")
    parser.add_argument("--data-root", default="../shared/data", help="folder of the domains (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/labelling"), help="default: %(default)s")
    arguments = parser.parse_args()

    minutes = arguments.minutes if arguments.iterations is None else None
    for domain in arguments.domain or DOMAINS:
        settings = Settings(
            domain,
            arguments.init,
            arguments.choose,
            arguments.seed,
            arguments.round,
            minutes,
            arguments.iterations,
            arguments.recipe,
        )
        init = Path(settings.init).stem
        folder = arguments.out / f"{domain}-{init}-{settings.choose}-{settings.seed}-{settings.images}"
        training, validation = (
            open_source(DOMAINS[domain].format(root=arguments.data_root, split=split)) for split in ("train", "val")
        )
        run(settings, training, validation, folder, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
