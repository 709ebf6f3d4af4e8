"""``instancefcn propose-corpus``: very many images, on many cores or machines, to Parquet."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instancefcn.apps.images import find_inputs
from instancefcn.apps.options import AnnotatedImages, CheckpointFile, MaxProposals, Objects, Precision
from instancefcn.apps.printing import echo, progress_bar, say
from instancefcn.files import size_and_time
from instancefcn.interrupts import Interrupted, as_interrupted
from instancefcn.run_folder import run_folder

if TYPE_CHECKING:
    from instancefcn.corpus.blocks import Block, Corpus
    from instancefcn.corpus.places import Place
    from instancefcn.corpus.pool import Size
    from instancefcn.corpus.run import Outcome
    from instancefcn.corpus.tables import BlockTables
    from instancefcn.corpus.worker import Job


def propose_corpus(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder of images (searched to the bottom), of .parquet files or of .tar shards, or one such file; "
            "on a disk, or s3://... or gs://...",
        ),
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder to write to, on a disk, or s3://... or gs://...")],
    checkpoint: CheckpointFile = None,
    objects: Objects = False,
    max_proposals: MaxProposals = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Leave out masks that score less.", show_default="0; objects: the checkpoint's"
        ),
    ] = None,
    annotations: AnnotatedImages = None,
    key_column: Annotated[str, typer.Option(help="Of .parquet files: the names of images.")] = "key",
    image_column: Annotated[
        str, typer.Option(help='Of .parquet files: the bytes of image files, or a struct with "bytes".')
    ] = "image",
    block: Annotated[int, typer.Option(min=1, help="Images or rows of a block; a .tar is one.")] = 500,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that propose.", show_default="as many as there is room for")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0.1, help="Cores of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker, such as 1 or 0.5; 0 to use none.")] = 0,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT|auto", help="A Ray cluster to join.", show_default="this machine alone"),
    ] = None,
    precision: Precision = "fp32",
) -> None:
    """Propose masks of very many images, by workers on Ray that may die and start again.

    [bold]instancefcn propose-corpus[/] photos/ [bold]--out[/] found
    [dim]All images of a folder, a worker on each core; found/proposals has a Parquet file for each 500 images.[/]

    [bold]instancefcn propose-corpus[/] shards/ [bold]--out[/] found --objects --min-score 0.5
    [dim]WebDataset shards, found as .tar files in the folder: objects instead of candidates.[/]

    [bold]instancefcn propose-corpus[/] train.parquet [bold]--out[/] found --key-column path --image-column image
    [dim]Rows with the bytes of an image file each, as data sets of Hugging Face have them, too.[/]

    [bold]instancefcn propose-corpus[/] s3://mine/photos [bold]--out[/] s3://mine/found --address auto --gpus 1 --cpus 4
    [dim]On the GPUs of a Ray cluster, from an object store into it; four cores read images for each GPU.[/]

    [bold]instancefcn evaluate[/] found --annotations val.json [bold]--out[/] report
    [dim]With --annotations val.json here, too, the images have that file's ids.[/]

    [bold]instancefcn convert[/] --data corpus:found,photos [bold]--to[/] coco [bold]--out[/] found.json
    [dim]Proposals as COCO annotations with scores.[/]

    The same command goes on where it stopped: a block whose file is there is not done again. To do one again, remove
    its file. Needs pip install 'instancefcn\\[ray]'.

    [bold]proposals/[/]    COCO results, as [bold]propose --to parquet[/] writes them, a file a block (objects/ with \
--objects)
    [bold]images/[/]       image_id, file_name, width and height of what was proposed on
    [bold]errors/[/]       images that could not be read, with the reason; the rest goes on, but the exit code is 1
    [bold]corpus.json[/]   what the run was asked for; the folder takes no other one
    """
    if importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError("propose-corpus runs on Ray", name="ray")

    from instancefcn.apps.run_files import fingerprint
    from instancefcn.corpus.places import Place
    from instancefcn.corpus.pool import Size
    from instancefcn.corpus.reading import Reader
    from instancefcn.corpus.run import begin
    from instancefcn.corpus.tables import BlockTables
    from instancefcn.corpus.worker import Job
    from instancefcn.data.result_files import STEMS
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
    from instancefcn.inference.request import Request

    file = checkpoint or SHIPPED_CHECKPOINT
    loaded, model = load_checkpoint(file), fingerprint(file)
    place = Place.of(out)
    corpus = _find(Place.of(source), source, annotations, block)
    settings = {
        "command": "propose-corpus",
        "version": version("instancefcn"),
        "INPUT": str(corpus),
        "--checkpoint": model,
        "--objects": objects,
        "--max-proposals": max_proposals,
        "--min-score": min_score,
        "--block": block,
        "--key-column": key_column,
        "--image-column": image_column,
        "--precision": precision,
    }
    reader = Reader(corpus.place.filesystem, corpus.kind, key_column, image_column)
    reader.check(corpus.blocks[0])
    job = Job(
        reader,
        BlockTables(place, STEMS[objects]),
        loaded,
        Request(objects, max_proposals=max_proposals, min_score=min_score),
        device="cuda" if gpus else "cpu",
        precision=precision,
        threads=max(1, round(cpus)),
        about={"instancefcn": version("instancefcn"), "checkpoint": model},
    )
    with run_folder(place.local) if place.local else nullcontext():  # an object store has no locks
        left = begin(job.tables, settings, corpus.blocks)
        if earlier := len(corpus.blocks) - len(left):
            echo(f"going on after {earlier} of {len(corpus.blocks)} blocks", err=True)
        outcome, undone = _work(job, left, Size(workers, cpus, gpus), address)
    _report(outcome, job.tables, undone)


def _find(place: Place, text: str, annotations: Path | None, count: int) -> Corpus:
    """What INPUT holds."""
    from instancefcn.corpus.blocks import Listed, corpus_of_files, corpus_of_images, deeper, images_of_store, kind_of

    kind = kind_of(place)
    if annotations is not None and (kind != "images" or place.local is None):
        raise typer.BadParameter("is for a folder of images on a disk", param_hint="--annotations")
    if kind != "images":
        found = corpus_of_files(place, kind, count)
    elif place.local is None:
        found = corpus_of_images(place, *images_of_store(place), count)
    else:
        try:
            files = find_inputs([text.removeprefix("file://")], annotations, None)
        except typer.BadParameter as error:
            raise typer.BadParameter(f"{error.message}{deeper(place)}", param_hint="INPUT") from error
        images = [Listed(one.image_id, one.file_name, str(one.path), one.size) for one in files]
        found = corpus_of_images(place, images, (size_and_time(one.path) for one in files), count)
    if not found.blocks:
        raise typer.BadParameter(f"{text}: no image in it{deeper(place)}", param_hint="INPUT")
    return found


def _work(job: Job, left: list[Block], size: Size, address: str | None) -> tuple[Outcome, int]:
    """Do the blocks that are left; what came of them, and how many are not done."""
    from instancefcn.corpus.blocks import images_in
    from instancefcn.corpus.pool import ray_running, work
    from instancefcn.corpus.run import Outcome, left_after

    outcome = Outcome()
    if not left:
        return outcome, 0
    try:
        with progress_bar() as progress:
            task = progress.add_task("starting workers", total=images_in(left))
            with ray_running(address, size) as room:
                workers = min(room, len(left))
                progress.update(task, description=f"proposing, {workers} workers" if workers > 1 else "proposing")
                for said in work(job, left, workers, size, lambda count: progress.advance(task, count)):
                    outcome.add(said)
                    if said["reason"]:
                        say(progress, said["reason"])
                progress.update(task, completed=outcome.done + outcome.failed)
    except KeyboardInterrupt as error:
        done = f"{outcome.blocks} of {len(left)} blocks"
        raise Interrupted(as_interrupted(error).number, f"interrupted after {done}: the same command goes on") from None
    return outcome, left_after(job.tables, left)


def _report(outcome: Outcome, tables: BlockTables, undone: int) -> None:
    """Say what was written; the exit code is 1 where images failed or blocks are not done."""
    if outcome.blocks:
        echo(f"{outcome.found} {tables.stem} of {outcome.done} images: {tables.out / tables.stem}")
    if failed := tables.errors():
        lines = f"{outcome.failed} of {outcome.done + outcome.failed} images failed; " if outcome.failed else ""
        echo(f"{lines}blocks with errors: {failed}, in {tables.out / 'errors'}", err=True)
    if undone:
        echo(f"{undone} blocks are not done: the same command does them", err=True)
    if failed or undone:
        raise typer.Exit(1)
