"""The folder that a run writes to: results go to disk image by image, and into place when the run ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import typer
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instancefcn.apps.images import LABEL_MAPS, OVERLAYS, ImageFile, output_stems, refuse_to_overwrite
from instancefcn.apps.tables import COUNTS, ObjectTables
from instancefcn.apps.tables import OBJECTS as OBJECT_TABLE
from instancefcn.data.images import read_image
from instancefcn.files import path_inside, read_json, whole_file
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals

ONE_CATEGORY = {CATEGORY_ID: CATEGORY_NAME}
PROPOSALS, OBJECTS, SEGMENTS = "proposals.json", "objects.json", "segments.json"
IMAGES, ERRORS = "images.json", "errors.jsonl"
JPEG_LONGEST_SIDE = 65500  # pixels


class ResultsFolder:
    """Writer for the results of a run.

    ``images.json`` also lists the overlays and label maps that the run drew, under "pictures". Those that the earlier
    run lists and this one did not draw are removed, since they contradict the new files. A person's own files are not
    listed, so they stay.

    Args:
        folder: made where there is none.
        images: of the whole run.
        given: other files that the run reads.
        overlays: also draw the best proposals over each image, into ``overlays/``.
        label_maps: also write a 16-bit label map of each image, into ``label_maps/``.
        name: of the file of results.
        categories: names by id.
        shown: the part of an image's results that overlays and label maps show.
        most_drawn: masks in an overlay; None for ``draw``'s own number.

    Raises:
        ValueError: the folder holds results of another kind.
        typer.BadParameter: a file that is read would be written over.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageFile],
        given: Sequence[Path | None],
        *,
        overlays: bool,
        label_maps: bool,
        name: str = PROPOSALS,
        categories: Mapping[int, str] = ONE_CATEGORY,
        shown: Callable[[Proposals], Proposals] = lambda proposals: proposals,
        most_drawn: int | None = None,
    ) -> None:
        for other in {PROPOSALS, OBJECTS, SEGMENTS} - {name}:
            if (folder / other).exists():
                raise ValueError(
                    f"{folder / other} would not belong to the new {IMAGES}: give another --out, or remove it"
                )
        self.folder, self.images, self.categories, self.shown = folder, images, categories, shown
        self.files = [folder / file for file in (name, IMAGES, ERRORS)]
        self.tables, self.most_drawn = name == OBJECTS, most_drawn
        stems = list(zip([image.image_id for image in images], output_stems(images), strict=True))
        self.overlays = {key: folder / OVERLAYS / f"{stem}.jpg" for key, stem in stems if overlays}
        self.label_maps = {key: folder / LABEL_MAPS / f"{stem}.png" for key, stem in stems if label_maps}
        refuse_to_overwrite(
            [*(image.path for image in images), *filter(None, given)],
            [*self.files, folder / COUNTS, folder / OBJECT_TABLE, *self.overlays.values(), *self.label_maps.values()],
        )
        self.earlier = earlier_pictures(folder)
        self.drawn: set[Path] = set()
        self.done = self.found = self.failed = 0  # images, results, images
        self.full = 0  # images with as many results as are allowed

    def fill(
        self, verb: str, call: Callable[[UInt8[np.ndarray, "h w 3"]], Proposals], *, most: int | None = None
    ) -> None:
        """Call a function on the pixels of each image and write what it returns; failures are noted and skipped.

        Args:
            verb: what the progress bar says.
            most: results of an image that ``call`` gives at most; images that have as many are counted.

        Raises:
            typer.Exit: interrupted; what was done until then is in the folder.
        """
        try:
            with self._opened() as (results, entries, errors), self._tables() as tables, progress_bar() as progress:
                for image in progress.track(self.images, description=verb):
                    try:
                        pixels = read_image(image.path, image.size)
                        found = call(pixels)
                    except (ValueError, OSError, MemoryError, torch.OutOfMemoryError) as error:
                        reason = " ".join(str(error).removeprefix(f"{image.path}: ").split()) or type(error).__name__
                        failure = {"image_id": image.image_id, "file_name": image.file_name, "reason": reason}
                        errors.write(json.dumps(failure).encode() + b"\n")
                        self.failed += 1
                        say(progress, f"{image.file_name}: {reason}")
                        continue
                    size = {"width": found.width, "height": found.height}
                    _write_items(results, found.to_coco(image.image_id), first=self.found == 0)
                    _write_items(
                        entries, [{"id": image.image_id, "file_name": image.file_name} | size], first=self.done == 0
                    )
                    if tables is not None:
                        tables.add(image, found)
                    self.done += 1
                    self.found += len(found)
                    self.full += len(found) == most
                    self._draw(image, pixels, self.shown(found))
        except KeyboardInterrupt:
            done = f"{self.done} of {len(self.images)} images"
            typer.echo(f"interrupted after {done}, which are in {self.folder}", err=True)
            raise typer.Exit(130) from None

    @contextmanager
    def _opened(self) -> Iterator[list[BinaryIO]]:
        """The files of results, images and errors, which are completed and put in place also after an error."""
        stack = ExitStack()
        files = [stack.enter_context(whole_file(path)) for path in self.files]
        results, entries, _ = files
        results.write(b"[")
        entries.write(b'{"images": [')
        try:
            yield files
        finally:
            with stack:
                results.write(b"\n]\n")
                categories = [{"id": category_id, "name": name} for category_id, name in self.categories.items()]
                drawn = sorted(path.relative_to(self.folder).as_posix() for path in self.drawn)
                pictures = f',\n"pictures": {json.dumps(drawn)}' if drawn else ""
                end = f'\n],\n"annotations": [],\n"categories": {json.dumps(categories)}{pictures}}}\n'
                entries.write(end.encode())
            for path in self.earlier - self.drawn:
                path.unlink(missing_ok=True)

    def _tables(self) -> AbstractContextManager[ObjectTables | None]:
        return ObjectTables.opened(self.folder) if self.tables else nullcontext()

    def _draw(self, image: ImageFile, pixels: UInt8[np.ndarray, "h w 3"], proposals: Proposals) -> None:
        if path := self.overlays.get(image.image_id):
            picture = Image.fromarray(proposals.draw(pixels, self.most_drawn))
            picture.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))  # does nothing to a smaller one
            self._save(picture, path, quality=90, subsampling=0)
        if path := self.label_maps.get(image.image_id):
            self._save(Image.fromarray(proposals.label_map()), path)

    def _save(self, picture: Image.Image, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
        self.drawn.add(path)

    def report(self, noun: str) -> None:
        """Say what was written, and what was removed.

        Raises:
            typer.Exit: some images failed.
        """
        typer.echo(f"{self.found} {noun} of {self.done} images: {self.files[0]}")
        if self.tables:
            typer.echo(f"counted, image by image and object by object: {self.folder / COUNTS}, {OBJECT_TABLE}")
        if self.full:
            typer.echo(f"{self.full} images have as many as --max-proposals allows; they may have more", err=True)
        for paths, name in ((self.overlays, OVERLAYS), (self.label_maps, LABEL_MAPS)):
            if paths:
                typer.echo(f"{name.replace('_', ' ')}: {self.folder / name}")
        if removed := len(self.earlier - self.drawn):
            typer.echo(f"removed {removed} pictures of an earlier run, which contradict this one")
        if self.failed:
            typer.echo(f"{self.failed} of {len(self.images)} images failed: {self.folder / ERRORS}", err=True)
            raise typer.Exit(1)


def progress_bar() -> Progress:
    """A bar on stderr: what is done, of how much, and the time that is left."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))


def say(progress: Progress, text: str) -> None:
    """Print a line above a bar, as it is."""
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def earlier_pictures(folder: Path) -> set[Path]:
    """Overlays and label maps that ``images.json`` in a folder lists as drawn by its run, and that are still there."""
    try:
        names = read_json(folder / IMAGES)["pictures"]
        paths = [path_inside(folder, name) for name in names]
    except (ValueError, TypeError, KeyError, AttributeError):  # no run, one without pictures, or another's file
        return set()
    ours = {(OVERLAYS, ".jpg"), (LABEL_MAPS, ".png")}
    return {path for path in paths if (path.relative_to(folder).parts[0], path.suffix) in ours and path.is_file()}


def _write_items(file: BinaryIO, items: Sequence[dict[str, Any]], *, first: bool) -> None:
    """Write items of a JSON array, one a line, in one call, so that an interruption leaves all of them or none."""
    lines = ",\n".join(json.dumps(item, separators=(",", ":"), allow_nan=False) for item in items)
    if lines:
        file.write((("\n" if first else ",\n") + lines).encode())
