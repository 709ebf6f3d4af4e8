"""``instancefcn train``: a network from labelled images."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from instancefcn.apps.options import (
    AUTO,
    CrowdsOfOnePart,
    DeviceName,
    OutFolder,
    RecipeName,
    SourceSpecs,
    SplitParts,
    times_of_tiles,
)
from instancefcn.apps.printing import echo
from instancefcn.interrupts import Interrupted


def train(
    data: SourceSpecs,
    out: OutFolder,
    recipe: RecipeName = "lite",
    val: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="Labelled images to choose the best checkpoint by. May be given again.",
            show_default="a tenth of --data, not trained on, if there are 20 images",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Train this long, instead of the recipe's steps; the schedule fits it."),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Train this many steps.", show_default="the recipe's")
    ] = None,
    init: Annotated[
        str,
        typer.Option(
            help="Weights to start from: imagenet, random, shipped, or a checkpoint to go on from. auto: shipped for "
            "lite on under 1,000 labelled images, else imagenet."
        ),
    ] = "auto",
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate", help="Also turn the views by right angles: for images without an up, as a microscope's."
        ),
    ] = False,
    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="For small objects: also look at images N times as large, in tiles where they get too long; auto "
            "takes N from the sizes of the labelled objects. The checkpoint keeps the sides that were best on --val.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out as if it had not stopped.")
    ] = False,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Resume, although the labelled images are not the same any more.")
    ] = False,
    split_parts: SplitParts = False,
    device: DeviceName = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"] | None, typer.Option(help="Arithmetic of the network.", show_default="the recipe's")
    ] = None,
    crowds_of_one_part: CrowdsOfOnePart = False,
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Processes that load images; a GPU needs one for each core. 0: load between the steps."
        ),
    ] = 1,
) -> None:
    """Train on labelled images; a hundred will do.

    [bold]instancefcn train[/] --data coco:train.json,img --val coco:val.json,img [bold]--out[/] runs/a --minutes 20
    [dim]Twenty minutes on this machine; the schedule fits the time. Few images: from the package's checkpoint.[/]

    [bold]instancefcn train[/] --data coco:many.json,img [bold]--out[/] runs/a --minutes 60 --init imagenet
    [dim]From a trunk that knows ImageNet alone, and no objects yet.[/]

    [bold]instancefcn train[/] --data labels:nuclei --data labelme:mine [bold]--out[/] runs/b --init a.safetensors
    [dim]Two formats at once, from a checkpoint of your own.[/]

    [bold]instancefcn train[/] --data coco:train.json,img [bold]--out[/] runs/a --resume
    [dim]On with a run that was stopped.[/]

    [bold]torchrun --nproc-per-node 2 -m instancefcn train[/] --recipe paper --data sbd:SBD,train [bold]--out[/] runs/c
    [dim]The paper's network on two GPUs.[/]

    [bold]best.safetensors[/]  for [bold]instancefcn propose --checkpoint[/]; with validation the best network, which is
    the one that training started from if all later ones are worse by more than chance; also last.safetensors
    [bold]metrics.jsonl[/]     losses and validation, a line each; also as tensorboard events

    Look at your labels first: [bold]instancefcn validate[/].
    """
    if minutes is not None and iterations is not None:
        raise typer.BadParameter("give --minutes or --iterations, not both")

    from dataclasses import replace

    from instancefcn.data.open import open_source
    from instancefcn.data.validation import background_note
    from instancefcn.training.coverage import coverage
    from instancefcn.training.learnable import check_learnable
    from instancefcn.training.loop import train as train_network
    from instancefcn.training.processes import is_first
    from instancefcn.training.recipe import load_recipe
    from instancefcn.training.sides import hint, looking_closer, times_needed
    from instancefcn.training.state import STATE_FILE

    tell = say if is_first() else lambda text: None  # torchrun starts this in each process
    loaded = load_recipe(recipe)
    if precision is not None:
        loaded = replace(loaded, optimization=replace(loaded.optimization, precision=precision))
    if rotate:
        loaded = replace(loaded, augmentation=replace(loaded.augmentation, rotate=True))
    sources, validation = (
        [open_source(spec, split_parts=split_parts, crowds_of_one_part=crowds_of_one_part) for spec in specs]
        for specs in (data, val or ())
    )
    check_learnable(sources)
    times = 1
    if tiles is not None:
        times = times_needed(sources, loaded) if tiles == AUTO else times_of_tiles(tiles)
        loaded = looking_closer(loaded, times)
        tell(f"looks at images {times} times as large, too" if times > 1 else "no object needs larger images")
    for source in (*sources, *validation):
        covered = coverage(source, loaded)
        skipped = f"; {len(source.problems)} problems skipped (see `instancefcn validate`)" if source.problems else ""
        share = f", {100 * covered.share:.1f} % covered" if covered.instances else ""
        tell(f"{source.name}: {len(source)} images, {covered.instances} instances{share}{skipped}")
        if text := background_note(source):
            tell(f"  {text}")
        if tiles is None and (text := hint(source, loaded, covered)):
            tell(text)
    try:
        best = train_network(
            loaded,
            sources,
            out,
            validation=validation,
            iterations=iterations,
            minutes=minutes,
            init=init,
            resume=resume,
            device=device,
            workers=workers,
            report=say,
            choose_sides=times > 1,
            changed_data=changed_data,
        )
    except Interrupted as stopped:
        if (out / STATE_FILE).exists():
            raise Interrupted(stopped.number, f"{stopped}\ngo on with: {command_to_resume()}") from stopped
        raise
    tell(f"checkpoint: {best}")


def command_to_resume() -> str:
    """The command that this process was started with, and ``--resume``."""
    program, *arguments = sys.argv
    words = ["python", "-m", "instancefcn"] if Path(program).name == "__main__.py" else [Path(program).name]
    if "LOCAL_WORLD_SIZE" in os.environ:
        words = ["torchrun", "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"], "-m", "instancefcn"]
    return shlex.join([*words, *arguments, *([] if "--resume" in arguments else ["--resume"])])


def say(text: str) -> None:
    """Print a line of a training; warnings on stderr."""
    echo(text, err=text.startswith("warning: "))
