"""``python -m reproduce``: the paper's experiments, each by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from instancefcn.allocator import keep_freed_memory
from instancefcn.apps.cli import errors_in_one_line
from instancefcn.apps.options import DeviceName, OutFolder
from instancefcn.interrupts import raised_interrupts

OfThePaper = Literal["table1", "table2", "table3", "table4", "table5", "figure6", "figure7", "sizes", "all"]
Further = Literal["coherence", "mask-thresholds", "rates", "vgg16", "selective-search", "ablation", "sources"]
WHOLE = ("all", "table4", "ablation", "selective-search")  # pages that are not made row by row
DATA_ROOT = Path("../shared/data")
BUDGET, ROW, MACHINE = "Budget and recipes", "One row, without a page", "Machine"  # groups of options in the help


def reproduce(
    experiment: Annotated[
        Literal[OfThePaper, Further],
        typer.Argument(
            metavar="EXPERIMENT",
            help="table1 to table5, figure6, figure7, sizes, all of these; coherence, mask-thresholds, "
            "rates, vgg16, selective-search; or, of lite, ablation, sources.",
        ),
    ],
    out: OutFolder,
    scale: Annotated[
        Literal["paper", "mini"], typer.Option(help="The paper's recipes and data, or small ones for two CPU cores.")
    ] = "mini",
    data_root: Annotated[
        Path, typer.Option(file_okay=False, exists=True, help="Folder that holds the data sets; see below.")
    ] = DATA_ROOT,
    seeds: Annotated[
        int, typer.Option(min=1, rich_help_panel=BUDGET, help="Train every row so often, with seeds 0, 1, ...")
    ] = 1,
    iterations: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=BUDGET, help="Steps of every row.", show_default="the recipes'")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, rich_help_panel=BUDGET, help="Train every row this long, instead of so many steps."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=BUDGET,
            help="Change a key of every recipe. May be given again.",
        ),
    ] = None,
    searched_rates: Annotated[
        bool,
        typer.Option(
            "--searched-rates",
            rich_help_panel=BUDGET,
            help="Take each row's learning rate from the page of `rates` in --out.",
        ),
    ] = False,
    row: Annotated[
        str, typer.Option(metavar="SLUG", rich_help_panel=ROW, help="Make this row alone, and no page.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=ROW, help="With --row: its seed.")] = 0,
    images: Annotated[
        int, typer.Option(min=0, rich_help_panel=ROW, help="With --row, of sizes: images to train on; 0 for all.")
    ] = 0,
    rate: Annotated[
        float, typer.Option(min=0.001, rich_help_panel=ROW, help="With --row, of rates: factor on the learning rate.")
    ] = 1.0,
    finished: Annotated[
        bool, typer.Option("--finished", help="Write the page of the rows and seeds that are there; train nothing.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, rich_help_panel=MACHINE, help="Train with so many processes, one for each GPU.")
    ] = 1,
    device: DeviceName = "auto",
    workers: Annotated[
        int, typer.Option(min=0, rich_help_panel=MACHINE, help="Processes that load images, for each that trains.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Two steps and two images: is everything there? The numbers mean nothing.")
    ] = False,
) -> None:
    """Train, propose and measure what a table of the paper compares, and say which of its claims hold.

    [bold]python -m reproduce[/] table2 --data-root ../shared/data [bold]--out[/] runs/paper --seeds 3
    [dim]~DeepMask on crops, ours on crops, ours on full images, small enough for two CPU cores.[/]

    [bold]python -m reproduce[/] sizes --data-root ../shared/data [bold]--out[/] runs/paper --seeds 3 --iterations 300
    [dim]AR of ours and of ~DeepMask against the number of training images, as a curve.[/]

    [bold]python -m reproduce[/] table4 --data-root ../shared/data [bold]--out[/] runs/paper --seeds 3
    [dim]A classifier on our proposals, on ~DeepMask's and on labelled masks: mAP^r. Seeds are the classifiers'.[/]

    [bold]python -m reproduce[/] table2 --row deepmask --seed 2 --data-root ../shared/data [bold]--out[/] runs/paper
    [dim]One row with one seed, so that several machines share a table; then the page, with --finished.[/]

    [bold]python -m reproduce[/] all --scale paper --data-root /data [bold]--out[/] runs/paper --processes 8
    [dim]Every experiment with the paper's recipes, on eight GPUs. First with --dry-run.[/]

    [bold]python -m reproduce[/] ablation --data-root ../shared/data [bold]--out[/] runs/paper --minutes 5
    [dim]The lite preset, and what is lost without each of its main parts.[/]

    [bold]python -m reproduce[/] figure6 --finished --data-root ../shared/data [bold]--out[/] runs/paper
    [dim]Recall against IoU of the rows of Table 3 that are there; figure7 draws those of Table 5.[/]

    [bold]python -m reproduce[/] coherence --finished --data-root ../shared/data [bold]--out[/] runs/paper
    [dim]What windows a few cells apart say of the pixels they share, of the rows of Table 2 that are there.[/]

    [bold]python -m reproduce[/] mask-thresholds --finished --data-root ../shared/data [bold]--out[/] runs/paper
    [dim]AR of the same rows against the threshold of their masks, which the paper does not give.[/]

    [bold]python -m reproduce[/] selective-search --data-root ../shared/data [bold]--out[/] runs/paper
    [dim]Its regions as masks: a proposals.json of each test set, for instancefcn evaluate and figure. Wants OpenCV.[/]

    [bold]SCALE/table2.md[/]  the table beside the published one, differences with intervals, verdicts; also as .json
    [bold]SCALE/runs[/]       a folder for each training; the same command goes on where it was stopped

    Below --data-root, [bold]mini[/] has coco-mini, animals and voc2007; [bold]paper[/] has VOCdevkit/VOC2012 (lists in
    ImageSets/Main), benchmark_RELEASE/dataset (SBD), coco/annotations, coco/train2014 and coco/val2014.
    """
    if not row and (seed, images, rate) != (0, 0, 1.0):
        raise typer.BadParameter("--seed, --images and --rate go with --row")
    if finished and experiment in WHOLE:
        raise typer.BadParameter(f"{experiment} is made as a whole: leave --finished out")
    if minutes is not None and iterations is not None:
        raise typer.BadParameter("give --minutes or --iterations, not both")

    from rich.console import Console

    from reproduce.experiments import NAMES, make_row
    from reproduce.experiments import reproduce as reproduce_experiment
    from reproduce.runner import Runner
    from reproduce.settings import Settings

    console = Console(stderr=True)
    settings = Settings(
        scale,
        data_root,
        out,
        seeds,
        iterations,
        minutes,
        processes,
        device=device,
        workers=workers,
        dry=dry_run,
        changes=tuple(changes or ()),
        searched_rates=searched_rates,
        finished=finished,
    )
    runner = Runner(settings, report=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
    with errors_in_one_line(), raised_interrupts():
        if row:
            make_row(experiment, row, runner, seed, images, rate)
            return
        for name in NAMES if experiment == "all" else (experiment,):
            typer.echo(f"{name}: {reproduce_experiment(name, runner)}")


app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_show_locals=False)
app.command()(reproduce)

if __name__ == "__main__":
    keep_freed_memory()
    app(prog_name="python -m reproduce")
