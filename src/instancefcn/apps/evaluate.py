"""``instancefcn evaluate``: average recall of anybody's proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    proposals: Annotated[
        Path, typer.Argument(metavar="PROPOSALS.json", exists=True, dir_okay=False, help="COCO results, of any method.")
    ],
    annotations: Annotated[
        Path, typer.Option(metavar="COCO.json", exists=True, dir_okay=False, help="Whose image ids the results use.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to; made where there is none.")],
    iou: Annotated[Literal["segm", "bbox"], typer.Option(help="Compare masks, or boxes.")] = "segm",
) -> None:
    """Measure how many of the labelled instances proposals find.

    [bold]instancefcn evaluate[/] val/proposals.json --annotations instances_val2017.json [bold]--out[/] val/report
    [dim]Average recall of masks by COCO's and by Hosang's rules, with 10, 100 and 1,000 proposals an image.[/]

    [bold]instancefcn evaluate[/] boxes.json --annotations instances_val2017.json [bold]--out[/] report --iou bbox
    [dim]The same of boxes.[/]

    [bold]report.html[/]      one page with all of it and the published tables beside; needs no network
    [bold]metrics.json[/]     every number
    [bold]recall_curves[/]    recall against IoU, as PNG and SVG

    Labels of another format: see [bold]instancefcn convert[/].
    """
    from rich.console import Console
    from rich.table import Table

    from instancefcn.evaluation.evaluate import evaluate as write_evaluation

    metrics = write_evaluation(proposals, annotations, out, iou=iou)[iou]
    table = Table(
        "", *(f"{key}" for key in metrics["coco"] if "_" not in key), title=f"average recall, {iou}, in percent"
    )
    for rules in ("coco", "hosang"):
        values = [metrics[rules].get(column.header) for column in table.columns[1:]]
        table.add_row(rules, *("-" if value is None else f"{value:.1f}" for value in values))
    Console().print(table)
    typer.echo(f"report: {out / 'report.html'}")
