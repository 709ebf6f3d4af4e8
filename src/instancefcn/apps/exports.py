"""What a run shows of its images besides the results: overlays, and files of labelling tools."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from instancefcn.apps.images import LABEL_MAPS, OVERLAYS, ImageFile, output_stems, refuse_to_replace
from instancefcn.drawing import encoded
from instancefcn.export.open import FORMS, is_one_file, open_writer
from instancefcn.export.writer import Writer, labels_of
from instancefcn.file_names import check_length
from instancefcn.files import file_sum, write_whole
from instancefcn.proposals import CATEGORY_ID, Proposals, Segments

REPLACED = ("labels",)  # forms whose files belong to one run, and are replaced by the next one's
JPEG_LONGEST_SIDE = 65500  # pixels


@dataclass(frozen=True)
class Shown:
    """What of an image's results overlays and label maps show.

    Attributes:
        part: of the results.
        most: masks in an overlay; None for ``draw``'s own number.
    """

    part: Callable[[Proposals], Proposals] = lambda proposals: proposals
    most: int | None = None


class Exports:
    """Writer of overlays and of files of labelling tools, image by image.

    Args:
        out: the folder of the run, or the file of the one format of one file.
        images: of the whole run.
        tools: formats of ``export.open.FORMS``.
        overlays: also draw an overlay of each image.
        categories: names by id.
        tolerance: pixels by which outlines may shift when they become polygons.
        shown: in pictures.
    """

    def __init__(
        self,
        out: Path,
        images: Sequence[ImageFile],
        tools: Sequence[str],
        *,
        overlays: bool,
        categories: Mapping[int, str],
        tolerance: float,
        shown: Shown,
    ) -> None:
        self.out, self.shown, self.unshown = out, shown, 0  # masks that pictures leave out
        names = [image.file_name for image in images]
        self.writers: dict[str, Writer] = {
            form: open_writer(form, self._place(form), categories, tolerance, names=names) for form in tools
        }
        stems = zip(images, output_stems(images), strict=True)
        self.overlays = {image.image_id: out / OVERLAYS / f"{stem}.jpg" for image, stem in stems if overlays}

    def _place(self, form: str) -> Path:
        """The folder, or the file, that a format is written to."""
        if self.out.suffix == ".json":
            return self.out
        return self.out / (f"{form}.json" if is_one_file(form) else form)

    def paths(self) -> Iterator[Path]:
        """Files that will be written."""
        yield from self.overlays.values()
        for writer in self.writers.values():
            yield from writer.paths()

    def refuse_to_replace(self) -> None:
        """Stop where files of tools are there.

        Raises:
            typer.BadParameter: names one.
        """
        refuse_to_replace(path for writer in self._tools() for path in writer.paths())

    def resume(self, sums: Mapping[str, str]) -> None:
        """Go on with a run: files of images that are there and differ from what it would write stay as they are.

        Args:
            sums: ``sums`` as it was when the run stopped.

        Raises:
            ValueError: a file of all images was changed since, or is another's; names it.
        """
        for writer in self._tools():
            writer.resumed = True
        for name, found in self.sums().items():
            if sums.get(name) != found:
                path = os.path.normpath(self.out / name)
                raise ValueError(f"{path} was changed since the run stopped: move it away, then --resume goes on")

    def sums(self) -> dict[str, str]:
        """SHA-256 of the tools' files of all images that are there, by their path from ``out``."""
        files = (path for writer in self._tools() for path in writer.common_files())
        return {os.path.relpath(path, self.out): file_sum(path) for path in files if path.is_file()}

    def _tools(self) -> list[Writer]:
        return [writer for form, writer in self.writers.items() if form not in REPLACED]

    def check_name(self, image: ImageFile) -> None:
        """Look whether all files can name an image.

        Raises:
            ValueError: one can't.
        """
        if overlay := self.overlays.get(image.image_id):
            check_length(overlay)
        for writer in self.writers.values():
            writer.check_name(image.file_name, image.path)

    def add(
        self, image: ImageFile, found: Proposals, pixels: UInt8[np.ndarray, "h w 3"] | None, *, keep: bool = False
    ) -> list[Path]:
        """Write one image; returns the pictures that were drawn of it.

        Args:
            pixels: of the image; None to leave its overlay as it is.
            keep: files that are there are of this run, and somebody may have worked on them since: they stay.
        """
        drawn, shown = list[Path](), self.shown.part(found)
        if pixels is not None and (path := self.overlays.get(image.image_id)):
            picture = Image.fromarray(shown.draw(pixels, self.shown.most))
            picture.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))  # does nothing to a smaller one
            write_whole(path, encoded(picture, "jpeg", quality=90, subsampling=0))
            drawn.append(path)
        self.unshown += len(found) - len(shown)
        for form, writer in self.writers.items():
            kept = shown if form == LABEL_MAPS else found
            ids = kept.category_ids.tolist() if isinstance(kept, Segments) else [CATEGORY_ID] * len(kept)
            writer.keep = keep
            writer.add(labels_of(kept, ids, image.image_id, image.file_name, image.path), kept.scores.tolist())
            if form == LABEL_MAPS:
                drawn.append(writer.written[-1])
        return drawn

    def others(self) -> list[Path]:
        """Places of tools' files that are there, and that this run does not write."""
        if self.out.suffix == ".json":  # the one file of a run
            return []
        others = (self._place(form) for form in FORMS if form not in (*REPLACED, *self.writers))
        return [path for path in others if path.exists()]

    def close(self) -> None:
        """Write what belongs to no single image."""
        for writer in self.writers.values():
            writer.close()

    def notes(self) -> Iterator[str]:
        """Lines for the user."""
        if self.overlays:
            yield f"overlays: {self.out / OVERLAYS}"
        for form, writer in self.writers.items():
            if self.out != writer.place.out:
                yield f"{form}: {writer.place.out}"
            yield from writer.notes()
        if self.unshown and any(form != LABEL_MAPS for form in self.writers):
            yield f"{self.unshown} masks in them score less than pictures show: --min-score leaves them out"
