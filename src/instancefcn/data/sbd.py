"""Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): instances and classes of VOC images in MATLAB files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.data.voc import CATEGORIES, label_image, read_split
from instancefcn.files import existing_dir, path_inside


def load_sbd(folder: Path, split: str, *, name: str, partial: bool = False) -> FileSource:
    """Open a split of the folder ``dataset`` of SBD's release, which has img, inst, cls and the lists of the splits.

    Raises:
        ValueError: a folder or the list of the split is missing, or scipy is.
    """
    if find_spec("scipy") is None:
        raise ValueError("SBD's .mat files need scipy: pip install 'instancefcn[train]'")
    images = existing_dir(folder / "img", "the images; give the folder `dataset` of SBD's release")
    instances = existing_dir(folder / "inst", "a .mat of instances per image")
    classes = existing_dir(folder / "cls", "a .mat of classes per image")
    labels: list[Labels] = []
    problems: list[Problem] = []
    for image_id, stem in enumerate(read_split(folder, split), start=1):
        path = images / f"{stem}.jpg"
        try:
            object_map = read_segmentation(path_inside(instances, f"{stem}.mat"), "GTinst")
            class_map = read_segmentation(path_inside(classes, f"{stem}.mat"), "GTcls")
            image, rejected = label_image(image_id, path_inside(images, f"{stem}.jpg"), object_map, class_map)
        except ValueError as error:
            problems.append(Problem.from_error(path, error))
        else:
            labels.append(image)
            problems += rejected
    return FileSource(name, partial, CATEGORIES, labels, problems)


def read_segmentation(path: Path, struct: str) -> Int32[np.ndarray, "h w"]:
    """The field ``Segmentation`` of a struct in a .mat file; its boundaries are not needed.

    Raises:
        ValueError: the file is missing or holds no such field.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        segmentation = loadmat(path, variable_names=[struct])[struct]["Segmentation"][0, 0]
        return np.asarray(segmentation).astype(np.int32)
    except Exception as error:  # the reader meets broken files with errors of every type
        raise ValueError(f"{path}: holds no {struct}.Segmentation that can be read: {error}") from error
