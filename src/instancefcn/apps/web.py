"""``instancefcn web``: a page to look at objects, ask why, and accept labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from instancefcn.apps.options import CheckpointFile, DeviceName, existing_file
from instancefcn.apps.printing import echo

PORT = 7860


def web(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page is.")] = PORT,
    checkpoint: CheckpointFile = None,
    compare: Annotated[
        Path | None,
        existing_file("A second checkpoint, whose objects are shown beside the first one's.", show_default="none"),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen. Whoever reaches it can use the page.")
    ] = "127.0.0.1",
    device: DeviceName = "auto",
) -> None:
    """Open a page in your browser: drop photographs, see objects, ask why, download what you keep.

    [bold]instancefcn web[/]
    [dim]Then open http://127.0.0.1:7860. Photographs never leave this machine.[/]

    [bold]instancefcn web[/] --checkpoint mine.safetensors --compare best.safetensors
    [dim]The objects of two checkpoints side by side.[/]

    Ctrl-C ends it.
    """
    import uvicorn

    from instancefcn.inference.proposer import Proposer
    from instancefcn.web.models import Models
    from instancefcn.web.server import Server

    files = [checkpoint, *([compare] if compare is not None else [])]
    names = ["the shipped checkpoint" if path is None else path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    openers = [partial(Proposer.from_checkpoint, path, device=device) for path in files]
    models = Models(list(zip(names, openers, strict=True)))
    server = Server(models, host=host, port=port)
    models.start()
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    echo(f"the page is at http://{shown}:{port} (Ctrl-C ends it)")
    if host not in ("127.0.0.1", "::1", "localhost"):
        echo(f"warning: whoever reaches {host}:{port} can use it", err=True)
    try:
        uvicorn.run(server.app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
    finally:
        server.close()
