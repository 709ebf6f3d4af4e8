"""Images that labelme's files embed, as files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from instancefcn.data.images import opened
from instancefcn.data.labelme import embedded_image, read_labelme_json
from instancefcn.data.source import Labels

SUFFIXES = {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}  # others are called as their format is


def place_embedded(every: Sequence[Labels], folder: Path) -> tuple[list[Labels], dict[Path, Path]]:
    """Give embedded images places in a folder, under the stems of the files that embed them.

    Returns:
        The labels, those of embedded images with the new path and name; and for each new path the file whose image
        (``read_embedded``) is to be written there.
    """
    taken = {labels.file_name for labels in every}
    placed: list[Labels] = []
    sources: dict[Path, Path] = {}
    for labels in every:
        if labels.path is None or labels.path.suffix.lower() != ".json":
            placed.append(labels)
            continue
        with opened(read_embedded(labels.path)) as image:
            suffix = SUFFIXES.get(str(image.format), f".{str(image.format).lower()}")
        stem = PurePosixPath(labels.file_name).with_suffix("")
        name, number = f"{stem}{suffix}", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name)
        sources[folder / name] = labels.path
        placed.append(replace(labels, file_name=name, path=folder / name))
    return placed, sources


def read_embedded(path: Path) -> bytes:
    """Content of the image file that one of labelme's files embeds; a ValueError where there is none."""
    return embedded_image(read_labelme_json(path))
