"""COCO mask AR and time of ``instancefcn export``'s graph beside torch's, in one run.

    python benchmarks/onnx_graph.py --data coco:ANNOTATIONS.json,IMAGES_DIR [--checkpoint F] [--limit 20]

Both propose on each image in turn, with one thread. Time is the processor's, so that others on a shared machine count
little; quote ratios all the same.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from instancefcn.data.coco import source_to_coco
from instancefcn.data.open import open_source
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.onnx_graph.build import build_graph
from instancefcn.proposals import Proposals
from instancefcn.runtime import OnnxProposer

MAX_PROPOSALS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled images, as for `instancefcn validate`")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--limit", type=int, help="images at most; default: all")
    parser.add_argument("--windows", action="store_true", help="also the graph that leaves pasting to the runtime")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    checkpoint = load_checkpoint(arguments.checkpoint or SHIPPED_CHECKPOINT)
    source = open_source(arguments.data)
    indices = range(len(source))[: arguments.limit]
    by_torch = Proposer(checkpoint.build(), checkpoint.inference, device="cpu")
    calls: dict[str, Callable[[Any], Proposals]] = {"torch": lambda image: by_torch(image, max_proposals=MAX_PROPOSALS)}
    with tempfile.TemporaryDirectory() as scratch:
        for name, windows in (("graph", False), ("graph, --windows", True))[: 1 + arguments.windows]:
            path = Path(scratch) / f"{windows}.onnx"
            onnx.save(build_graph(checkpoint.build(), checkpoint.inference, MAX_PROPOSALS, windows=windows), path)
            calls[name] = OnnxProposer(path, threads=1)
        results, seconds = defaultdict(list), defaultdict(list)
        for index in indices:
            sample = source[index]
            for name, call in calls.items():
                started = time.process_time()
                proposals = call(sample.image)
                seconds[name].append(time.process_time() - started)
                results[name] += proposals.to_coco(sample.image_id)

    ids = {source[index].image_id for index in indices}
    truth: dict[str, Any] = dict(source_to_coco(source))
    truth["images"] = [image for image in truth["images"] if image["id"] in ids]
    truth["annotations"] = [label for label in truth["annotations"] if label["image_id"] in ids]
    print(
        f"{arguments.data}: {len(indices)} images, one thread, torch {torch.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    for name in calls:
        recall = average_recall(truth, results[name])["coco"]
        ratios = [mine / theirs for mine, theirs in zip(seconds[name], seconds["torch"], strict=True)]
        figures = "  ".join(f"{key} {recall[key]:5.2f}" for key in ("AR@10", "AR@100"))
        print(
            f"{figures}  {statistics.median(seconds[name]):.3f} s an image (median), "
            f"{statistics.median(ratios):.2f} of torch's (median of ratios)  {name}"
        )


if __name__ == "__main__":
    main()
