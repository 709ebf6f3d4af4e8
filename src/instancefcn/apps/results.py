"""The folder that a run writes to: results go to disk image by image, and into place when the run ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from instancefcn.apps.images import LABEL_MAPS, OVERLAYS, ImageFile, output_stems
from instancefcn.files import whole_file
from instancefcn.inference.export import CATEGORY_ID, to_coco_results, to_label_map
from instancefcn.structures import Proposals
from instancefcn.viz.overlays import draw_proposals

ONE_CATEGORY = {CATEGORY_ID: "object"}
NAMES = ("proposals.json", "images.json", "errors.jsonl")
JPEG_LONGEST_SIDE = 65500  # pixels
Draw = Callable[[np.ndarray, Proposals], np.ndarray]


class ResultsFolder:
    """What a run writes, as a context manager.

    ``proposals.json``, ``images.json`` and ``errors.jsonl`` are written under other names, one image after the other,
    so that memory stays flat; on leaving, also after an interruption, they are made whole and renamed into place.
    Attributes count what was written.

    Args:
        folder: made where there is none.
        images: of the whole run.
        overlays: also draw the best proposals over each image, into ``overlays/``.
        label_maps: also write a 16-bit label map of each image, into ``label_maps/``.
        name: of the file of results.
        categories: names by id.
        draw: makes an overlay.
        shown: what of an image's results overlays and label maps show.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageFile],
        *,
        overlays: bool,
        label_maps: bool,
        name: str = NAMES[0],
        categories: Mapping[int, str] = ONE_CATEGORY,
        draw: Draw = draw_proposals,
        shown: Callable[[Proposals], Proposals] = lambda proposals: proposals,
    ) -> None:
        self.folder = folder
        self.names = (name, *NAMES[1:])
        self.categories, self.draw, self.shown = categories, draw, shown
        self.images = 0
        self.proposals = 0
        self.failures = 0
        stems = {image.image_id: stem for image, stem in zip(images, output_stems(images), strict=True)}
        self._overlays = {key: folder / OVERLAYS / f"{stem}.jpg" for key, stem in stems.items()} if overlays else {}
        self._label_maps = (
            {key: folder / LABEL_MAPS / f"{stem}.png" for key, stem in stems.items()} if label_maps else {}
        )

    def paths(self) -> list[Path]:
        """Every file that may be written."""
        return [*(self.folder / name for name in self.names), *self._overlays.values(), *self._label_maps.values()]

    def __enter__(self) -> ResultsFolder:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files = ExitStack()
        self._proposals, self._images, self._errors = (
            self._files.enter_context(whole_file(self.folder / name)) for name in self.names
        )
        self._proposals.write(b"[")
        self._images.write(b'{"images": [')
        return self

    def add(self, image: ImageFile, pixels: UInt8[np.ndarray, "h w 3"], proposals: Proposals) -> None:
        """Write the proposals of an image, best first."""
        results = to_coco_results(proposals, image.image_id)
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
            picture = Image.fromarray(self.draw(pixels, self.shown(proposals)))
            picture.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))  # does nothing to a smaller one
            _save(picture, self._overlays[image.image_id], quality=90, subsampling=0)
        if image.image_id in self._label_maps:
            _save(Image.fromarray(to_label_map(self.shown(proposals))), self._label_maps[image.image_id])

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
            self._images.write(f'\n],\n"annotations": [],\n"categories": {json.dumps(categories)}}}\n'.encode())


def _save(picture: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def _write_items(file: BinaryIO, items: Sequence[dict[str, Any]], *, first: bool) -> None:
    """Items of a JSON array, each on a line; in one go, so that an interruption leaves all of them or none."""
    lines = ",\n".join(json.dumps(item, separators=(",", ":"), allow_nan=False) for item in items)
    if lines:
        file.write((("\n" if first else ",\n") + lines).encode())
