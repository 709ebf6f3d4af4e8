"""PASCAL VOC and SBD: images of VOC's classes, with a map of their objects and a map of their classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer

from instancefcn.data.images import inspect_image
from instancefcn.data.label_maps import split_label_map
from instancefcn.data.label_pixels import read_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.file_names import path_inside
from instancefcn.files import read_lines
from instancefcn.folders import existing_dir
from instancefcn.geometry.rle import encode

VOID = 255
_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CATEGORIES: dict[int, str] = dict(enumerate(_NAMES, start=1))


def load_voc(folder: Path, split: str) -> FileSource:
    """Open a split of a folder such as VOCdevkit/VOC2012: palette images in which 255 is void.

    Raises:
        ValueError: a folder or the list of the split is missing.
    """
    images = existing_dir(folder / "JPEGImages", "the images; give a folder such as VOCdevkit/VOC2012")
    kinds = ("SegmentationObject", "SegmentationClass")
    folders = [existing_dir(folder / kind, "a palette PNG per image") for kind in kinds]
    stems = read_split(folder / "ImageSets" / "Segmentation", split, images)

    def read_maps(stem: str) -> list[np.ndarray]:
        return [read_label_map(path_inside(maps, f"{stem}.png")) for maps in folders]

    return _load_split(images, stems, read_maps)


def load_sbd(folder: Path, split: str) -> FileSource:
    """Open a split of the folder ``dataset`` of SBD's release, which has img, inst, cls and the lists of the splits.

    Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): instances and classes of VOC images in MATLAB files.

    Raises:
        ValueError: a folder or the list of the split is missing.
    """
    images = existing_dir(folder / "img", "the images; give the folder `dataset` of SBD's release")
    folders = [existing_dir(folder / kind, "a .mat per image") for kind in ("inst", "cls")]

    def read_maps(stem: str) -> list[np.ndarray]:
        return [_read_mat(path_inside(maps, f"{stem}.mat"), f"GT{maps.name}") for maps in folders]

    return _load_split(images, read_split(folder, split, images), read_maps)


def read_split(folder: Path, split: str, images: Path) -> list[str]:
    """Stems of the images of a split: of each line of its list the whole, if that is an image, or else the first word.

    Such lists have a flag behind the stem (``2007_000027 1``), and names from elsewhere have blanks.
    """
    path = path_inside(existing_dir(folder, "lists of images"), f"{split}.txt")
    if not path.is_file():
        others = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise ValueError(f"{path}: no such list of images; splits here: {others}")
    lines = [line.strip() for line in read_lines(path) if line.strip()]
    if not lines:
        raise ValueError(f"{path}: lists no image")
    stems = (line if os.path.isfile(images / f"{line}.jpg") else line.split()[0] for line in lines)
    return list(dict.fromkeys(stems))


def _label_image(
    image_id: int, path: Path, object_map: Integer[np.ndarray, "h w"], class_map: Integer[np.ndarray, "h2 w2"]
) -> tuple[Labels, list[Problem]]:
    """Labels of one image, and the objects that were rejected. An object has the class of most of its pixels."""
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
    category_ids = votes[ids].argmax(1).tolist()
    kept = [i for i, category_id in enumerate(category_ids) if category_id in CATEGORIES]
    lost = [i for i in range(len(ids)) if i not in kept]
    problems = [
        Problem(
            str(path), ids[i], f"class {category_ids[i]} is none of VOC's: the map of classes does not name this object"
        )
        for i in lost
    ]
    instances = to_instances([ids[i] for i in kept], [rles[i] for i in kept], [category_ids[i] for i in kept])
    void_rle, rejected = encode(void) if void.any() else None, [rles[i] for i in lost]
    return Labels(image_id, path.name, path, height, width, instances, void_rle, rejected), problems


def _read_mat(path: Path, struct: str) -> Int32[np.ndarray, "h w"]:
    """The field ``Segmentation`` of a struct in a .mat file; its boundaries are not needed."""
    from scipy.io import loadmat

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        segmentation = loadmat(path, variable_names=[struct])[struct]["Segmentation"][0, 0]
        return np.asarray(segmentation).astype(np.int32)
    except Exception as error:  # the reader meets broken files with errors of every type
        raise ValueError(f"{path}: holds no {struct}.Segmentation that can be read: {error}") from error


def _load_split(images: Path, stems: list[str], read_maps: Callable[[str], list[np.ndarray]]) -> FileSource:
    """Images of VOC's classes; ``read_maps`` gives the map of objects and the map of classes of a stem."""
    labels: list[Labels] = []
    problems: list[Problem] = []
    for image_id, stem in enumerate(stems, start=1):
        try:
            image, rejected = _label_image(image_id, path_inside(images, f"{stem}.jpg"), *read_maps(stem))
        except ValueError as error:
            problems.append(Problem.from_error(images / f"{stem}.jpg", error))
        else:
            labels.append(image)
            problems += rejected
    return FileSource(CATEGORIES, labels, problems)
