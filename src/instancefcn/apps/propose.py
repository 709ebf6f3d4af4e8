"""``instancefcn propose``: masks of images, to COCO results."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from instancefcn.apps.images import find_inputs
from instancefcn.apps.options import AnnotatedImages, CheckpointFile, DeviceName, Inputs, OutFolder, Precision


def propose(
    inputs: Inputs,
    out: OutFolder,
    checkpoint: CheckpointFile = None,
    max_proposals: Annotated[int, typer.Option(min=1, help="Masks per image, at most.")] = 100,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out masks that score less.")] = 0.0,
    annotations: AnnotatedImages = None,
    overlays: Annotated[bool, typer.Option("--overlays", help="Also draw the best masks over each image.")] = False,
    label_maps: Annotated[
        bool,
        typer.Option("--label-maps", help="Also write 16-bit PNGs: each pixel has the rank of its best mask, or 0."),
    ] = False,
    device: DeviceName = "auto",
    precision: Precision = "fp32",
) -> None:
    """Propose masks of everything that looks like an object, best first.

    [bold]instancefcn propose[/] photos/ [bold]--out[/] proposals --overlays
    [dim]Every image of a folder. Look at proposals/overlays; proposals/proposals.json has the masks.[/]

    [bold]instancefcn propose[/] cat.jpg 'scans/**/*.tif' [bold]--out[/] proposals --max-proposals 1000 --min-score 0.1
    [dim]One file and a glob; up to 1,000 masks each, none that scores under 0.1.[/]

    [bold]instancefcn propose[/] val2017/ --annotations instances_val2017.json [bold]--out[/] val
    [dim]The images and ids of a COCO file, ready for [bold]instancefcn evaluate[/] val/proposals.json.[/]

    [bold]proposals.json[/]  COCO results: masks, boxes and scores, best first within an image
    [bold]images.json[/]     COCO images: id, file_name, width, height
    [bold]errors.jsonl[/]    images that could not be read, with the reason; the rest goes on, but the exit code is 1
    """
    images = find_inputs(inputs, annotations, out)

    from instancefcn.apps.results import ResultsFolder
    from instancefcn.inference.proposer import Proposer

    folder = ResultsFolder(out, images, (annotations, checkpoint), overlays=overlays, label_maps=label_maps)
    proposer = Proposer.from_checkpoint(checkpoint, device=device, precision=precision)
    folder.fill("proposing", partial(proposer, max_proposals=max_proposals, min_score=min_score))
    folder.report("proposals")
