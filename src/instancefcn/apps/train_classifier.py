"""``instancefcn train-classifier``: names for proposals, from labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instancefcn.apps.options import DeviceName, OutFolder, RecipeName, SourceSpecs, SplitParts, existing_file
from instancefcn.apps.printing import echo
from instancefcn.run_folder import run_folder


def train_classifier(
    data: SourceSpecs,
    out: OutFolder,
    recipe: RecipeName = "lite",
    proposals_from: Annotated[
        Path | None,
        existing_file("The proposal network whose masks are to be named.", show_default="the one that is shipped"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where proposals are kept for the next run.", show_default="OUT/cache"),
    ] = None,
    split_parts: SplitParts = False,
    device: DeviceName = "auto",
) -> None:
    """Learn to name the proposals of a network that stays as it is.

    [bold]instancefcn train-classifier[/] --data coco:train.json,img [bold]--out[/] runs/names
    [dim]For the shipped proposals. First the proposals of every image, then the classifier, which takes minutes.[/]

    [bold]instancefcn train-classifier[/] --data coco:train.json,img --proposals-from runs/a/best.safetensors \
[bold]--out[/] runs/b
    [dim]For proposals of your own.[/]

    [bold]classifier.safetensors[/]  for [bold]instancefcn segment --classifier[/]
    [bold]metrics.jsonl[/]           loss, and the share of foreground that gets its name, an epoch a line
    [bold]cache/[/]                  proposals of every image; delete it, or keep it for the next run

    Categories keep their ids. Look at your labels first: [bold]instancefcn validate[/].
    """
    from functools import partial

    from instancefcn.apps.printing import progress_bar, say
    from instancefcn.classifier.checkpoint import load_proposer
    from instancefcn.classifier.config import load_classifier_recipe
    from instancefcn.classifier.training import train_classifier as train
    from instancefcn.data.open import open_source
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
    from instancefcn.training.run_files import refuse_run

    loaded = load_classifier_recipe(recipe)
    with run_folder(out), progress_bar() as progress:
        refuse_run(out)
        path = train(
            loaded,
            [open_source(spec, split_parts=split_parts) for spec in data],
            *load_proposer(proposals_from or SHIPPED_CHECKPOINT, device=device),
            out,
            cache=cache,
            report=partial(say, progress),
            track_images=partial(progress.track, description="proposing"),
            track_steps=partial(progress.track, description="training"),
        )
    echo(f"classifier: {path}")
