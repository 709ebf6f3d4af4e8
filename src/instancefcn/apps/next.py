"""``instancefcn next``: which images to label next."""

from __future__ import annotations

import filecmp
import os
import re
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instancefcn.apps.images import ImageFile, find_inputs, refuse_others, refuse_to_overwrite
from instancefcn.apps.options import AsJson, CheckpointFile, DeviceName, SplitParts
from instancefcn.apps.printing import echo, print_json, print_path
from instancefcn.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instancefcn.data.source import Source
    from instancefcn.labelling.next_images import Choice, Criterion

By = Annotated[
    Literal["uncertain", "flip", "variety", "random"],
    typer.Option(
        help="uncertain: most doubtful objects. flip: objects that differ from those of the mirrored image. "
        "variety: unlike the labelled images and each other. random: by chance."
    ),
]


def next_images(
    pool: Annotated[list[str], typer.Option(metavar="FOLDER", help="Images to choose from. May be given again.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="Labelled images, which are left out; see below. May be given again."),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many images.")] = 20,
    by: By = "random",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the paths to a file, too.")
    ] = None,
    checkpoint: CheckpointFile = None,
    split_parts: SplitParts = False,
    seed: Annotated[int, typer.Option(min=0, help="Of random, and of the order of equals.")] = 0,
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Say which images of a folder to label next: paths on stdout, one a line, and a table on stderr.

    [bold]instancefcn next[/] --data labelme:labelled,photos [bold]--pool[/] photos -n 20 > next.txt

    [bold]instancefcn next[/] --data labels:mine [bold]--pool[/] photos --by uncertain --checkpoint mine.safetensors
    [dim]Those in which the network doubts most objects.[/]

    Images that --data labels are left out: the same file, or one of its name, unless its own file is there and shows
    something else. Of a file for all images (COCO, CVAT, Label Studio) these are the ones with an object, as it lists
    also those that nobody has looked at.
    """
    images = find_inputs(pool, None, None)

    from instancefcn.data.image_formats import image_extensions
    from instancefcn.data.open import open_source, places_of

    if out is not None:
        files = [place for spec in data or () for place in places_of(spec)]
        refuse_to_overwrite([*(image.path for image in images), *files], [out])
        suffixes = b"|".join(re.escape(suffix).encode() for suffix in image_extensions())
        refuse_others({out: rb"(?i)[^\n]+(" + suffixes + rb")\n"})  # a list of images
    sources = [open_source(spec, split_parts=split_parts) for spec in data or ()]
    for source in sources:
        if source.problems:
            count = len(source.problems)
            if not len(source):
                raise ValueError(f"{source.name}: no image of it can be read; the first problem: {source.problems[0]}")
            echo(f"{source.name}: {count} problems; the first: {source.problems[0]}", err=True)
    sources = [looked_at(source) for source in sources]
    left = unlabelled(images, sources)
    echo(f"{len(left)} of {len(images)} images are not labelled", err=True)
    chosen = choose(by, left, sources, number, checkpoint, seed, device)
    found = [(left[choice.index], None if by == "random" else choice.value) for choice in chosen]
    if out is not None:
        write_whole(out, b"".join(os.fsencode(image.path) + b"\n" for image, _ in found))
    if as_json:
        rows = [{"path": str(image.path), "file_name": image.file_name, "value": value} for image, value in found]
        print_json({"images": len(images), "unlabelled": len(left), "by": by, "next": rows})
        return
    for rank, (image, value) in enumerate(found, start=1):
        echo(f"{rank:>4}  {image.file_name}{'' if value is None else f'  {by} {value:.3f}'}", err=True)
    for image, _ in found:
        print_path(image.path)


def looked_at(source: Source) -> Source:
    """The images that a person has labelled: a file for all images lists also those that nobody has looked at, and
    may have predictions."""
    from instancefcn.data.open import lists_all_images
    from instancefcn.data.selection import Selection

    if not lists_all_images(source.name):
        return source
    every = ((index, source.labels(index)) for index in range(len(source)))
    drawn = [
        index for index, labels in every if (len(labels.with_rejected()) or labels.partial) and not labels.predicted
    ]
    return Selection([(source, index) for index in drawn], source.name)


def unlabelled(images: Sequence[ImageFile], sources: Sequence[Source]) -> list[ImageFile]:
    """The images that no source has labels of.

    An image is labelled if a source names the same file; or the same path in the folder, or the same name, where only
    one of the images has it, unless that is another picture: cameras begin their numbers anew.
    """
    from instancefcn.data.labelme import named_image

    labels = [source.labels(index) for source in sources for index in range(len(source))]
    files = {label.path.resolve() for label in labels if label.path is not None}
    of_name: dict[str, list[Path | None]] = defaultdict(list)  # pictures of a path or a name; None: nobody has it
    for label in labels:
        names, picture = {label.file_name, Path(label.file_name).name}, label.path
        if picture is not None and picture.suffix == ".json":  # which holds its picture
            names, picture = names | {named_image(picture)}, None
        for name in names:
            of_name[name].append(picture if picture is not None and picture.is_file() else None)
    images_of_name = Counter(image.path.name for image in images)

    def is_labelled(image: ImageFile) -> bool:
        names = {image.file_name, *([image.path.name] if images_of_name[image.path.name] == 1 else [])}
        pictures = [picture for name in names for picture in of_name.get(name, ())]
        return image.path.resolve() in files or any(
            picture is None or filecmp.cmp(picture, image.path, shallow=False) for picture in pictures
        )

    return [image for image in images if not is_labelled(image)]


def choose(
    by: Criterion,
    images: Sequence[ImageFile],
    sources: Sequence[Source],
    number: int,
    checkpoint: Path | None,
    seed: int,
    device: str,
) -> list[Choice]:
    """Choose among images, with a bar on stderr; images that can't be read are named and left out."""
    from instancefcn.apps.printing import progress_bar, say
    from instancefcn.data.images import read_image
    from instancefcn.inference.proposer import Proposer
    from instancefcn.labelling.next_images import choose_next

    pool = [partial(read_image, image.path, image.size) for image in images]
    if by == "random":
        return choose_next(by, pool, number, seed=seed)
    proposer = Proposer.from_checkpoint(checkpoint, device=device)
    with progress_bar() as progress:
        return choose_next(
            by,
            pool,
            number,
            proposer=proposer,
            labelled=[partial(source.image, index) for source in sources for index in range(len(source))],
            seed=seed,
            track=partial(progress.track, description="looking"),
            failed=lambda index, error: say(progress, f"{images[index].file_name}: {error}"),
        )
