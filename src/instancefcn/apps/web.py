"""``instancefcn web``: a page to look at objects, ask why, and accept labels."""

from __future__ import annotations

import errno
import socket
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from instancefcn.apps.images import find_inputs
from instancefcn.apps.options import CheckpointFile, DeviceName, Tolerance, existing_file
from instancefcn.apps.printing import echo

PORT = 7860
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def web(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Photographs to step through."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page is.")] = PORT,
    checkpoint: CheckpointFile = None,
    compare: Annotated[
        Path | None,
        existing_file("A second checkpoint, whose objects are shown beside the first one's.", show_default="none"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="With FOLDER: save what you keep there, as `label` and `train` read it.",
        ),
    ] = None,
    to: Annotated[
        Literal["labelme", "xanylabeling", "geojson", "labels"] | None,
        typer.Option(metavar="FORM", help="Format of --labels.", show_default="that of the labels, or labelme"),
    ] = None,
    tolerance: Tolerance = 1.0,
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

    [bold]instancefcn web[/] photos/ --labels labelled/
    [dim]Step through a folder by the arrow keys: keep, reject, save. What is in labelled/ is never written over without
    asking, unless this page wrote it.[/]

    A FORM is labelme, xanylabeling, geojson or labels. Ctrl-C ends it.
    """
    if labels is not None and folder is None:
        raise typer.BadParameter("takes the FOLDER that the labels are of", param_hint="--labels")
    if folder is not None and host not in LOOPBACK:
        raise typer.BadParameter("a FOLDER is for this machine alone: leave out --host", param_hint="--host")

    import uvicorn

    from instancefcn.inference.proposer import Proposer
    from instancefcn.labelling.person_labels import folders_of_maps, guess_form
    from instancefcn.web.folder import ReviewFolder
    from instancefcn.web.models import Models
    from instancefcn.web.server import Server

    files = [checkpoint, *([compare] if compare is not None else [])]
    names = ["the shipped checkpoint" if path is None else path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    openers = [partial(Proposer.from_checkpoint, path, device=device) for path in files]
    models = Models(list(zip(names, openers, strict=True)))
    review = None
    if folder is not None:
        form, maps = to, []
        if labels is not None:
            form = to or guess_form(labels, "--to", folder)
            maps = folders_of_maps(form, labels, folder)
        paths = [(image.file_name, image.path) for image in find_inputs([str(folder)], None, None, maps)]
        review = ReviewFolder(folder, paths, labels, form, tolerance)
    server = Server(models, host=host, port=port, folder=review)
    with listen(host, port) as listening:
        config = uvicorn.Config(server.app, log_level="warning", access_log=False, server_header=False)
        running = uvicorn.Server(config)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        echo(f"the page is at http://{shown}:{port} (Ctrl-C ends it)")
        if host not in LOOPBACK:
            echo(f"warning: whoever reaches {host}:{port} can use it", err=True)
        try:
            server.start(lambda: setattr(running, "should_exit", True))
            running.run(sockets=[listening])
        finally:
            server.close()
    if models.error is not None:
        raise ValueError(models.error)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        typer.BadParameter: the port is taken, or there is no such address here.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"can't be listened at ({error.strerror})"
        raise typer.BadParameter(f"{host}:{port} {reason}: give another", param_hint="--port") from error
    # Otherwise the second packet of an answer waits 40 ms; asyncio sees to it only where it opens the socket itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
