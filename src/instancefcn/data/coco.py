"""COCO files opened as labelled images, and any labelled images written as a COCO table."""

from __future__ import annotations

import gc
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.data.coco_cache import CocoCache, is_large
from instancefcn.data.coco_entries import CocoAnnotation, CocoImage
from instancefcn.data.coco_reader import CocoReader
from instancefcn.data.coco_table import parse_table
from instancefcn.data.images import inspect_image
from instancefcn.data.segmentations import to_instances
from instancefcn.data.source import UNNAMED, FileSource, Labels, Problem, Source
from instancefcn.files import parse_json, read_whole
from instancefcn.folders import existing_dir
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import Rle, area, to_json


def load_coco(annotations: Path, images_dir: Path, *, anew: bool = False) -> FileSource:
    """Open a COCO file. What a large one gave is kept, and taken where nothing has changed since (``coco_cache``).

    Args:
        anew: look at everything, whatever was kept.

    Raises:
        ValueError: the file or the folder is missing, or the file is not of COCO's form.
    """
    if not anew and is_large(annotations) and (found := CocoCache(annotations, images_dir).load()) is not None:
        return found
    content = read_whole(annotations)
    digest = hashlib.sha256(content).digest()
    with _uncollected():
        table = parse_table(content) if is_large(annotations) else None
    reader = CocoReader(parse_json(content, annotations) if table is None else table, str(annotations))
    del content, table
    with _uncollected():
        source, stated = _read(reader, annotations, images_dir)
    del reader  # and its table
    if is_large(annotations):
        CocoCache(annotations, images_dir, digest).store(source, stated)
    return source


def coco_to_source(table: Any, annotations: Path, images_dir: Path) -> FileSource:
    """Open the table of a COCO file; ``annotations`` names it in problems.

    Raises:
        ValueError: the folder is missing, or the table is not of COCO's form.
    """
    return _read(CocoReader(table, str(annotations)), annotations, images_dir)[0]


def _read(reader: CocoReader, annotations: Path, images_dir: Path) -> tuple[FileSource, list[CocoImage]]:
    """All labels, and the images that were looked for."""
    existing_dir(images_dir, f"the images of {annotations}")
    categories = reader.categories()
    images: list[CocoImage] = []
    stated = reader.images(images_dir)
    sizeless = sum(image.size is None for image in stated)
    if sizeless:
        mend = "`instancefcn evaluate` needs them, and `instancefcn convert` writes them"
        reader.notes.append(Problem(str(annotations), None, f"{sizeless} images have no width and height: {mend}"))
    codes = reader.codes(stated)  # while files are looked at
    for image in stated:
        assert image.path is not None
        try:
            images.append(replace(image, size=inspect_image(image.path, image.size)))
        except ValueError as error:
            reader.lose_image(image.place, image.image_id, error, path=image.path)
    annotations_of: dict[int, list[CocoAnnotation]] = defaultdict(list)
    instances = reader.annotations(images, categories, codes=codes)
    for annotation in instances:
        annotations_of[annotation.image_id].append(annotation)
    labels = [_labels(image, annotations_of[image.image_id], reader.rejected[image.image_id]) for image in images]
    names = (categories | reader.unlisted) or {1: UNNAMED}
    return FileSource(names, labels, reader.problems, notes=reader.notes), stated


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python not look for circles among millions of objects that have none, which takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def source_to_coco(source: Source) -> dict[str, Any]:
    """COCO table of any labelled images, ready for ``json.dump``.

    Masks are compressed RLE, as text. What is not to be judged is written as crowds, which COCO's tools count neither
    as hit nor as miss: they know no other mark. So are the regions of rejected instances. Annotations get new ids from
    1 on: pycocotools takes a match with annotation 0 for none, and labels of label maps are unique within their image
    only.

    Example:
        >>> json.dump(source_to_coco(open_source("labels:nuclei/val")), file)  # doctest: +SKIP
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(len(source)):
        labels = source.labels(index)
        size = {"width": labels.width, "height": labels.height}
        images.append({"id": labels.image_id, "file_name": labels.file_name} | size)
        instances, sound = labels.with_rejected(), len(labels.instances)
        boxes_xywh = xyxy_to_xywh(instances.boxes_xyxy).tolist()
        for i, rle in enumerate(instances.rles):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": labels.image_id,
                    "category_id": int(instances.category_ids[i]) if i < sound else next(iter(source.categories), 1),
                    "segmentation": to_json(rle),
                    "bbox": boxes_xywh[i],
                    "area": int(area(rle)),
                    "iscrowd": int(not instances.judged[i]),
                    "ignore": int(instances.ignore[i]),
                }
            )
    categories = [{"id": category_id, "name": name} for category_id, name in source.categories.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _labels(image: CocoImage, annotations: Sequence[CocoAnnotation], rejected: Sequence[Rle | None]) -> Labels:
    assert image.path is not None
    assert image.size is not None
    instances = to_instances(
        [annotation.annotation_id for annotation in annotations],
        [annotation.region for annotation in annotations if not isinstance(annotation.region, np.ndarray)],
        [annotation.category_id for annotation in annotations],
        [annotation.crowd for annotation in annotations],
        [annotation.ignore for annotation in annotations],
    )
    return Labels(
        image.image_id,
        image.file_name,
        image.path,
        *image.size,
        instances,
        rejected=[region for region in rejected if region is not None],
        partial=any(region is None for region in rejected),
    )
