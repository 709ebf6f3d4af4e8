"""What cleaning gives: F1 and boundary IoU of objects as the network outlines them, and cleaned, by smoothing.

    python benchmarks/outlines.py --data coco:ANNOTATIONS.json,IMAGES_DIR [--checkpoint FILE.safetensors]

The objects are the checkpoint's own, by its rule. "as proposed" leaves their masks as they are; the other rows fill
small holes, drop specks, and smooth outlines by as much as they say (``cleaning.clean``).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from instancefcn.cleaning import clean
from instancefcn.data.coco import source_to_coco
from instancefcn.data.open import open_source
from instancefcn.evaluation.object_metrics import object_metrics
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.geometry.rle import tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import choose_objects
from instancefcn.proposals import Proposals
from instancefcn.training.calibration import SMOOTHINGS


def cleaned(found: Proposals, smoothing: float | None) -> Proposals:
    """The same objects with clean masks; None leaves them as they are."""
    if smoothing is None:
        return found
    masks = [clean(rle, smoothing) for rle in found.rles]
    return replace(found, rles=masks, boxes_xyxy=tight_boxes(masks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="SPEC")
    parser.add_argument("--checkpoint", type=Path, help="default: the one that is shipped")
    arguments = parser.parse_args()

    proposer, source = Proposer.from_checkpoint(arguments.checkpoint), open_source(arguments.data)
    rule = proposer.rule
    if rule is None:
        raise SystemExit(f"{arguments.checkpoint}: carries no rule for objects; train with validation images")
    objects: dict[int, Proposals] = {}
    for sample in source:
        found = proposer(sample.image, max_proposals=proposer.config.nms_candidates, min_score=rule.lowest_score(None))
        objects[sample.image_id] = found[choose_objects(found.rles, rule)]
    labelled = parse_ground_truth(source_to_coco(source))
    print("| masks | F1 at 0.5 | at 0.75 | at 0.9 | SQ | boundary IoU |\n|---|---|---|---|---|---|")
    for smoothing in (None, *SMOOTHINGS):
        results = [result for key, found in objects.items() for result in cleaned(found, smoothing).to_coco(key)]
        at = object_metrics(labelled, parse_results(results, labelled))["at"]
        name = "as proposed" if smoothing is None else f"clean, smoothing {smoothing}"
        values = [*(at[limit]["F1"] for limit in ("0.5", "0.75", "0.9")), at["0.5"]["SQ"], at["0.5"]["boundary_iou"]]
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
