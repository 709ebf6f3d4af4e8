"""What share of a recipe's training views has no positive window.

    python -m benchmarks.draws --recipe paper --recipe paper-gapless --views 500 \\
        --data coco:../shared/data/coco-mini/annotations/instances_train.json,../shared/data/coco-mini/train
"""

from __future__ import annotations

import argparse

from instancefcn.data.open import open_source
from instancefcn.training.assignment import POSITIVE, Grid
from instancefcn.training.batch import assign_image
from instancefcn.training.dataset import TrainingStream
from reproduce.networks import build_network
from reproduce.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as for `instancefcn validate`")
    parser.add_argument("--recipe", action="append", required=True, help="may be given again")
    parser.add_argument("--views", type=int, default=500)
    arguments = parser.parse_args()

    source = open_source(arguments.data)
    for name in arguments.recipe:
        recipe = load_recipe(name)
        sizes = build_network(recipe.network).training_window_sizes
        views = TrainingStream([source], recipe.augmentation, recipe.source_balance, recipe.seed, recipe.longest_view)
        positives = []
        for index in range(arguments.views):
            view = views[index]
            height, width = view.image.shape[-2:]
            grids = [Grid.over(height, width, size) for size in sizes]
            positives.append(sum(int((a.labels == POSITIVE).sum()) for a in assign_image(view, grids, recipe)))
        empty = positives.count(0) / len(positives)
        print(
            f"{name}: {empty:.1%} of {len(positives)} views without a positive window; "
            f"{sum(positives) / len(positives):.1f} in each on average"
        )


if __name__ == "__main__":
    main()
