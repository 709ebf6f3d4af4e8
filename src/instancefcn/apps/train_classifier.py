"""``instancefcn train-classifier``: names for proposals, from labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from instancefcn.apps.options import DeviceName, OutFolder, RecipeName, SourceSpecs


def train_classifier(
    data: SourceSpecs,
    out: OutFolder,
    recipe: RecipeName = "lite",
    proposals_from: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            exists=True,
            dir_okay=False,
            help="The proposal network whose masks are to be named.",
            show_default="the one that is shipped",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where proposals are kept for the next run.", show_default="OUT/cache"),
    ] = None,
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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from instancefcn.classifier.checkpoint import load_proposer
    from instancefcn.classifier.config import load_classifier_recipe
    from instancefcn.classifier.training import train_classifier as train
    from instancefcn.data import open_source
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT

    loaded = load_classifier_recipe(recipe)
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:

        def track(what: str) -> Any:
            return lambda items: progress.track(items, description=what)

        path = train(
            loaded,
            [open_source(spec) for spec in data],
            *load_proposer(proposals_from or SHIPPED_CHECKPOINT, device=device),
            out,
            cache=cache,
            report=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
            track_images=track("proposing"),
            track_steps=track("training"),
        )
    typer.echo(f"classifier: {path}")
