"""What ``instancefcn propose-corpus`` wrote, opened as labelled images (``corpus:DIR,IMAGES_DIR``)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.image_folder import has_image_name
from instancefcn.data.polygons import number_or_nan
from instancefcn.data.result_files import PARQUET, parquet_files, read_results
from instancefcn.data.segmentations import segmentation_to_rle, to_instances
from instancefcn.data.source import UNNAMED, FileSource, Labels, Problem
from instancefcn.file_names import path_inside
from instancefcn.geometry.rle import Rle
from instancefcn.values import whole_or_none

MANIFEST = "corpus.json"  # what the run was asked for
IMAGES, ERRORS = "images", "errors"  # folders of tables


def load_corpus(folder: Path, images_dir: Path | None) -> FileSource:
    """Open the results of a run over a corpus, best first within an image; of images of one name the first.

    Args:
        images_dir: that the file names of its images are relative to; None where no pixels are asked for.

    Raises:
        ValueError: the folder holds no results, or a table can't be read; names it.
        ModuleNotFoundError: pyarrow is not installed.
    """
    problems: list[Problem] = []
    every: list[Labels] = []
    for results in parquet_files(folder):
        images = folder / IMAGES / results.name
        if not images.is_file():
            raise ValueError(f"{images}: no such file, but {results} is there: copy the whole folder of the run")
        every += _labels(results, images, images_dir, problems)
    every.sort(key=lambda labels: labels.image_id)
    for table in sorted((folder / ERRORS).glob(f"*{PARQUET}")):
        problems += [Problem(str(row["file_name"]), None, str(row["reason"])) for row in read_results(table)]
    firsts: dict[str, Labels] = {}
    for labels in every:
        if (first := firsts.setdefault(labels.file_name, labels)) is not labels:
            both = f"images {first.image_id} and {labels.image_id} have this name: the first is taken"
            problems.append(Problem(labels.file_name, None, both))
    return FileSource({1: UNNAMED}, list(firsts.values()), problems)


def images_of_corpus(folder: Path) -> Iterator[tuple[int, str, Path]]:
    """Id and name of each image file that a run over a corpus lists, and the table that says so.

    Names that a key column gives need not be those of files: these are left out.

    Args:
        folder: of the run, or its folder of results.

    Raises:
        ValueError: the folder holds no results, or a table can't be read; names it.
    """
    for results in parquet_files(folder):
        images = results.parent.parent / IMAGES / results.name
        for row in read_results(images) if images.is_file() else ():
            image_id, name = whole_or_none(row.get("image_id")), row.get("file_name")
            if image_id is not None and isinstance(name, str) and has_image_name(name):
                yield image_id, name, images


def _labels(results: Path, images: Path, images_dir: Path | None, problems: list[Problem]) -> Iterator[Labels]:
    """The images of one block, with what was found in each."""
    found: dict[int | None, list[Mapping[str, Any]]] = defaultdict(list)
    for result in read_results(results):
        found[whole_or_none(result.get("image_id"))].append(result)
    for row in read_results(images):
        image_id, width, height = (whole_or_none(row.get(key)) for key in ("image_id", "width", "height"))
        if image_id is None or width is None or height is None or not isinstance(row.get("file_name"), str):
            raise ValueError(f"{images}: a row has no image_id, file_name, width and height: {row}")
        file_name = row["file_name"]
        rles: list[Rle] = []
        scores: list[float] = []
        for rank, result in enumerate(found.pop(image_id, ()), start=1):
            try:
                score = number_or_nan(result.get("score"))
                if not math.isfinite(score):
                    raise ValueError(f"score {result.get('score')!r} is no number")
                rles.append(segmentation_to_rle(result.get("segmentation"), height, width))
                scores.append(score)
            except ValueError as error:
                problems.append(Problem(file_name, rank, str(error)))
        instances = to_instances(range(1, len(rles) + 1), rles, [1] * len(rles))
        path = None
        if images_dir is not None:
            try:
                path = path_inside(images_dir, file_name)
            except ValueError as error:
                problems.append(Problem(str(images), None, f"image {image_id} is left out: {error}"))
                continue
        yield Labels(image_id, file_name, path, height, width, instances, scores=np.array(scores, dtype=float))
    for image_id, left in found.items():
        problems.append(
            Problem(str(results), None, f"{len(left)} results of image {image_id}, which is not in {images}")
        )
