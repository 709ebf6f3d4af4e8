"""``instancefcn convert``: labels of any format to COCO annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from instancefcn.apps.options import SourceSpec


def convert(
    data: SourceSpec,
    out: Annotated[Path, typer.Option(metavar="COCO.json", dir_okay=False, help="File to write; its folder is made.")],
    to: Annotated[Literal["coco"], typer.Option(help="Format to write.")] = "coco",
) -> None:
    """Write labels of any format that can be read as COCO annotations, such as evaluating takes.

    [bold]instancefcn convert[/] --data voc:VOCdevkit/VOC2012,val [bold]--to[/] coco [bold]--out[/] voc_val.json

    [bold]instancefcn convert[/] --data labels:nuclei/val [bold]--to[/] coco [bold]--out[/] nuclei_val.json

    Masks are written as RLE. What is wrong in the labels is left out: see [bold]instancefcn validate[/].
    """
    import json

    from instancefcn.data.coco import source_to_coco
    from instancefcn.data.open import open_source
    from instancefcn.files import write_whole

    source = open_source(data)
    coco = source_to_coco(source)
    if source.problems:
        typer.echo(f"{len(source.problems)} problems left out: see `instancefcn validate --data {data}`", err=True)
        if not coco["annotations"]:
            raise ValueError(f"{data}: nothing sound is left to write; the first problem: {source.problems[0]}")
    write_whole(out, json.dumps(coco, separators=(",", ":"), allow_nan=False))
    typer.echo(f"{len(coco['images'])} images, {len(coco['annotations'])} annotations: {out}")
