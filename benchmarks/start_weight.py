"""How much the threshold that training started from should count beside a few images: START_IMAGES of `calibration`.

    python -m benchmarks.start_weight benchmarks/runs/labelling/*/round-*

Each argument is a folder with a checkpoint that was trained from the shipped one, below a run of `labelling.py`. Of its
domain's val, a few images are drawn, again and again; by each weight they choose a threshold, and the objects of all
other images are counted with it. Prints F1 at IoU 0.5 in percent: the mean over the draws and, behind it, what a tenth
of the draws stay below.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.labelling import DOMAINS
from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.evaluation.counting import WRONG
from instancefcn.inference.proposer import MIN_SCORE, Proposer
from instancefcn.objects import ObjectRule
from instancefcn.training.calibration import IOU, TRIED, Candidates, Objects, best_threshold, blend

WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0, np.inf)  # images that the start's threshold counts as
DRAWN = (2, 5, 10)  # images
DRAWS = 60
Looked = list[tuple[list[Objects], int]]  # of each image: the objects by each rule of TRIED, and its instances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="with a best.safetensors each")
    parser.add_argument("--data-root", default="../shared/data", help="folder of the domains (default: %(default)s)")
    parser.add_argument("--most", type=int, default=60, help="images of val, at most (default: 60)")
    arguments = parser.parse_args()

    start = Proposer.from_checkpoint().rule
    assert start is not None
    print("run, images drawn".ljust(52), *(f"{weight:>11g}" for weight in WEIGHTS))
    for folder in arguments.folders:
        domain = next(name for name in DOMAINS if folder.parent.name.startswith(name))
        looked = look(folder / "best.safetensors", domain, arguments.data_root, arguments.most)
        for count in DRAWN:
            scores = try_weights(looked, start, count)
            shown = [f"{row.mean():.1f}/{np.percentile(row, 10):.1f}" for row in scores.T]
            print(
                f"{folder.parent.name}/{folder.name}, {count}".ljust(52), *(f"{text:>11}" for text in shown), flush=True
            )


def look(checkpoint: Path, domain: str, data_root: str, most: int) -> Looked:
    """What the network of a checkpoint finds on val, by every rule that is tried."""
    source = open_source(DOMAINS[domain].format(root=data_root, split="val"))
    return [
        ([image.objects(rule, [IOU])[0] for rule in TRIED], image.ious.shape[1])
        for image in candidates_of(Proposer.from_checkpoint(checkpoint), source, most)
    ]


def candidates_of(proposer: Proposer, source: Source, most: int | None = None) -> Iterator[Candidates]:
    """All candidates of each image, or of the first ``most``."""
    for index in range(len(source))[:most]:
        sample = source[index]
        found = proposer(sample.image, max_proposals=proposer.config.nms_candidates, min_score=MIN_SCORE)
        yield Candidates.of(found, sample.instances)


def try_weights(looked: Looked, start: ObjectRule, count: int) -> np.ndarray:
    """F1 [draws, weights] of the images that were not drawn."""
    scores = np.empty((DRAWS, len(WEIGHTS)))
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(looked))
        drawn, others = ([looked[index] for index in part] for part in (order[:count], order[count:]))
        by_rule = [[objects[rule] for objects, _ in drawn] for rule in range(len(TRIED))]
        chosen = best_threshold(by_rule, [instances for _, instances in drawn])
        rule = start if chosen is None else replace(TRIED[chosen[0]], threshold=chosen[1])
        for place, weight in enumerate(WEIGHTS):
            own = count / (count + weight)
            scores[draw, place] = f1(others, blend(rule, start, own, own))
    return scores


def limits(rule: ObjectRule) -> tuple[float, float, int]:
    """What a rule leaves out, whatever its threshold."""
    return rule.max_iou, rule.max_filled, rule.max_inside


def f1(looked: Looked, rule: ObjectRule) -> float:
    """Of the objects by a rule, in percent."""
    place = [limits(tried) for tried in TRIED].index(limits(rule))
    taken = (objects[place].matched[objects[place].scores >= rule.threshold] for objects, _ in looked)
    return f1_of(taken, sum(instances for _, instances in looked))


def f1_of(matched: Iterable[np.ndarray], instances: int) -> float:
    """F1 in percent, from what the objects of each image find (``match_objects``), and how many instances there are."""
    every = np.concatenate([*matched])
    right, wrong = (every >= 0).sum(), (every == WRONG).sum()
    return 100 * 2 * right / max(right + wrong + instances, 1)


if __name__ == "__main__":
    main()
