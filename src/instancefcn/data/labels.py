"""Label maps: ``images/`` beside ``masks/``, in which a pixel holds 0 for background or the number of its instance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from instancefcn.data.images import image_extensions, inspect_image, read_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.files import existing_dir
from instancefcn.geometry.rle import Rle, encode_in_box


def load_labels(folder: Path, *, name: str, partial: bool = False) -> FileSource:
    """Open a folder of images and label maps; the two of a pair have the same stem.

    Raises:
        ValueError: a folder is missing, or there is no image.
    """
    images = files_by_stem(existing_dir(folder / "images", "images"))
    masks = files_by_stem(existing_dir(folder / "masks", "label maps, one for each image"))
    if not images:
        raise ValueError(f"{folder / 'images'}: holds no image")
    problems = [
        Problem(str(path), None, f"no image of this name in {folder / 'images'}")
        for stem, paths in masks.items()
        for path in paths
        if stem not in images
    ]
    labels: list[Labels] = []
    for image_id, (stem, (path, *others)) in enumerate(images.items(), start=1):
        problems += [Problem(str(other), None, f"{path.name} has the same stem and is taken") for other in others]
        try:
            labels.append(_load_pair(image_id, path, masks.get(stem, [])))
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
    return FileSource(name, partial, {1: "object"}, labels, problems)


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Image files of a folder by their stem, in order of name."""
    readable = image_extensions()
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in readable and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files


def split_label_map(label_map: Integer[np.ndarray, "h w"]) -> tuple[list[int], list[Rle]]:
    """Labels but 0, in order, and the mask of each. Costs the area of the instances' boxes."""
    height, width = label_map.shape
    rows, columns = np.nonzero(label_map)
    if not len(rows):
        return [], []
    order = np.argsort(label_map[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    labels, starts = np.unique(label_map[rows, columns], return_index=True)
    top, left = np.minimum.reduceat(rows, starts), np.minimum.reduceat(columns, starts)
    bottom, right = np.maximum.reduceat(rows, starts) + 1, np.maximum.reduceat(columns, starts) + 1
    rles = [
        encode_in_box(label_map[y0:y1, x0:x1] == label, int(y0), int(x0), height, width)
        for label, y0, x0, y1, x1 in zip(labels, top, left, bottom, right, strict=True)
    ]
    return labels.tolist(), rles


def _load_pair(image_id: int, path: Path, masks: list[Path]) -> Labels:
    if len(masks) != 1:
        found = "no label map" if not masks else f"{len(masks)} label maps ({', '.join(mask.name for mask in masks)})"
        raise ValueError(f"{found} in masks/ for it: it takes one of the same stem")
    label_map = read_label_map(masks[0])
    height, width = inspect_image(path, label_map.shape)
    ids, rles = split_label_map(label_map)
    return Labels(image_id, path.name, path, height, width, to_instances(ids, rles, [1] * len(ids)))
