"""A folder of label maps, whose pixels hold the number of their instance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from instancefcn.data.image_folder import images_by_stem
from instancefcn.data.images import inspect_image
from instancefcn.data.label_pixels import read_label_pages
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.files import existing_dir
from instancefcn.geometry.rle import Rle, encode_in_box


def load_labels(folder: Path) -> FileSource:
    """Open a folder of ``images/`` and ``masks/``; an image and its label map have the same stem. 0 is background.

    In a TIFF of several pages each page is one instance, with the number of the page from 1, so masks may overlap.

    Raises:
        ValueError: a folder is missing, or there is no image.
    """
    images = images_by_stem(existing_dir(folder / "images", "images"))
    masks = images_by_stem(existing_dir(folder / "masks", "label maps, one for each image"))
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
    return FileSource({1: "object"}, labels, problems)


def split_label_map(label_map: Integer[np.ndarray, "h w"]) -> tuple[list[int], list[Rle]]:
    """All labels except 0, ascending, and the mask of each. Takes time by the area of the instances' boxes."""
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
    stated, ids, rles = _split_file(masks[0])
    height, width = inspect_image(path, stated)
    return Labels(image_id, path.name, path, height, width, to_instances(ids, rles, [1] * len(ids)))


def _split_file(path: Path) -> tuple[tuple[int, int], list[int], list[Rle]]:
    """(height, width) of a label map, its instances' numbers and their masks."""
    first, *others = ((page.shape, *split_label_map(page)) for page in read_label_pages(path))
    if not others:
        return first
    for number, (_, labels, _) in enumerate([first, *others], start=1):
        if len(labels) != 1:
            raise ValueError(
                f"{path}: page {number} holds {len(labels)} labels: of several pages each has one instance's mask; "
                "save a label map of all as one page"
            )
    return first[0], list(range(1, len(others) + 2)), [rles[0] for _, _, rles in (first, *others)]
