"""Open labelled images of any format by a spec such as ``coco:train.json,images``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from instancefcn.data.coco import load_coco
from instancefcn.data.corpus import load_corpus
from instancefcn.data.crowds import count_crowds_of_one_part
from instancefcn.data.cvat import load_cvat
from instancefcn.data.geojson import load_geojson
from instancefcn.data.label_maps import load_labels
from instancefcn.data.labelme import load_labelme
from instancefcn.data.labelstudio import load_labelstudio
from instancefcn.data.source import FileSource
from instancefcn.data.voc import load_sbd, load_voc
from instancefcn.data.yolo import load_yolo
from instancefcn.folders import refuse_zip

SPECS = {
    "coco": "coco:ANNOTATIONS.json,IMAGES_DIR",
    "cvat": "cvat:FILE.json,IMAGES_DIR",
    "labelstudio": "labelstudio:EXPORT.json,IMAGES_DIR",
    "voc": "voc:VOC_DIR,SPLIT",
    "sbd": "sbd:DATASET_DIR,SPLIT",
    "labels": "labels:DIR",
    "labelme": "labelme:DIR[,IMAGES_DIR]",
    "xanylabeling": "xanylabeling:DIR[,IMAGES_DIR]",
    "yolo": "yolo:DIR,SPLIT",
    "geojson": "geojson:DIR",
    "corpus": "corpus:DIR[,IMAGES_DIR]",
}
PARTIAL_PREFIX = "partial+"
ONE_FILE = ("coco", "cvat", "labelstudio")  # formats of one file, which lists images that nobody has looked at, too


def open_source(
    spec: str, *, split_parts: bool = False, crowds_of_one_part: bool = False, anew: bool = False
) -> FileSource:
    """Open labelled images. Reads all labels, and the start and end of every image file.

    What a COCO file of 20 MB and more gave is kept in the user's cache folder, and taken again while the annotations,
    the size and time of change of each image file, and this package are the same.

    Args:
        spec: one of SPECS. With "partial+" before it (``partial+coco:...``), objects may be unlabelled, and what no
            instance covers is not known to be background.
        split_parts: of label maps (``labels:``), each connected part of a label is an instance: for foreground masks.
        crowds_of_one_part: a crowd whose mask is one connected part is an instance (``crowds``).
        anew: look at everything, whatever was kept.

    Raises:
        ValueError: no such format, a missing file or folder, or an annotation file that is not of its format.

    Example:
        >>> source = open_source("cvat:instances_default.json,photos")  # doctest: +SKIP
        >>> len(source), source.problems  # doctest: +SKIP
    """
    kind, _, place = spec.removeprefix(PARTIAL_PREFIX).partition(":")
    if kind not in SPECS or not place:
        raise ValueError(f"unknown data {spec!r}: give one of {', '.join(SPECS.values())}")
    for part in places_of(spec):
        refuse_zip(part)
    first, second = _divided(place)
    whole = kind == "cvat" and Path(place).is_dir()  # an export's folder
    needs_two = "," in SPECS[kind] and "[" not in SPECS[kind] and not whole
    if needs_two and not (first and second):
        raise ValueError(f"{spec!r} needs two parts with a comma between: {SPECS[kind]}")
    apart = bool(first and second) and not Path(place).is_dir()  # labels and images in two folders
    match kind:
        case "coco":
            source = load_coco(Path(first), Path(second), anew=anew)
        case "cvat":
            source = load_cvat(Path(place), None) if whole else load_cvat(Path(first), Path(second))
        case "labelstudio":
            source = load_labelstudio(Path(first), Path(second))
        case "voc":
            source = load_voc(Path(first), second)
        case "sbd":
            source = load_sbd(Path(first), second)
        case "yolo":
            source = load_yolo(Path(first), second)
        case "labels":
            source = load_labels(Path(place), split_parts=split_parts)
        case "geojson":
            source = load_geojson(Path(place))
        case "corpus":
            source = load_corpus(Path(first), Path(second)) if apart else load_corpus(Path(place), None)
        case _:  # labelme's form
            source = load_labelme(Path(first), Path(second)) if apart else load_labelme(Path(place))
    source = count_crowds_of_one_part(source) if crowds_of_one_part else source
    return replace(source, name=spec, partial=spec.startswith(PARTIAL_PREFIX))


def lists_all_images(spec: str) -> bool:
    """Whether a source of ``open_source`` may have images that nobody has looked at."""
    return spec.removeprefix(PARTIAL_PREFIX).partition(":")[0] in ONE_FILE


def places_of(spec: str) -> list[Path]:
    """Files and folders that a spec of ``open_source`` may name, whether they are there or not."""
    _, _, place = spec.partition(":")
    return [Path(part) for part in (place, *_divided(place)) if part]


def _divided(place: str) -> tuple[str, str]:
    """The two parts of a place: at the last comma between two paths that are there, or else at the last one of all."""
    words = place.split(",")
    ways = [(",".join(words[:end]), ",".join(words[end:])) for end in reversed(range(1, len(words)))]
    there = (way for way in ways if all(part and Path(part).exists() for part in way))
    return next(there, ways[0] if ways else ("", place))
