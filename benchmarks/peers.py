"""Ours beside what a person might take instead, from an equal start: labelled images, minutes and the same two cores.

    python -m benchmarks.peers --peer ours --domain nuclei                      # from ImageNet weights, 20 minutes
    python -m benchmarks.peers --peer ours --domain nuclei --init shipped       # what a user of ours would do
    python -m benchmarks.peers --peer mask-rcnn --domain nuclei                 # torchvision's, on the same trunk
    python -m benchmarks.peers --peer mask-rcnn --domain nuclei --times-rate 2  # of its documented rate
    python -m benchmarks.peers --peer yolo --domain nuclei                      # benchmarks/yolo.py: what it needs
    python -m benchmarks.peers --peer stardist --domain nuclei                  # benchmarks/star_convex.py
    python -m benchmarks.peers --page docs/results/peers.md                     # the table of all that is there

Every peer trains on the same images of train, drawn by the seed, of which the same tenth is kept out, by which it
chooses its threshold (ours also its best checkpoint). All are measured on val: AR of masks, F1 of objects at IoU 0.5
and 0.75, seconds an image. Settings that are not named are the peer's documented ones, as its file in benchmarks/ says.

Each run is a file, benchmarks/runs/peers/DOMAIN-IMAGES-PEER-..., which is not measured again.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import mask_rcnn, star_convex, yolo
from benchmarks.labelling import DOMAINS, count_all_edits, machine
from benchmarks.mask_rcnn import MaskRcnnProposer
from benchmarks.star_convex import train_stardist
from benchmarks.yolo import train_yolo
from instancefcn.allocator import keep_freed_memory
from instancefcn.data.coco import source_to_coco
from instancefcn.data.images import AnyImage
from instancefcn.data.open import open_source
from instancefcn.data.selection import Selection
from instancefcn.data.source import Source
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.files import read_json, write_whole
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.training.initial_weights import IMAGENET, RANDOM, SHIPPED
from instancefcn.training.keeping_out import keep_out
from instancefcn.training.loop import train
from instancefcn.training.recipe import load_recipe

OURS, MASK_RCNN, YOLO, STARDIST = "ours", "mask-rcnn", "yolo", "stardist"
STARTS = {  # the weights that a peer may start from, its usual ones first
    OURS: (IMAGENET, SHIPPED),
    MASK_RCNN: (IMAGENET,),
    YOLO: (RANDOM,),
    STARDIST: (RANDOM,),
}
RUNS = Path("benchmarks/runs/peers")
NO_OBJECTS = ObjectRule(threshold=1.0)
HEADER = """# Peers, from an equal start

Every peer trains on the same labelled images of train, chooses its threshold on the same tenth of them, and is measured
on val: AR of 10 and of 100 masks, F1 of objects, percent. Memory is the most that the process took. A rate is a
factor of the peer's documented one. `python -m benchmarks.peers` says what is equal and what is not.

Each run had one thread, on a machine of two cores where other processes ran beside it: nuclei from ImageNet weights on
a Xeon, the others on an AMD EPYC. In the rows that are here ours loaded its images in a second process, on pennfudan on
the same core; its memory is not counted (0.5 GB in a tiny run). By today's code it is one process. What peers would
learn in hours, on a GPU, or from COCO's weights is another question: here they get as far as these minutes carry them.
YOLO has not begun to find anything in its 118 steps of 16 views. Where there is one row of a peer, its rate was not
searched.
"""


@dataclass(frozen=True)
class Settings:
    """What decides a run, but for the speed of the machine."""

    peer: str
    domain: str
    images: int = 50  # labelled
    minutes: float = 20.0  # of training
    init: str = IMAGENET
    times_rate: float = 1.0  # of the peer's documented learning rate
    seed: int = 0

    @property
    def name(self) -> str:
        """Of the run's file."""
        parts = (self.domain, self.images, self.peer, self.init, f"{self.minutes:g}min", f"x{self.times_rate:g}")
        return "-".join(map(str, (*parts, self.seed)))


@dataclass(frozen=True)
class Trained:
    """A peer after its training."""

    proposer: Any  # proposes and finds objects as ``Proposer`` does
    iterations: int
    parameters: int


def train_ours(settings: Settings, labelled: Source, report: Callable[[str], None] = print) -> Trained:
    """`instancefcn train` with the recipe `lite`."""
    recipe = load_recipe("lite")
    rate = recipe.optimization.learning_rate * settings.times_rate
    recipe = replace(recipe, seed=settings.seed, optimization=replace(recipe.optimization, learning_rate=rate))
    with tempfile.TemporaryDirectory() as scratch_name:
        path = train(
            recipe,
            [labelled],
            Path(scratch_name),
            minutes=settings.minutes,
            init=settings.init,
            workers=0,  # in this process, as the others load theirs
            report=report,
        )
        proposer, iterations = Proposer.from_checkpoint(path), load_checkpoint(path).training["iteration"]
    proposer.rule = proposer.rule or NO_OBJECTS  # where it learnt to find nothing
    return Trained(proposer, iterations, parameter_count(proposer.network))


def train_mask_rcnn(settings: Settings, labelled: Source, report: Callable[[str], None] = print) -> Trained:
    """torchvision's Mask R-CNN, which chooses its threshold on the images that ours keeps out."""
    training, kept = keep_out([labelled], settings.seed)
    proposer = MaskRcnnProposer()
    rate = mask_rcnn.RATE * settings.times_rate
    iterations = proposer.train(training[0], settings.minutes, rate, settings.seed, report)
    proposer.choose_rule(kept)
    return Trained(proposer, iterations, parameter_count(proposer.network))


def train_ultralytics(settings: Settings, labelled: Source, report: Callable[[str], None] = print) -> Trained:
    """Ultralytics' YOLO, which chooses its epoch and its threshold on the images that ours keeps out."""
    training, kept = keep_out([labelled], settings.seed)
    with tempfile.TemporaryDirectory() as scratch:
        proposer, iterations = train_yolo(
            training, kept, settings.minutes, yolo.RATE * settings.times_rate, settings.seed, Path(scratch), report
        )
    proposer.choose_rule(kept)
    return Trained(proposer, iterations, parameter_count(proposer.model.model))


def train_star_convex(settings: Settings, labelled: Source, report: Callable[[str], None] = print) -> Trained:
    """StarDist, which chooses its weights and its thresholds on the images that ours keeps out."""
    training, kept = keep_out([labelled], settings.seed)
    rate, threads = star_convex.RATE * settings.times_rate, torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch:
        proposer, iterations = train_stardist(
            training, kept, settings.minutes, rate, settings.seed, Path(scratch), threads, report
        )
    return Trained(proposer, iterations, proposer.model.keras_model.count_params())


def parameter_count(network: nn.Module) -> int:
    """Numbers that a network has learnt, or was given."""
    return sum(parameter.numel() for parameter in network.parameters())


PEERS = {OURS: train_ours, MASK_RCNN: train_mask_rcnn, YOLO: train_ultralytics, STARDIST: train_star_convex}


def labelled_images(source: Source, count: int, seed: int) -> Selection:
    """``count`` of the images, by chance."""
    chosen = np.random.default_rng(seed).permutation(len(source))[:count]
    return Selection([(source, int(index)) for index in sorted(chosen)], "labelled")


def measure(trained: Trained, validation: Source) -> dict[str, float]:
    """What a trained peer finds on val, in percent, and the median seconds in which it finds an image's objects."""
    results = [
        result
        for sample in validation
        for result in trained.proposer(sample.image, max_proposals=100).to_coco(sample.image_id)
    ]
    recall = average_recall(source_to_coco(validation), results)["coco"]
    seconds: list[float] = []

    def find(image: AnyImage) -> Proposals:
        started = time.perf_counter()
        objects = trained.proposer.objects(image)
        seconds.append(time.perf_counter() - started)
        return objects

    edits = count_all_edits(find, validation)
    found = {
        "AR@10": recall["AR@10"],
        "AR@100": recall["AR@100"],
        "F1@0.5": edits["F1@0.5"],
        "F1@0.75": edits["F1@0.75"],
    }
    return found | {
        "accepted": 100 * edits["accepted"] / edits["instances"],
        "seconds_an_image": float(np.median(seconds)),
    }


def run(settings: Settings, data_root: str, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a peer and measure it: what its file holds."""
    training, validation = (
        open_source(DOMAINS[settings.domain].format(root=data_root, split=split)) for split in ("train", "val")
    )
    started = time.monotonic()
    trained = PEERS[settings.peer](settings, labelled_images(training, settings.images, settings.seed), report)
    seconds = time.monotonic() - started
    return {
        "settings": asdict(settings),
        "machine": machine(),
        "iterations": trained.iterations,
        "parameters": trained.parameters,
        "training_seconds": round(seconds, 1),
        "found": measure(trained, validation),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def command(settings: Settings) -> str:
    """What makes a run."""
    options = (f"--{name.replace('_', '-')} {value}" for name, value in asdict(settings).items())
    return f"python -m benchmarks.peers {' '.join(options)}"


def page(runs: Sequence[dict[str, Any]]) -> str:
    """All runs as Markdown, a table for each domain and number of images, the best F1 at 0.5 first."""
    tables: dict[str, list[str]] = {}
    for made in sorted(runs, key=lambda made: -made["found"]["F1@0.5"]):
        settings, found = Settings(**made["settings"]), made["found"]
        figures = [found["AR@10"], found["AR@100"], found["F1@0.5"], found["F1@0.75"], found["accepted"]]
        cells = [
            settings.peer, settings.init, f"{settings.minutes:g}", f"{settings.times_rate:g}", str(settings.seed),
            *(f"{figure:.1f}" for figure in figures),
            f"{found['seconds_an_image']:.2f}", f"{made['parameters'] / 1e6:.1f}", f"{made['memory_mb'] / 1000:.1f}",
            str(made["iterations"]), str(made["machine"]["threads"]),
        ]  # fmt: skip
        tables.setdefault(f"{settings.domain}, {settings.images} images", []).append(f"| {' | '.join(cells)} |")
    head = (
        "| peer | from | minutes | rate | seed | AR@10 | AR@100 | F1@0.5 | F1@0.75 | accepted at 0.8 | s an image "
        "| million parameters | GB | iterations | threads |"
    )
    sections = (
        "\n".join([f"\n## {title}\n", head, f"|{'---|' * (head.count('|') - 1)}", *rows])
        for title, rows in sorted(tables.items())
    )
    commands = "\n".join(sorted(command(Settings(**made["settings"])) for made in runs))
    return f"{HEADER}{chr(10).join(sections)}\n\n## Commands\n\n```text\n{commands}\n```\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=sorted(PEERS))
    parser.add_argument("--domain", choices=sorted(DOMAINS))
    parser.add_argument("--images", type=int, default=Settings.images, help="labelled (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=Settings.minutes, help="of training (default: %(default)s)")
    parser.add_argument("--init", choices=(IMAGENET, SHIPPED, RANDOM), help="default: the peer's usual one")
    parser.add_argument("--times-rate", type=float, default=1.0, help="of the documented rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", default="../shared/data", help="folder of the domains (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="write the table of all runs, and measure nothing")
    options = parser.parse_args()
    if options.page:
        write_whole(options.page, page([read_json(path) for path in sorted(RUNS.glob("*.json"))]))
        return
    if not options.peer or not options.domain:
        parser.error("give --peer and --domain, or --page")
    options.init = options.init or STARTS[options.peer][0]
    if options.init not in STARTS[options.peer]:
        parser.error(f"--peer {options.peer} starts from --init {' or '.join(STARTS[options.peer])} alone")
    keep_freed_memory()
    settings = Settings(**{name: getattr(options, name) for name in asdict(Settings(OURS, "corn"))})
    path = RUNS / f"{settings.name}.json"
    if path.exists():
        raise SystemExit(f"{path} is there already; remove it to measure again")
    made = run(settings, options.data_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(made, indent=2) + "\n")
    print(json.dumps(made["found"], indent=2))


if __name__ == "__main__":
    main()
