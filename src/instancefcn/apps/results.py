"""The folder that a run writes to: results go to disk image by image, and into place when the run ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
import typer
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instancefcn.apps.images import LABEL_MAPS, OVERLAYS, ImageFile, output_stems
from instancefcn.data.images import read_image
from instancefcn.files import path_inside, read_json, whole_file
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals

ONE_CATEGORY = {CATEGORY_ID: CATEGORY_NAME}
PROPOSALS, SEGMENTS, IMAGES, ERRORS = "proposals.json", "segments.json", "images.json", "errors.jsonl"
JPEG_LONGEST_SIDE = 65500  # pixels


class ResultsFolder:
    """Writer for the results of a run, as a context manager.

    The JSON files are written under other names, one image after the other, so that memory stays flat. On leaving, also
    after an interruption, they are completed and renamed into place. ``images.json`` also lists the overlays and label
    maps that the run drew, under "pictures". Those that the earlier run lists and this one did not draw are removed
    then, since they contradict the new files. A person's own files are not listed, so they stay. Attributes count what
    was written and removed.

    Args:
        folder: made where there is none.
        images: of the whole run.
        overlays: also draw the best proposals over each image, into ``overlays/``.
        label_maps: also write a 16-bit label map of each image, into ``label_maps/``.
        name: of the file of results.
        categories: names by id.
        shown: the part of an image's results that overlays and label maps show.

    Raises:
        ValueError: the folder holds the results of the other command.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageFile],
        *,
        overlays: bool,
        label_maps: bool,
        name: str = PROPOSALS,
        categories: Mapping[int, str] = ONE_CATEGORY,
        shown: Callable[[Proposals], Proposals] = lambda proposals: proposals,
    ) -> None:
        other = folder / (SEGMENTS if name == PROPOSALS else PROPOSALS)
        if other.exists():
            raise ValueError(f"{other} would not belong to the new {IMAGES}: give another --out, or remove it")
        self.folder = folder
        self.names = (name, IMAGES, ERRORS)
        self.categories, self.shown = categories, shown
        self.images = self.proposals = self.failures = self.removed = 0
        stems = list(zip([image.image_id for image in images], output_stems(images), strict=True))
        self._overlays = {key: folder / OVERLAYS / f"{stem}.jpg" for key, stem in stems if overlays}
        self._label_maps = {key: folder / LABEL_MAPS / f"{stem}.png" for key, stem in stems if label_maps}
        self._earlier = earlier_pictures(folder)
        self._drawn: set[Path] = set()

    def paths(self) -> list[Path]:
        """Every file that may be written."""
        return [*(self.folder / name for name in self.names), *self._overlays.values(), *self._label_maps.values()]

    def __enter__(self) -> ResultsFolder:
        self._files = ExitStack()
        self._proposals, self._images, self._errors = (
            self._files.enter_context(whole_file(self.folder / name)) for name in self.names
        )
        self._proposals.write(b"[")
        self._images.write(b'{"images": [')
        return self

    def add(self, image: ImageFile, pixels: UInt8[np.ndarray, "h w 3"], proposals: Proposals) -> None:
        """Write the proposals of an image, best first."""
        results = proposals.to_coco(image.image_id)
        entry = {
            "id": image.image_id,
            "file_name": image.file_name,
            "width": proposals.width,
            "height": proposals.height,
        }
        _write_items(self._proposals, results, first=self.proposals == 0)
        _write_items(self._images, [entry], first=self.images == 0)
        self.images += 1
        self.proposals += len(results)
        if image.image_id in self._overlays:
            picture = Image.fromarray(self.shown(proposals).draw(pixels))
            picture.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))  # does nothing to a smaller one
            self._save(picture, self._overlays[image.image_id], quality=90, subsampling=0)
        if image.image_id in self._label_maps:
            labels = self.shown(proposals).label_map()
            self._save(Image.fromarray(labels), self._label_maps[image.image_id])

    def fill(
        self, verb: str, images: Sequence[ImageFile], call: Callable[[UInt8[np.ndarray, "h w 3"]], Proposals]
    ) -> None:
        """Call a function on the pixels of each image and write what it returns; failures are noted and skipped.

        Args:
            verb: what the progress bar says.

        Raises:
            typer.Exit: interrupted; what was done until then is in the folder.
        """
        console = Console(stderr=True)
        columns = TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        try:
            with self, Progress(*columns, console=console) as progress:
                for image in progress.track(images):
                    try:
                        pixels = read_image(image.path, image.size)
                        found = call(pixels)
                    except (ValueError, OSError, MemoryError, torch.OutOfMemoryError) as error:
                        reason = " ".join(str(error).removeprefix(f"{image.path}: ").split()) or type(error).__name__
                        self.add_failure(image, reason)
                        console.print(f"{image.file_name}: {reason}", markup=False, highlight=False, soft_wrap=True)
                    else:
                        self.add(image, pixels, found)
        except KeyboardInterrupt:
            typer.echo(f"interrupted after {self.images} of {len(images)} images, which are in {self.folder}", err=True)
            raise typer.Exit(130) from None

    def report(self, noun: str, images: int) -> None:
        """Say what was written, and what was removed.

        Args:
            noun: for the results.
            images: of the whole run.

        Raises:
            typer.Exit: some images failed.
        """
        typer.echo(f"{self.proposals} {noun} of {self.images} images: {self.folder / self.names[0]}")
        for paths, name in ((self._overlays, OVERLAYS), (self._label_maps, LABEL_MAPS)):
            if paths:
                typer.echo(f"{name.replace('_', ' ')}: {self.folder / name}")
        if self.removed:
            typer.echo(f"removed {self.removed} pictures of an earlier run, which contradict this one")
        if self.failures:
            typer.echo(f"{self.failures} of {images} images failed: {self.folder / ERRORS}", err=True)
            raise typer.Exit(1)

    def add_failure(self, image: ImageFile, reason: str) -> None:
        """Write why there is nothing of an image."""
        entry = {"image_id": image.image_id, "file_name": image.file_name, "reason": reason}
        self._errors.write(json.dumps(entry).encode() + b"\n")
        self.failures += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._files:
            self._proposals.write(b"\n]\n")
            categories = [{"id": category_id, "name": name} for category_id, name in self.categories.items()]
            drawn = sorted(path.relative_to(self.folder).as_posix() for path in self._drawn)
            pictures = f',\n"pictures": {json.dumps(drawn)}' if drawn else ""
            end = f'\n],\n"annotations": [],\n"categories": {json.dumps(categories)}{pictures}}}\n'
            self._images.write(end.encode())
        for path in self._earlier - self._drawn:
            path.unlink(missing_ok=True)
            self.removed += 1

    def _save(self, picture: Image.Image, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
        self._drawn.add(path)


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
