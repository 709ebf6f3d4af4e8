"""A folder of label maps, whose pixels hold the number of their instance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage

from instancefcn.cleaning import connected_parts
from instancefcn.data.image_folder import images_below, matched
from instancefcn.data.images import inspect_image
from instancefcn.data.label_pixels import read_label_pages
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.folders import existing_dir
from instancefcn.geometry.rle import Rle, encode_in_box

SPECK = 10  # pixels; a smaller part is noise, and does not tell a foreground mask
FOREGROUND = (255, 65535)  # values of masks, which the number of an only object hardly has
MOST_NUMBERS = 2**20  # of labels without gaps


def load_labels(folder: Path, *, split_parts: bool = False) -> FileSource:
    """Open a folder of ``images/`` and ``masks/``; an image and its label map have the same stem. 0 is background.

    Both are searched to the bottom: ``images/s/a.jpg`` belongs to ``masks/s/a.png``, or to the only ``a`` of all masks.
    In a TIFF of several pages each page is one instance, with the number of the page from 1, so masks may overlap.

    Foreground masks, in which all objects have one value, are problems: where a map has 0 and 255 (or 65535) alone, and
    the foreground has several separate parts; and where at least half of the labels of the whole folder have
    several, every map with such a label.

    Args:
        split_parts: each connected part of a label is an instance, numbered in order of its label and then of its first
            row; pixels are neighbours by sides and corners.

    Raises:
        ValueError: a folder is missing, or there is no image.
    """
    images, problems = images_below(existing_dir(folder / "images", "images"))
    masks, unread = images_below(existing_dir(folder / "masks", "label maps, one for each image"))
    problems += unread
    if not images:
        listed = "".join(f"; {problem}" for problem in problems[:1])
        raise ValueError(f"{folder / 'images'}: holds no image, nor does a folder in it{listed}")
    chosen = matched(images, masks)
    taken = {mask for paths in chosen.values() for mask in paths}
    problems += [
        Problem(str(path), None, f"no image of this name in {folder / 'images'}")
        for paths in masks.values()
        for path in paths
        if path not in taken
    ]
    pairs: list[tuple[Labels, dict[int, int]]] = []
    for image_id, (key, (path, *others)) in enumerate(images.items(), start=1):
        problems += [Problem(str(other), None, f"{path.name} has the same stem and is taken") for other in others]
        try:
            pairs.append(_load_pair(image_id, path.relative_to(folder / "images"), path, chosen[key], split_parts))
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
    flagged = {} if split_parts else _foreground_masks([parts for _, parts in pairs])
    problems += [Problem(str(pairs[index][0].path), None, reason) for index, reason in flagged.items()]
    kept = [labels for index, (labels, _) in enumerate(pairs) if index not in flagged]
    return FileSource({1: "object"}, kept, problems)


def split_label_map(label_map: Integer[np.ndarray, "h w"]) -> tuple[list[int], list[Rle]]:
    """All labels except 0, ascending, and the mask of each. Takes time by the area of the instances' boxes."""
    found = {label: encode_in_box(mask, *corner, *label_map.shape) for label, mask, *corner in _masks(label_map)}
    return list(found), list(found.values())


def _masks(label_map: Integer[np.ndarray, "h w"]) -> Iterator[tuple[int, Bool[np.ndarray, "_ _"], int, int]]:
    """Each label except 0, ascending, with its mask in its tight box, and the box's top and left."""
    numbers = np.arange(min(int(label_map.max(initial=0)), MOST_NUMBERS) + 1)
    if len(numbers) > MOST_NUMBERS:  # each number takes memory, those between the labels too
        numbers = np.union1d(label_map, np.zeros(1, label_map.dtype))
        label_map = np.searchsorted(numbers, label_map)
    for index, box in enumerate(ndimage.find_objects(label_map), start=1):
        if box is not None:
            yield int(numbers[index]), label_map[box] == index, box[0].start, box[1].start


def _instances(label_map: Integer[np.ndarray, "h w"], split_parts: bool) -> tuple[list[Rle], dict[int, int]]:
    """The labels of a map, or every connected part of them; and how many parts of each label are no specks."""
    rles: list[Rle] = []
    counts: dict[int, int] = {}
    for label, mask, top, left in _masks(label_map):
        parts, _ = connected_parts(mask, corners=True)
        pieces = _masks(parts) if split_parts else [(label, mask, 0, 0)]
        rles += [encode_in_box(piece, top + y, left + x, *label_map.shape) for _, piece, y, x in pieces]
        counts[label] = int((np.bincount(parts.ravel())[1:] >= SPECK).sum())
    return rles, counts


def _load_pair(
    image_id: int, name: Path, path: Path, masks: list[Path], split_parts: bool
) -> tuple[Labels, dict[int, int]]:
    """The labels of an image, and the parts of each, where an object may be known by its number alone."""
    if len(masks) != 1:
        found = "no label map" if not masks else f"{len(masks)} label maps ({', '.join(mask.name for mask in masks)})"
        raise ValueError(f"{found} in masks/ for it: it takes one of the same stem")
    pages = [(page.shape, *_instances(page, split_parts)) for page in read_label_pages(masks[0])]
    for number, (_, _, parts) in enumerate(pages, start=1):
        if len(pages) > 1 and len(parts) != 1:
            raise ValueError(
                f"{masks[0]}: page {number} holds {len(parts)} labels: of several pages each has one instance's mask; "
                "save a label map of all as one page"
            )
    rles = [rle for _, of_page, _ in pages for rle in of_page]
    stated, _, parts = pages[0]
    numbered = parts if len(pages) == 1 and not split_parts else {}
    height, width = inspect_image(path, stated)
    instances = to_instances(list(numbered) or range(1, len(rles) + 1), rles, [1] * len(rles))
    return Labels(image_id, name.as_posix(), path, height, width, instances), numbered


def _foreground_masks(every: list[dict[int, int]]) -> dict[int, str]:
    """Which label maps give no object a number of its own, and what to do."""
    mend = "number the objects, or give --split-parts"
    counts = [count for parts in every for count in parts.values()]
    several = sum(count > 1 for count in counts)
    one_value = len({label for parts in every for label in parts}) == 1
    usual = 2 * several >= len(counts) if one_value else 2 * several > len(counts)  # then it is no chance
    flagged: dict[int, str] = {}
    for index, parts in enumerate(every):
        apart = {label: count for label, count in parts.items() if count > 1}
        if len(parts) == 1 and apart and (usual or apart.keys() & set(FOREGROUND)):
            ((value, count),) = apart.items()
            flagged[index] = f"one value ({value}), {count} separate parts: a foreground mask, not a label map: {mend}"
        elif apart and usual:
            label, count = max(apart.items(), key=lambda item: item[1])
            flagged[index] = f"most labels have separate parts ({label} has {count}): classes, not objects: {mend}"
    return flagged
