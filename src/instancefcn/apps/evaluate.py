"""``instancefcn evaluate``: average recall of anybody's proposals, and average precision of named ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from instancefcn.apps.images import refuse_others, refuse_to_overwrite, refuse_to_replace
from instancefcn.apps.options import (
    AsJson,
    ComparedRegions,
    CrowdsOfOnePart,
    LabelsFile,
    OutFolder,
    ResultsFile,
    existing_file,
)
from instancefcn.apps.printing import echo, print_json, printable
from instancefcn.run_folder import run_folder

METRICS_BEGIN = rb'\{\s*"(segm|bbox)"'


def evaluate(
    proposals: ResultsFile,
    annotations: LabelsFile,
    out: OutFolder,
    iou: ComparedRegions = "segm",
    compare: Annotated[
        list[Path] | None,
        existing_file("Results of another method, to set beside; may be given several times.", metavar="OTHER.json"),
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also average precision, by the categories that the results name.")
    ] = False,
    objects: Annotated[
        bool, typer.Option("--objects", help="Also count right and wrong objects, and their outlines.")
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Of --objects: count those alone that score this or more.",
            show_default="all, and a table over scores unless the file is named objects.json",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder that the photographs lie in: the report shows those with the most missed instances.",
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Set the paper's tables, of PASCAL VOC and COCO, beside in the report.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals of --compare.")] = 0,
    crowds_of_one_part: CrowdsOfOnePart = False,
    as_json: AsJson = False,
) -> None:
    """Measure how many of the labelled instances proposals find.

    [bold]instancefcn evaluate[/] val/proposals.json --annotations instances_val2017.json [bold]--out[/] val/report
    [dim]Average recall of masks by COCO's and by Hosang's rules, with 10, 100 and 1,000 proposals an image.[/]

    [bold]instancefcn evaluate[/] val/proposals.json --annotations val.json --images val [bold]--out[/] val/report
    [dim]The report also shows the twenty photographs with the most missed instances.[/]

    [bold]instancefcn evaluate[/] boxes.json --annotations instances_val2017.json [bold]--out[/] report --iou bbox
    [dim]The same of boxes.[/]

    [bold]instancefcn evaluate[/] mine.json --compare other.json --annotations val2017.json [bold]--out[/] both
    [dim]Both in one report, and how sure each difference is: its interval by a paired bootstrap over images.[/]

    [bold]instancefcn evaluate[/] named/segments.json --annotations val.json [bold]--out[/] report --per-class
    [dim]Of results with categories also average precision: mAP^r at 0.5 and 0.7, and COCO's.[/]

    [bold]instancefcn evaluate[/] found/objects.json --annotations val.json [bold]--out[/] report --objects
    [dim]Of a set of objects: precision, recall, F1, AP = TP / (TP + FP + FN), PQ and boundary IoU where an IoU of 0.5,
    0.75 or 0.9 makes an object right, and how far the number of objects an image is off.[/]

    [bold]instancefcn evaluate[/] val/proposals.json --annotations val.json [bold]--out[/] report --objects
    [dim]Of ranked candidates also a table: from which score on to take them. Overlapping ones count as wrong.[/]

    [bold]report.html[/]      one page with all of it, also by size and category of the labels; needs no network
    [bold]metrics.json[/]     every number
    [bold]images.csv[/]       how many instances of each image there are and are missed, and its average recall
    [bold]recall_curves[/]    recall against IoU, as PNG and SVG

    [bold]--json[/] prints what metrics.json holds. Labels of another format: see [bold]instancefcn convert[/].
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from instancefcn.evaluation.average_recall import AVERAGES, averages
    from instancefcn.evaluation.compare import MIN_IMAGES
    from instancefcn.evaluation.evaluate import METRICS, WRITTEN
    from instancefcn.evaluation.evaluate import evaluate as write_evaluation
    from instancefcn.evaluation.names import recall_headings

    files = [out / name for name in WRITTEN]
    refuse_to_overwrite([proposals, annotations, *(compare or ())], files)
    if not (out / METRICS).is_file():  # else these are files of an earlier report
        refuse_to_replace(files)
    refuse_others({out / METRICS: METRICS_BEGIN})
    with run_folder(out):
        written = write_evaluation(
            proposals,
            annotations,
            out,
            iou=iou,
            others=compare or (),
            seed=seed,
            per_class=per_class,
            objects=objects,
            min_score=min_score,
            crowds_of_one_part=crowds_of_one_part,
            photographs=images,
            published=published,
        )
    if as_json:
        print_json(written)
        echo(f"report: {out / 'report.html'}", err=True)
        return
    metrics = written[iou]
    table = Table("", *recall_headings(metrics["given"]), title=f"average recall, {iou}, in percent")
    for title, values in averages(metrics).items():
        table.add_row(title, *map(_percent, values))
    Console().print(table)
    for name, other in written.get("compare", {}).items():
        given = {limit: min(most, metrics["given"][limit]) for limit, most in other["metrics"]["given"].items()}
        headings = recall_headings(given)
        differences = Table("", *headings, title=f"{escape(printable(name))}: difference, 95% interval")
        for title, keys in AVERAGES.items():
            differences.add_row(title, *(_interval(other["difference"][key]) for key in keys))
        few = min(other["difference"][key]["images"] for keys in AVERAGES.values() for key in keys)
        if few < MIN_IMAGES:
            differences.caption = f"{few} images have an instance: too few to decide anything (under {MIN_IMAGES})"
        Console().print(differences)
    for name, path in written.get("files", {}).items():
        echo(f"{name}: {path}")
    for name, precision in written.get("per_class", {}).items():
        Console().print(_precision_table(escape(printable(name)), precision))
    for name, found in written.get("objects", {}).items():
        for part in _object_tables(escape(printable(name)), found):
            Console().print(part)
    echo(f"report: {out / 'report.html'}")


def _precision_table(title: str, precision: dict[str, Any]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    columns = [(limit, variant) for variant in ("area", "11-point") for limit in ("0.5", "0.7")]
    headings = (f"AP^r@{limit} {variant}" for limit, variant in columns)
    table = Table("", "instances", *headings, title=f"{title}: average precision, in percent")
    for category, found in precision["categories"].items():
        values = (_percent(found[f"AP^r@{limit}"][variant]) for limit, variant in columns)
        table.add_row(escape(printable(category)), str(found["instances"]), *values)
    table.add_section()
    table.add_row("mean", "", *(_percent(precision[f"mAP^r@{limit}"][variant]) for limit, variant in columns))
    table.caption = ", ".join(f"COCO {name} {_percent(value)}" for name, value in precision["coco"].items())
    return table


def _object_tables(title: str, found: dict[str, Any]) -> Iterator[Any]:
    from rich.table import Table

    counts, best = found["counts"], found.get("best")
    shown = ("precision", "recall", "F1", "AP", "PQ", "boundary_iou")
    least = "" if found["min_score"] is None else f" that score {found['min_score']:g} or more"
    table = Table(
        "IoU", *(name.replace("_iou", " IoU") for name in shown), title=f"{title}: objects{least}, in percent"
    )
    for limit, row in found["at"].items():
        table.add_row(limit, *(_percent(row[name]) for name in shown))
    yield table
    if counts["error"] is not None:
        yield (
            f"{counts['found']} objects, {counts['labelled']} instances; "
            f"count error an image {counts['error']:.1f}, signed {counts['bias']:+.1f}"
        )
    if found["calibration_error"] is not None:
        yield f"expected calibration error of the scores {found['calibration_error']:.1f}"
    if "by_score" not in found:
        return
    columns = ("precision", "recall", "F1")
    table = Table(
        "score", *columns, "objects", "count error", title=f"{title}: from a score on, at IoU 0.5, in percent"
    )
    rows: list[dict[str, Any]] = found["by_score"]
    for row in [*rows, *([best] if best else [])]:
        if row is best:
            table.add_section()
        shares = (_percent(row[name]) for name in columns)
        table.add_row(f"{row['score']:g}", *shares, str(row["found"]), f"{row['count_error']:.1f}")
    table.caption = "last row: the best F1" if best else None
    yield table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _interval(found: dict[str, float | None]) -> str:
    if found["difference"] is None:
        return "-"
    return f"{found['difference']:+.1f}\n({found['low']:+.1f} to {found['high']:+.1f})"
