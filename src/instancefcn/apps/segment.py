"""``instancefcn segment``: named masks of images, to COCO results."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from instancefcn.apps.images import LABEL_MAPS, find_inputs
from instancefcn.apps.options import (
    AnnotatedImages,
    DeviceName,
    Inputs,
    OutFolderOrFile,
    Precision,
    Resume,
    Tolerance,
    Workers,
    existing_file,
    forms,
)
from instancefcn.apps.printing import say_precision
from instancefcn.files import read_json


def segment(
    inputs: Inputs,
    classifier: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="animals, or what `instancefcn train-classifier` wrote.")
    ],
    out: OutFolderOrFile,
    checkpoint: Annotated[
        Path | None,
        existing_file("The network that the classifier was trained for.", show_default="the one that is shipped"),
    ] = None,
    max_segments: Annotated[int, typer.Option(min=1, help="Named masks per image, at most.")] = 100,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out what scores less.")] = 0.01,
    shown_score: Annotated[
        float, typer.Option(min=0, max=1, help="Overlays and label maps leave out what scores less.")
    ] = 0.3,
    annotations: AnnotatedImages = None,
    overlays: Annotated[
        bool | None, typer.Option(help="Draw the named masks over each image.", show_default="yes, into a folder")
    ] = None,
    to: Annotated[list[str] | None, forms("labels")] = None,
    resume: Resume = False,
    tolerance: Tolerance = 1.0,
    device: DeviceName = "auto",
    precision: Precision = "fp32",
    workers: Workers = 1,
) -> None:
    """Mask what a classifier knows, and say what it is.

    [bold]instancefcn segment[/] photos/ --classifier animals [bold]--out[/] named
    [dim]Bears, deer, elephants, otters, rhesus monkeys, tigers and turtles. Look at named/overlays.[/]

    [bold]instancefcn segment[/] val/ --annotations val.json --classifier runs/mine/classifier.safetensors \
[bold]--out[/] val
    [dim]The images and ids of a COCO file, ready for [bold]instancefcn evaluate[/] val/segments.json --per-class.[/]

    [bold]segments.json[/]  COCO results with the categories of the data set that was learnt, best first within an image
    [bold]images.json[/]    COCO images and categories
    [bold]overlays/[/]      pictures with names
    [bold]FORM/[/], [bold]FORM.json[/]  what --to asks for
    [bold]errors.jsonl[/]   images that could not be read, with the reason; the rest goes on, but the exit code is 1
    """
    images = find_inputs(inputs, annotations, out)

    from instancefcn.apps.exports import Shown
    from instancefcn.apps.results import ResultsFolder
    from instancefcn.apps.run_files import PRECISION, fingerprint
    from instancefcn.apps.workers import answering
    from instancefcn.classifier.segmenter import Segmenter
    from instancefcn.data.result_files import SEGMENTS_STEM
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT

    segmenter = Segmenter.from_checkpoints(classifier, checkpoint, device=device, precision=precision)
    say_precision(precision, segmenter.proposer.precision)
    if annotations is not None:
        check_categories(segmenter.categories, annotations)
    folder = ResultsFolder(
        out,
        images,
        (annotations, checkpoint, Path(classifier)),
        overlays=out.suffix != ".json" if overlays is None else overlays,
        to=to or (LABEL_MAPS,),
        tolerance=tolerance,
        stem=SEGMENTS_STEM,
        categories=segmenter.categories,
        shown=Shown(lambda segments: segments.at_least(shown_score)),
        settings={
            "command": "segment",
            "version": version("instancefcn"),
            "--classifier": fingerprint(Path(classifier)) if Path(classifier).is_file() else classifier,
            "--checkpoint": fingerprint(checkpoint or SHIPPED_CHECKPOINT),
            "--max-segments": max_segments,
            "--min-score": min_score,
            "--shown-score": shown_score,
            "--device": device,
            PRECISION: segmenter.proposer.precision,
        },
        resume=resume,
    )
    with answering(partial(segmenter, max_segments=max_segments, min_score=min_score), workers) as begin:
        folder.fill("naming", begin, at_once=workers)
    folder.report("segments")


def check_categories(known: Mapping[int, str], annotations: Path) -> None:
    """Refuse annotations that number a category otherwise than the classifier, or name it otherwise."""
    from instancefcn.data.coco_reader import CocoReader

    theirs = CocoReader(read_json(annotations), str(annotations), keys=("images",)).categories()
    ids = {name: category_id for category_id, name in known.items()}
    for number, name in theirs.items():
        if known.get(number, name) != name or ids.get(name, number) != number:
            ours = ids.get(name, number)
            raise ValueError(
                f"{annotations}: category {number} is {name!r}, but the classifier's {ours} is {known[ours]!r}: "
                "take annotations of the data set that it learnt from"
            )
