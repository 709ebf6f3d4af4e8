"""``instancefcn propose``: masks of images, ranked candidates or objects, to COCO results."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer

from instancefcn.apps.images import find_inputs
from instancefcn.apps.options import (
    AUTO,
    AnnotatedImages,
    CheckpointFile,
    DeviceName,
    Inputs,
    MaxProposals,
    Objects,
    OutFolderOrFile,
    Precision,
    Resume,
    Tolerance,
    Workers,
    forms,
    times_of_tiles,
)
from instancefcn.apps.printing import say_precision


def propose(
    inputs: Inputs,
    out: OutFolderOrFile,
    checkpoint: CheckpointFile = None,
    objects: Objects = False,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="With --objects: a pixel belongs to one object, so none is in another.")
    ] = False,
    max_proposals: MaxProposals = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Leave out masks that score less. The score of an object is the chance that it is one, at IoU 0.5; "
            "that of a candidate only ranks it.",
            show_default="0; objects: the checkpoint's",
        ),
    ] = None,
    annotations: AnnotatedImages = None,
    overlays: Annotated[bool, typer.Option("--overlays", help="Also draw the masks over each image.")] = False,
    shown: Annotated[
        int | None, typer.Option(min=1, help="Masks in an overlay, at most.", show_default="10; objects: all")
    ] = None,
    shown_score: Annotated[
        float, typer.Option(min=0, max=1, help="Overlays and label maps leave out what scores less.")
    ] = 0.0,
    to: Annotated[list[str] | None, forms("coco, in proposals.json or objects.json")] = None,
    resume: Resume = False,
    tolerance: Tolerance = 1.0,
    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="For small objects: also look at images N times as large, in tiles where they get too long. auto: as "
            "the checkpoint says, which a training with --tiles has chosen.",
            show_default="auto",
        ),
    ] = None,
    device: DeviceName = "auto",
    precision: Precision = "fp32",
    workers: Workers = 1,
) -> None:
    """Propose masks of everything that looks like an object, best first.

    [bold]instancefcn propose[/] photos/ [bold]--out[/] found --objects --overlays
    [dim]The objects of every image of a folder, each once. Look at found/overlays; found/counts.csv counts them.[/]

    [bold]instancefcn propose[/] cells/ [bold]--out[/] found --objects --exclusive --checkpoint mine.safetensors
    [dim]By your own training, whose threshold the checkpoint knows; no pixel belongs to two cells.[/]

    [bold]instancefcn propose[/] photos/ [bold]--out[/] cvat.json --objects --to cvat
    [dim]A file for CVAT's "Upload annotations", and nothing else.[/]

    [bold]instancefcn propose[/] photos/ [bold]--out[/] found --objects --to labelme --to labels
    [dim]Besides found/objects.json: found/labelme, to be opened in labelme, and found/labels/masks, label maps.[/]

    [bold]instancefcn propose[/] photos/ [bold]--out[/] proposals --overlays
    [dim]Ranked candidates, which overlap: 100 an image. proposals/proposals.json has the masks.[/]

    [bold]instancefcn propose[/] cat.jpg 'scans/**/*.tif' [bold]--out[/] proposals --max-proposals 1000 --min-score 0.1
    [dim]One file and a glob; up to 1,000 masks each, none that scores under 0.1.[/]

    [bold]instancefcn propose[/] val2017/ --annotations instances_val2017.json [bold]--out[/] val
    [dim]The images and ids of a COCO file, ready for [bold]instancefcn evaluate[/] val/proposals.json.[/]

    [bold]instancefcn propose[/] archive/ [bold]--out[/] proposals --to jsonl --resume
    [dim]Very many images: compressed, a result a line. Stopped or killed, the same command goes on where it was.[/]

    [bold]proposals.json[/]  COCO results: masks, boxes and scores, best first within an image
    [bold]objects.json[/]    the same of objects (--objects), with [bold]counts.csv[/] (image, count, mean area \
and score) and [bold]objects.csv[/]
    [bold]FORM/[/], [bold]FORM.json[/]  what --to asks for
    [bold]images.json[/]     COCO images: id, file_name, width, height
    [bold]errors.jsonl[/]    images that could not be read, with the reason; the rest goes on, but the exit code is 1
    """
    if exclusive and not objects:
        raise typer.BadParameter("--exclusive is for --objects: candidates overlap")
    if shown is not None and not overlays:
        raise typer.BadParameter("--shown is for --overlays, which are not asked for")
    times = None if tiles in (None, AUTO) else times_of_tiles(tiles)
    images = find_inputs(inputs, annotations, out)

    from instancefcn.apps.exports import Shown
    from instancefcn.apps.results import ResultsFolder
    from instancefcn.apps.run_files import PRECISION, fingerprint
    from instancefcn.apps.workers import answering
    from instancefcn.data.result_files import STEMS
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
    from instancefcn.inference.proposer import Proposer
    from instancefcn.inference.request import Request
    from instancefcn.inference.tiles import closer

    proposer = Proposer.from_checkpoint(checkpoint, device=device, precision=precision)
    say_precision(precision, proposer.precision)
    folder = ResultsFolder(
        out,
        images,
        (annotations, checkpoint),
        overlays=overlays,
        to=to or (),
        tolerance=tolerance,
        stem=STEMS[objects],
        shown=Shown(lambda found: found.at_least(shown_score), shown),
        settings={
            "command": "propose",
            "version": version("instancefcn"),
            "--checkpoint": fingerprint(checkpoint or SHIPPED_CHECKPOINT),
            "--objects": objects,
            "--exclusive": exclusive,
            "--max-proposals": max_proposals,
            "--min-score": min_score,
            "--shown": shown,
            "--shown-score": shown_score,
            "--tiles": times,
            "--device": device,
            PRECISION: proposer.precision,
        },
        resume=resume,
    )
    if times is not None:
        proposer.config = closer(proposer.config, times)
    request = Request(objects, exclusive, max_proposals, min_score)
    with answering(partial(request.answer, proposer), workers) as begin:
        folder.fill("finding objects" if objects else "proposing", begin, most=request.most, at_once=workers)
    folder.report("objects" if objects else "proposals")
