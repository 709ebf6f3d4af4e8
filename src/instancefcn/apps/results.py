"""The folder that a run writes to: results go to disk image by image, and into place when the run ends."""

from __future__ import annotations

import json
import os
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

from instancefcn.apps.images import (
    LABEL_MAPS,
    OVERLAYS,
    ImageFile,
    output_stems,
    refuse_to_overwrite,
    refuse_to_replace,
)
from instancefcn.apps.tables import COUNTS, ObjectTables
from instancefcn.apps.tables import OBJECTS as OBJECT_TABLE
from instancefcn.data.images import read_image
from instancefcn.export.open import is_one_file, open_writer
from instancefcn.export.writer import labels_of
from instancefcn.files import path_inside, read_json, whole_file
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals, Segments

ONE_CATEGORY = {CATEGORY_ID: CATEGORY_NAME}
PROPOSALS, OBJECTS, SEGMENTS = "proposals.json", "objects.json", "segments.json"
IMAGES, ERRORS = "images.json", "errors.jsonl"
COCO = "coco"
REPLACED = ("labels",)  # forms whose files belong to one run, and are replaced by the next one's
JPEG_LONGEST_SIDE = 65500  # pixels


class ResultsFolder:
    """Writer for the results of a run.

    ``images.json`` also lists the overlays and label maps that the run drew, under "pictures" (``to`` has "labels" for
    the latter). Those that the earlier run lists and this one did not draw are removed, since they contradict the new
    files. A person's own files are not listed, so they stay.

    Args:
        folder: made where there is none; or a file that ends in ``.json``, for a single format of one file in ``to``,
            and then nothing else is written.
        images: of the whole run.
        given: other files that the run reads.
        overlays: also draw the best proposals over each image, into ``overlays/``.
        to: formats of labelling tools that are also written, into a folder of their name, or ``NAME.json``.
        tolerance: pixels by which outlines may shift when they become polygons.
        name: of the file of results.
        categories: names by id.
        shown: the part of an image's results that overlays and label maps show.
        most_drawn: masks in an overlay; None for ``draw``'s own number.

    Raises:
        ValueError: the folder holds results of another kind.
        typer.BadParameter: a file that is read would be written over, or ``folder`` is a file and may not be.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageFile],
        given: Sequence[Path | None],
        *,
        overlays: bool,
        to: Sequence[str] = (),
        tolerance: float = 1.0,
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
        self.one_file = folder.suffix == ".json"
        if self.one_file and (len(to) != 1 or not is_one_file(to[0]) or overlays):
            raise typer.BadParameter(f"{folder} is a file: it takes one --to of one file, and no overlays")
        if folder.is_file() and not self.one_file:
            raise typer.BadParameter(f"{folder} is a file: give a folder", param_hint="--out")
        self.files = [] if self.one_file else [folder / file for file in (name, IMAGES, ERRORS)]
        self.tables, self.most_drawn = name == OBJECTS and not self.one_file, most_drawn
        self.writers = {
            form: open_writer(
                form,
                folder if is_one_file(form) else folder / form,
                categories,
                tolerance,
                names=[image.file_name for image in images],
            )
            for form in to
            if form != COCO or self.one_file  # in a folder, the results are COCO's
        }
        stems = list(zip([image.image_id for image in images], output_stems(images), strict=True))
        self.overlays = {key: folder / OVERLAYS / f"{stem}.jpg" for key, stem in stems if overlays}
        refuse_to_overwrite(
            [*(image.path for image in images), *filter(None, given)],
            [
                *(self.files and [*self.files, folder / COUNTS, folder / OBJECT_TABLE]),
                *self.overlays.values(),
                *(path for writer in self.writers.values() for path in writer.paths()),
            ],
        )
        tools = (writer for form, writer in self.writers.items() if form not in REPLACED and not is_one_file(form))
        refuse_to_replace(path for writer in tools for path in writer.paths())
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
                    self._export(image, found)
        except KeyboardInterrupt:
            done = f"{self.done} of {len(self.images)} images"
            typer.echo(f"interrupted after {done}, which are in {self.folder}", err=True)
            raise typer.Exit(130) from None

    @contextmanager
    def _opened(self) -> Iterator[list[BinaryIO]]:
        """The files of results, images and errors, which are completed and put in place also after an error."""
        stack = ExitStack()
        opened = [whole_file(path) for path in self.files] or [discarded() for _ in range(3)]
        files = [stack.enter_context(file) for file in opened]
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
                for writer in self.writers.values():
                    writer.close()
            for path in self.earlier - self.drawn:
                path.unlink(missing_ok=True)

    def _tables(self) -> AbstractContextManager[ObjectTables | None]:
        return ObjectTables.opened(self.folder) if self.tables else nullcontext()

    def _draw(self, image: ImageFile, pixels: UInt8[np.ndarray, "h w 3"], proposals: Proposals) -> None:
        if path := self.overlays.get(image.image_id):
            picture = Image.fromarray(proposals.draw(pixels, self.most_drawn))
            picture.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))  # does nothing to a smaller one
            self._save(picture, path, quality=90, subsampling=0)

    def _export(self, image: ImageFile, found: Proposals) -> None:
        """Write an image in the formats of labelling tools; label maps show what overlays show."""
        for form, writer in self.writers.items():
            kept = self.shown(found) if form == LABEL_MAPS else found
            ids = kept.category_ids.tolist() if isinstance(kept, Segments) else [CATEGORY_ID] * len(kept)
            writer.add(labels_of(kept, ids, image.image_id, image.file_name, image.path), kept.scores.tolist())
            if form == LABEL_MAPS:
                self.drawn.add(writer.written[-1])

    def _save(self, picture: Image.Image, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
        self.drawn.add(path)

    def report(self, noun: str) -> None:
        """Say what was written, and what was removed.

        Raises:
            typer.Exit: some images failed.
        """
        typer.echo(f"{self.found} {noun} of {self.done} images: {self.files[0] if self.files else self.folder}")
        if self.tables:
            typer.echo(f"counted, image by image and object by object: {self.folder / COUNTS}, {OBJECT_TABLE}")
        if self.full:
            typer.echo(f"{self.full} images have as many as --max-proposals allows; they may have more", err=True)
        if self.overlays:
            typer.echo(f"overlays: {self.folder / OVERLAYS}")
        for form, writer in self.writers.items():
            if not self.one_file:
                typer.echo(f"{form}: {writer.place.out}")
            for note in writer.notes():
                typer.echo(note)
        if removed := len(self.earlier - self.drawn):
            typer.echo(f"removed {removed} pictures of an earlier run, which contradict this one")
        if self.failed:
            where = "" if self.one_file else f": {self.folder / ERRORS}"
            typer.echo(f"{self.failed} of {len(self.images)} images failed{where}", err=True)
            raise typer.Exit(1)


@contextmanager
def discarded() -> Iterator[BinaryIO]:
    """A file that keeps nothing of what is written."""
    with open(os.devnull, "wb") as file:
        yield file


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
    ours = {(OVERLAYS, ".jpg"), (LABEL_MAPS, ".png"), (LABEL_MAPS, ".tif")}
    return {path for path in paths if (path.relative_to(folder).parts[0], path.suffix) in ours and path.is_file()}


def _write_items(file: BinaryIO, items: Sequence[dict[str, Any]], *, first: bool) -> None:
    """Write items of a JSON array, one a line, in one call, so that an interruption leaves all of them or none."""
    lines = ",\n".join(json.dumps(item, separators=(",", ":"), allow_nan=False) for item in items)
    if lines:
        file.write((("\n" if first else ",\n") + lines).encode())
