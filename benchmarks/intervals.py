"""How often the interval of a difference leaves out zero between files that are equally good, by the number of images.

    PYTHONPATH=. python benchmarks/intervals.py val/proposals.json --annotations instances_val.json

The results of a file are dealt to two by chance. From the images with instances some are drawn, the two files change
places in each by a coin's toss, and the difference gets its interval: 95 % of these should hold zero.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from instancefcn.data.result_files import read_results
from instancefcn.evaluation.average_recall import recall_per_image
from instancefcn.evaluation.compare import CONFIDENCE, bootstrap
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.files import read_json

MEASURES = ("coco/AR@10", "coco/AR@100", "coco/AR@100_large", "recall@0.5")
IMAGES = (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proposals", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    generator = np.random.default_rng(arguments.seed)
    images = parse_ground_truth(read_json(arguments.annotations))
    results = list(read_results(arguments.proposals))
    dealt = generator.random(len(results)) < 0.5
    halves = [[one for one, first in zip(results, dealt, strict=True) if first == which] for which in (True, False)]
    first, second = (recall_per_image(images, parse_results(of, images), "segm").measures() for of in halves)
    for name in MEASURES:
        a, b = first[name], second[name]
        there = np.flatnonzero(a.instances)
        print(f"{name}: {a.percent():.1f} and {b.percent():.1f} on {len(there)} images")
        for count in (count for count in IMAGES if count <= len(there)):
            left_out = 0
            for _ in range(arguments.trials):
                own = generator.choice(there, count, replace=False)
                gained = np.where(generator.random(count) < 0.5, -1, 1) * (b.found[own] - a.found[own])
                instances = a.instances[own]

                def difference(drawn: np.ndarray, gained=gained, instances=instances) -> np.ndarray:
                    return (drawn @ gained / (drawn @ instances))[:, None]

                ((low,), (high,)) = bootstrap(difference, count, generator, arguments.draws, CONFIDENCE)
                left_out += low > 0 or high < 0
            print(f"  {count:>3} images: {100 * left_out / arguments.trials:.1f} % leave out zero", flush=True)


if __name__ == "__main__":
    main()
