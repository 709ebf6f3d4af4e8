"""PASCAL VOC segmentation: SegmentationObject and SegmentationClass, palette images in which 255 is void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from instancefcn.data.images import inspect_image, read_label_map
from instancefcn.data.labels import split_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.files import existing_dir, path_inside
from instancefcn.geometry.rle import encode

VOID = 255
_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CATEGORIES: dict[int, str] = dict(enumerate(_NAMES, start=1))


def load_voc(folder: Path, split: str, *, name: str, partial: bool = False) -> FileSource:
    """Open a split of a folder such as VOCdevkit/VOC2012.

    Raises:
        ValueError: a folder or the list of the split is missing.
    """
    images = existing_dir(folder / "JPEGImages", "the images; give a folder such as VOCdevkit/VOC2012")
    objects = existing_dir(folder / "SegmentationObject", "a palette PNG per image")
    classes = existing_dir(folder / "SegmentationClass", "a palette PNG per image")
    labels: list[Labels] = []
    problems: list[Problem] = []
    for image_id, stem in enumerate(read_split(folder / "ImageSets" / "Segmentation", split), start=1):
        path = images / f"{stem}.jpg"
        try:
            maps = [read_label_map(path_inside(directory, f"{stem}.png")) for directory in (objects, classes)]
            image, rejected = label_image(image_id, path_inside(images, f"{stem}.jpg"), *maps)
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
        else:
            labels.append(image)
            problems += rejected
    return FileSource(name, partial, CATEGORIES, labels, problems)


def read_split(folder: Path, split: str) -> list[str]:
    """Stems of the images of a split: the first word of every line of its list.

    Raises:
        ValueError: there is no such list, or nothing in it.
    """
    path = path_inside(existing_dir(folder, "lists of images"), f"{split}.txt")
    if not path.is_file():
        others = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise ValueError(f"{path}: no such list of images; splits here: {others}")
    stems = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not stems:
        raise ValueError(f"{path}: lists no image")
    return list(dict.fromkeys(stems))


def label_image(
    image_id: int, path: Path, object_map: Integer[np.ndarray, "h w"], class_map: Integer[np.ndarray, "h2 w2"]
) -> tuple[Labels, list[Problem]]:
    """Labels of one image, an instance's category being the class of most of its pixels; and what was rejected.

    Raises:
        ValueError: the image cannot be read, or the three are not of one size.
    """
    if class_map.shape != object_map.shape:
        raise ValueError(
            f"its map of classes {class_map.shape} is not of the size of its map of objects {object_map.shape}"
        )
    height, width = inspect_image(path, object_map.shape)
    if object_map.max() > VOID or class_map.max() > VOID or min(object_map.min(), class_map.min()) < 0:
        raise ValueError(f"its maps hold values outside 0..{VOID}")
    void = object_map == VOID
    ids, rles = split_label_map(np.where(void, 0, object_map))
    votes = np.bincount((object_map * 256 + class_map).ravel(), minlength=256 * 256).reshape(256, 256)
    votes[:, [0, VOID]] = 0
    category_ids = [int(votes[label].argmax()) for label in ids]
    kept = [i for i, category_id in enumerate(category_ids) if category_id in CATEGORIES]
    problems = [
        Problem(str(path), label, f"class {category_id} is none of VOC's: the map of classes does not name this object")
        for label, category_id in zip(ids, category_ids, strict=True)
        if category_id not in CATEGORIES
    ]
    instances = to_instances([ids[i] for i in kept], [rles[i] for i in kept], [category_ids[i] for i in kept])
    return Labels(image_id, path.name, path, height, width, instances, encode(void) if void.any() else None), problems
