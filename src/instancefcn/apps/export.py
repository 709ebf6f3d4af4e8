"""``instancefcn export``: a checkpoint as one ONNX graph, from pixels to proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instancefcn.apps.options import CheckpointFile
from instancefcn.apps.printing import echo


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", dir_okay=False, help="The file to write.")],
    checkpoint: CheckpointFile = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="The graph gives objects, each once, instead of ranked candidates.")
    ] = False,
    max_proposals: Annotated[int, typer.Option(min=1, help="Masks that the graph gives, at most.")] = 100,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            help="Masks on the cells of their windows, with the windows' boxes, instead of masks as large as the "
            "image: for large images.",
        ),
    ] = False,
) -> None:
    """Write the network, and all that makes proposals of its output, as one ONNX graph.

    [bold]instancefcn export[/] lite.onnx
    [dim]An image of any size, uint8 \\[h, w, 3], gives masks \\[n, h, w], boxes \\[n, 4] and scores \\[n].[/]

    [bold]instancefcn export[/] cells.onnx --checkpoint mine.safetensors --objects --max-proposals 500
    [dim]Objects by your own training, each once.[/]

    It takes a minute. docs/onnx.md says what the graph leaves out, and how to run it from Python and in a browser.
    """
    if out.suffix.lower() != ".onnx":
        raise typer.BadParameter(f"{out} must end in .onnx", param_hint="OUT.onnx")

    from instancefcn.files import write_whole
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
    from instancefcn.onnx_graph.build import OPSET, build_graph, left_out

    loaded = load_checkpoint(checkpoint or SHIPPED_CHECKPOINT)
    model = build_graph(
        loaded.build(), loaded.inference, max_proposals, rule=loaded.objects, objects=objects, windows=windows
    )
    content = model.SerializeToString()
    write_whole(out, content)
    echo(f"{out}: {len(content) / 1e6:.1f} MB, opset {OPSET}, {len(model.graph.node)} nodes")
    if missing := left_out(loaded.inference):
        echo(f"left out: {', '.join(missing)}")
