"""F1 of objects where many of a size vouch for each other (``ObjectRule.alike``).

    python -m benchmarks.alike --data labels:../shared/data/nuclei/train --data labels:../shared/data/nuclei/val

Each row is a share of the median score, each column a number of objects from which it holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

from benchmarks.start_weight import candidates_of, f1_of
from instancefcn import Proposer
from instancefcn.data.open import open_source
from instancefcn.objects import ObjectRule, eased
from instancefcn.training.calibration import IOU, Candidates

SHARES = (1.0, 0.3, 0.25, 0.2, 0.15)
NUMBERS = (8, 10, 12, 15, 20)


def f1(images: Sequence[Candidates], rule: ObjectRule) -> float:
    """Of the objects by a rule, in percent."""
    taken = []
    for image in images:
        (objects,) = image.objects(rule, [IOU])
        scores = eased(objects.scores, rule.easing(objects.scores, image.areas[objects.indices]))
        taken.append(objects.matched[scores >= rule.threshold])
    return f1_of(taken, sum(image.ious.shape[1] for image in images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="SPEC", action="append", required=True, help="labelled images")
    parser.add_argument("--checkpoint", help="default: the shipped one")
    arguments = parser.parse_args()

    proposer = Proposer.from_checkpoint(arguments.checkpoint)
    if proposer.rule is None:
        raise SystemExit(f"{arguments.checkpoint}: has no rule for objects")
    for spec in arguments.data:
        images = list(candidates_of(proposer, open_source(spec)))
        print(f"{spec}\n| share | " + " | ".join(f"{number} objects" for number in NUMBERS) + " |")
        for share in SHARES:
            rule, row = replace(proposer.rule, alike=share), []
            for number in NUMBERS:
                with mock.patch("instancefcn.objects.MANY_ALIKE", number):
                    row.append(f1(images, rule))
            print(f"| {share} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
