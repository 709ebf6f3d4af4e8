"""``instancefcn label``: a round of labelling in one command."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instancefcn.apps.images import ImageFile, find_inputs
from instancefcn.apps.next import By, choose
from instancefcn.apps.options import DeviceName, Form, RecipeName, SplitParts, Tolerance
from instancefcn.apps.printing import echo
from instancefcn.apps.train import say
from instancefcn.files import write_whole
from instancefcn.interrupts import Interrupted, as_interrupted
from instancefcn.run_folder import run_folder

if TYPE_CHECKING:
    from instancefcn.data.source import Problem, Source
    from instancefcn.labelling.ledger import Ledger
    from instancefcn.labelling.rounds import Rounds

MIN_TO_TRAIN = 5  # labelled images; with fewer the shipped checkpoint proposes
PROPOSALS, STAGING, LEDGER, NEXT = "proposals", ".staging", "written.jsonl", "next.txt"
Step = Literal["find", "train", "propose", "next"]


def label(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="All images.")],
    labels: Annotated[
        Path, typer.Option(metavar="DIR|FILE", help="Your labels, in a tool's format; need not exist yet.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for proposals and trainings, not your own.")],
    to: Annotated[
        Form | None,
        typer.Option(metavar="FORM", help="Format of the proposals.", show_default="that of the labels, or labelme"),
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", metavar="FORM", help="Format of the labels.", show_default="a guess")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Train this long.")] = 10.0,
    init: Annotated[
        Literal["shipped", "last"],
        typer.Option(help="Train from the shipped checkpoint, or go on from the last round's best."),
    ] = "shipped",
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Images to label next.")] = 20,
    by: By = "random",
    only: Annotated[Step | None, typer.Option(help="Do one step alone.", show_default="all of them")] = None,
    tolerance: Tolerance = 1.0,
    split_parts: SplitParts = False,
    recipe: RecipeName = "lite",
    device: DeviceName = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that load images.")] = 1,
) -> None:
    """Do a round: find what is labelled, train, propose objects for the other images, say which to label next.

    [bold]instancefcn label[/] photos/ --labels labelled/ [bold]--out[/] rounds --to labelme
    [dim]Without labels the shipped checkpoint proposes. Correct files in rounds/proposals, where they are or moved to
    labelled/, and call it again: what you changed are labels now, the rest is proposed anew.[/]

    [bold]instancefcn label[/] photos/ --labels export.json [bold]--out[/] rounds --to cvat --minutes 20
    [dim]From what CVAT exported as COCO 1.0; import rounds/proposals/cvat.json there.[/]

    [bold]proposals/[/]           in the format of --to. A file that you changed, or put there, is never written over
    [bold]round-N/[/]             a training, of which best.safetensors proposes
    [bold]next.txt[/]             images to label next
    [bold]rounds.json[/]          what each round was trained on
    [bold]written.jsonl[/]        SHA-256 of every file that was written, to tell yours from these

    If it is interrupted, call it again: it goes on where it was.
    """
    _check_places(folder, labels, out)

    from instancefcn.labelling.ledger import Ledger
    from instancefcn.labelling.person_labels import folders_of_maps, guess_form, labelled_files
    from instancefcn.labelling.rounds import Rounds

    with run_folder(out):
        chosen_form = form or guess_form(labels, images=folder) or to or "labelme"
        chosen_to = to or chosen_form
        images = find_inputs([str(folder)], None, out, folders_of_maps(chosen_form, labels, folder))
        rounds, ledger = Rounds(out), Ledger(out / PROPOSALS, out / LEDGER)
        sources = find_labels(images, folder, labels, chosen_form, chosen_to, out, ledger, split_parts)
        labelled = labelled_files(sources)
        left = [image for image in images if image.path.resolve() not in labelled]
        failed: list[ImageFile] = []
        try:
            if only in (None, "train"):
                train(rounds, sources, minutes, rounds.checkpoint if init == "last" else None, recipe, device, workers)
            if only in (None, "propose"):
                remove_outdated(ledger, images, left, labels)
                failed = propose(rounds, ledger, sources, left, images, chosen_to, tolerance, device)
            if only in (None, "next"):
                readable = [image for image in left if image not in failed]
                say_next(rounds, sources, readable, number, by, device)
        except KeyboardInterrupt as error:
            stopped = as_interrupted(error)
            raise Interrupted(stopped.number, f"{stopped}\nthe same command goes on") from error
        if failed:
            raise typer.Exit(1)


def find_labels(
    images: Sequence[ImageFile],
    folder: Path,
    labels: Path,
    form: str,
    to: str,
    out: Path,
    ledger: Ledger,
    split_parts: bool,
) -> list[Source]:
    """The labelled images: those in a person's folder, and the proposals that a person corrected in place."""
    from instancefcn.data.open import ONE_FILE
    from instancefcn.labelling.corrections import persons_files, read_corrections
    from instancefcn.labelling.person_labels import labelled_files, labelled_images, lone_files, open_labels

    paths = {image.file_name: image.path for image in images}
    view = out / "view-labels"
    given = open_labels(form, labels, folder, view, split_parts=split_parts)
    mine = labelled_images(given, list(paths.values()), form)
    echo(f"labels: {len(mine)} of {len(images)} images are labelled in {labels} ({form})")
    _say_problems(given.problems, [view])
    if lone := lone_files(form, labels, folder):
        why = f"none of the name is in {folder}, or several"
        echo(f"  {len(lone)} files there label no image: {why}; the first: {lone[0]}", err=True)
    found: list[Source] = [mine]
    for written, names in persons_files(ledger, to).items():
        if written in ONE_FILE:
            listed = ", ".join(names)
            echo(f"  {listed} in {ledger.folder} were changed: if they are labels, move them out, for --labels")
            continue
        corrections = read_corrections(ledger, names, written, folder, paths, out)
        fresh = corrections.besides(labelled_files(found), f"corrected in {ledger.folder}")
        found.append(fresh)
        echo(f"  and {len(fresh)} are corrected in {ledger.folder}")
        _say_problems(corrections.problems, corrections.views)
        if corrections.lone:
            mend = "where images share a stem, take --to labelme"
            echo(f"  {corrections.lone} changed files there label no image; {mend}", err=True)
    return [source for source in found if len(source)]


def _say_problems(problems: Sequence[Problem], views: Sequence[Path]) -> None:
    """Count the problems of files that lie behind links, and tell the first."""
    from instancefcn.labelling.person_labels import behind_links

    if problems:
        echo(f"  {len(problems)} problems in them; the first: {behind_links(problems[0], views)}", err=True)


def train(
    rounds: Rounds,
    sources: Sequence[Source],
    minutes: float,
    start: Path | None,
    recipe: str,
    device: str,
    workers: int,
) -> None:
    """Train on the labels, unless they were trained on, or are too few.

    A ``start`` has seen the images that would be kept out to compare it with what is trained from it, so none are.
    """
    from instancefcn.labelling.rounds import labels_sum
    from instancefcn.training.loop import train as train_network
    from instancefcn.training.recipe import load_recipe

    labelled = sum(map(len, sources))
    if labelled < MIN_TO_TRAIN:
        echo(f"training: none; {labelled} labelled images are too few, it takes {MIN_TO_TRAIN}")
        return
    one = rounds.begin(labels_sum(sources), labelled)
    if one is None:
        echo("training: none; the labels are those of the last round")
        return
    echo(f"training: round {one.number}, {minutes:g} minutes on {labelled} images, into {rounds.folder(one)}")
    train_network(
        load_recipe(recipe),
        sources,
        rounds.folder(one),
        minutes=minutes,
        init="auto" if start is None else str(start),
        keep_out=start is None,
        resume=True,
        changed_data=True,  # the labels are the round's, though a person may have moved some
        device=device,
        workers=workers,
        report=lambda text: say(text if text.startswith("warning: ") else f"  {text}"),
    )
    rounds.finish(one)


def remove_outdated(ledger: Ledger, images: Sequence[ImageFile], left: Sequence[ImageFile], labels: Path) -> None:
    """Remove our proposals of labelled images, so that one file for each image is left; never one that was touched."""
    from instancefcn.folders import files_below

    labelled = {image.file_name for image in images} - {image.file_name for image in left}
    linked = {path.resolve() for path in files_below(labels)}  # a person may link what they accept
    if removed := ledger.remove(labelled, linked):
        echo(f"proposals: {len(removed)} of images that have labels now are removed from {ledger.folder}")


def propose(
    rounds: Rounds,
    ledger: Ledger,
    sources: Sequence[Source],
    left: Sequence[ImageFile],
    images: Sequence[ImageFile],
    to: str,
    tolerance: float,
    device: str,
) -> list[ImageFile]:
    """Write the objects of every image without labels, beside and never over what a person has touched.

    Returns:
        Images that can't be read.
    """
    from instancefcn.apps.printing import progress_bar
    from instancefcn.apps.printing import say as say_above
    from instancefcn.inference.proposer import Proposer
    from instancefcn.labelling.proposing import ProposalFolder, categories_of

    proposer = Proposer.from_checkpoint(rounds.checkpoint, device=device)
    number = 0 if rounds.done is None else rounds.done.number
    staging = ledger.folder.parent / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    names = [image.file_name for image in images]
    categories, category_id = categories_of(sources, to, ledger.folder)
    folder = ProposalFolder(ledger, staging, number, to, categories, category_id, names, tolerance)
    new_first = sorted(left, key=lambda image: folder.is_done(image.file_name, image.path))
    failed: list[ImageFile] = []
    with progress_bar() as progress:
        for image in progress.track(new_first, description="proposing"):
            try:
                folder.propose(proposer, image.image_id, image.file_name, image.path)
            except (ValueError, OSError, MemoryError) as error:
                failed.append(image)
                say_above(progress, f"{image.file_name}: {error}")
    folder.close()
    shutil.rmtree(staging, ignore_errors=True)
    by = "the shipped checkpoint" if rounds.checkpoint is None else str(rounds.checkpoint)
    echo(f"proposals: {folder.objects} objects in {folder.images} images by {by}, into {ledger.folder} ({to})")
    if folder.kept:
        echo(f"  {folder.kept} images had theirs from this round already")
    if folder.refused:
        listed = ", ".join(folder.refused[:3]) + (", ..." if len(folder.refused) > 3 else "")
        echo(f"  {len(folder.refused)} files are yours, and left alone: {listed}")
    for note in folder.notes():
        echo(f"  {note}")
    if failed:
        echo(f"  {len(failed)} images can't be read", err=True)
    return failed


def say_next(
    rounds: Rounds, sources: Sequence[Source], left: Sequence[ImageFile], number: int, by: By, device: str
) -> None:
    """Say which images to label next, and write them down. The choice stays until more images are labelled."""
    choices = choose(by, left, sources, number, rounds.checkpoint, seed=len(left), device=device)
    chosen = [left[choice.index] for choice in choices]
    write_whole(rounds.out / NEXT, "".join(f"{image.path}\n" for image in chosen))
    echo(f"next: label these {len(chosen)} of {len(left)} images ({by}), listed in {rounds.out / NEXT}")
    for image in chosen:
        echo(f"  {image.file_name}")


def _check_places(folder: Path, labels: Path, out: Path) -> None:
    """Stop where the output would lie among a person's files, or the reverse."""
    ours = out.resolve()
    for place in (folder.resolve(), labels.resolve()):
        if ours.is_relative_to(place) or place.is_relative_to(ours):
            raise typer.BadParameter(
                f"{out} and {place} lie in each other: give a folder beside it, which is not yours. What you correct "
                f"in {out / PROPOSALS} is found there; a file for all images is to be moved out of it first",
                param_hint="--out",
            )
