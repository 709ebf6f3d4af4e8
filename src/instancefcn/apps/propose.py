"""``instancefcn propose``: masks of images, to COCO results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from instancefcn.apps.images import LABEL_MAPS, OVERLAYS, ImageFile, find_images, images_of_annotations

if TYPE_CHECKING:
    from instancefcn.apps.results import ResultsFolder


def propose(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Images, folders of images (searched to the bottom), globs.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to; made where there is none.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="What `instancefcn train` wrote.", show_default="the one that is shipped"
        ),
    ] = None,
    max_proposals: Annotated[int, typer.Option(min=1, help="Masks per image, at most.")] = 100,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out masks that score less.")] = 0.0,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="COCO.json",
            exists=True,
            dir_okay=False,
            help="Propose on this file's images, under its ids; INPUT is the folder that they lie in.",
        ),
    ] = None,
    overlays: Annotated[bool, typer.Option("--overlays", help="Also draw the best masks over each image.")] = False,
    label_maps: Annotated[
        bool,
        typer.Option("--label-maps", help="Also write 16-bit PNGs: each pixel has the rank of its best mask, or 0."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto is cuda where there is one.")] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Arithmetic of the network.")] = "fp32",
) -> None:
    """Propose masks of everything that looks like an object, best first.

    [bold]instancefcn propose[/] photos/ [bold]--out[/] proposals --overlays
    [dim]Every image of a folder. Look at proposals/overlays; proposals/proposals.json has the masks.[/]

    [bold]instancefcn propose[/] cat.jpg 'scans/**/*.tif' [bold]--out[/] proposals --max-proposals 1000 --min-score 0.1
    [dim]One file and a glob; up to 1,000 masks each, none that scores under 0.1.[/]

    [bold]instancefcn propose[/] val2017/ --annotations instances_val2017.json [bold]--out[/] val
    [dim]The images and ids of a COCO file, ready for [bold]instancefcn evaluate[/] val/proposals.json.[/]

    [bold]proposals.json[/]  COCO results: masks, boxes and scores, best first within an image
    [bold]images.json[/]     COCO images: id, file_name, width, height
    [bold]errors.jsonl[/]    images that could not be read, with the reason; the rest goes on, but the exit code is 1
    """
    images = find_inputs(inputs, annotations, out)

    from instancefcn.apps.results import ResultsFolder
    from instancefcn.inference.proposer import Proposer

    folder = ResultsFolder(out, images, overlays=overlays, label_maps=label_maps)
    read = [image.path for image in images] + [path for path in (annotations, checkpoint) if path is not None]
    refuse_to_overwrite(read, folder.paths())
    proposer = Proposer.from_checkpoint(checkpoint, device=usable_device(device), precision=precision)
    run_over_images("proposing", images, folder, partial(proposer, max_proposals=max_proposals, min_score=min_score))
    typer.echo(f"{folder.proposals} proposals of {folder.images} images: {out / 'proposals.json'}")
    if overlays:
        typer.echo(f"overlays: {out / OVERLAYS}")
    if label_maps:
        typer.echo(f"label maps: {out / LABEL_MAPS}")
    if folder.failures:
        typer.echo(f"{folder.failures} of {len(images)} images failed: {out / 'errors.jsonl'}", err=True)
        raise typer.Exit(1)


def run_over_images(verb: str, images: Sequence[ImageFile], folder: ResultsFolder, call: Callable[[Any], Any]) -> None:
    """Call something on the pixels of each image, and write what it gives; failures are written down, and passed over.

    Raises:
        typer.Exit: interrupted; what was done until then is in the folder.
    """
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from instancefcn.data.images import read_image

    console = Console(stderr=True)
    columns = TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        with folder as results, Progress(*columns, console=console) as progress:
            for image in progress.track(images):
                try:
                    pixels = read_image(image.path, image.size)
                    found = call(pixels)
                except (ValueError, OSError, MemoryError, torch.OutOfMemoryError) as error:
                    reason = " ".join(str(error).removeprefix(f"{image.path}: ").split()) or type(error).__name__
                    results.add_failure(image, reason)
                    console.print(f"{image.file_name}: {reason}", markup=False, highlight=False, soft_wrap=True)
                else:
                    results.add(image, pixels, found)
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {folder.images} of {len(images)} images, which are in {folder.folder}", err=True)
        raise typer.Exit(130) from None


def find_inputs(inputs: Sequence[str], annotations: Path | None, out: Path) -> list[ImageFile]:
    """The images of a command's arguments; what is wrong with them is wrong usage."""
    if annotations is not None:
        if len(inputs) != 1 or not Path(inputs[0]).is_dir():
            raise typer.BadParameter("with --annotations, INPUT is one folder: the one that its images lie in")
        return images_of_annotations(annotations, Path(inputs[0]))
    try:
        return find_images(inputs, out)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def refuse_to_overwrite(read: Sequence[Path], written: Sequence[Path]) -> None:
    """Stop before a file that is read would be written over.

    Files are compared as the file system knows them: by links and letter case two names may be one file.
    """

    def identity(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except (OSError, ValueError):  # not there, or no name for a file
            return None
        return status.st_dev, status.st_ino

    inputs = {identity(path) for path in read} - {None}
    for path in written:
        if identity(path) in inputs:
            raise typer.BadParameter(f"would write over an input, {path}; choose another folder", param_hint="--out")


def usable_device(name: str) -> str:
    """The device of that name, or of ``auto``, where torch can use it; else wrong usage."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise typer.BadParameter(f"{name!r} can't be used: {reason}", param_hint="--device") from error
    return name
