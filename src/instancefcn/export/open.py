"""Open the writer of a format by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from instancefcn.export.coco import CocoWriter
from instancefcn.export.cvat import CvatWriter
from instancefcn.export.geojson import GeoJsonWriter
from instancefcn.export.label_maps import LabelMapWriter
from instancefcn.export.labelme import LabelmeWriter
from instancefcn.export.labelstudio import LabelStudioWriter
from instancefcn.export.writer import OneFileWriter, Place, Writer
from instancefcn.export.xanylabeling import XAnyLabelingWriter
from instancefcn.export.yolo import YoloWriter

_WRITERS: dict[str, type[Writer]] = {
    "coco": CocoWriter,
    "cvat": CvatWriter,
    "labelstudio": LabelStudioWriter,
    "labelme": LabelmeWriter,
    "xanylabeling": XAnyLabelingWriter,
    "yolo": YoloWriter,
    "geojson": GeoJsonWriter,
    "labels": LabelMapWriter,
}
FORMS = tuple(_WRITERS)


def is_one_file(form: str) -> bool:
    """Whether a format is one file for all images."""
    return issubclass(_WRITERS[form], OneFileWriter)


def open_writer(
    form: str,
    out: Path,
    categories: Mapping[int, str],
    tolerance: float = 1.0,
    *,
    polygons: bool = False,
    names: Sequence[str] = (),
    read: Sequence[Path] = (),
) -> Writer:
    """Open a writer: ``add`` the labels of each image, then ``close``, then show the user its ``notes``.

    Args:
        form: one of FORMS.
        out: folder to write to, made where there is none. A format of one file takes a file that ends in ``.json``, or
            a folder, in which the file is called after the format (``cvat.json``).
        categories: names by id.
        tolerance: pixels by which outlines may shift when they become polygons.
        polygons: of "coco", to write masks without holes as polygons.
        names: file names of all images, where they are known: images that share a stem then get files of their own.
        read: files and folders that the labels were read from, in which nothing is written over.

    Raises:
        ValueError: no such format, or ``out`` is a file where a folder is needed.

    Example:
        >>> source = open_source("labels:nuclei/val")  # doctest: +SKIP
        >>> writer = open_writer("labelme", Path("nuclei-labelme"), source.categories)  # doctest: +SKIP
        >>> for index in range(len(source)):  # doctest: +SKIP
        ...     writer.add(source.labels(index))
        >>> writer.close()  # doctest: +SKIP
    """
    if form not in FORMS:
        raise ValueError(f"unknown format {form!r}: give one of {', '.join(FORMS)}")
    if out.suffix != ".json":
        if out.is_file():
            raise ValueError(f"{out}: is a file: give a folder{' or FILE.json' * is_one_file(form)}")
        out = out / f"{form}.json" if is_one_file(form) else out
    elif not is_one_file(form):
        raise ValueError(f"{out}: {form} writes a file for each image: give a folder")
    place = Place(out, tolerance, names, read)
    return CocoWriter(place, categories, polygons=polygons) if form == "coco" else _WRITERS[form](place, categories)
