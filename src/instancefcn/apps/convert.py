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
    import os

    from instancefcn.data import open_source, to_coco

    coco = to_coco(open_source(data))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(coco, separators=(",", ":"), allow_nan=False), encoding="utf-8")
    temporary.replace(out)
    typer.echo(f"{len(coco['images'])} images, {len(coco['annotations'])} annotations: {out}")
