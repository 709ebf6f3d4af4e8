"""Open labelled images of any format by a spec such as ``coco:train.json,images``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from instancefcn.data.coco import load_coco
from instancefcn.data.label_maps import load_labels, load_sbd, load_voc
from instancefcn.data.labelme import load_labelme
from instancefcn.data.source import FileSource

SPECS = {
    "coco": "coco:ANNOTATIONS.json,IMAGES_DIR",
    "voc": "voc:VOC_DIR,SPLIT",
    "sbd": "sbd:DATASET_DIR,SPLIT",
    "labels": "labels:DIR",
    "labelme": "labelme:DIR",
}
PARTIAL_PREFIX = "partial+"


def open_source(spec: str) -> FileSource:
    """Open labelled images. Reads all labels, and the start and end of every image file.

    Args:
        spec: one of SPECS. With "partial+" before it (``partial+coco:...``), objects may be unlabelled, and what no
            instance covers is not known to be background.

    Raises:
        ValueError: no such format, a missing file or folder, or an annotation file that is not of its format.
    """
    kind, _, place = spec.removeprefix(PARTIAL_PREFIX).partition(":")
    if kind not in SPECS or not place:
        raise ValueError(f"unknown data {spec!r}: give one of {', '.join(SPECS.values())}")
    first, _, second = place.rpartition(",")
    if "," in SPECS[kind] and not (first and second):
        raise ValueError(f"{spec!r} needs two parts with a comma between: {SPECS[kind]}")
    if kind == "labels":
        source = load_labels(Path(place))
    elif kind == "labelme":
        source = load_labelme(Path(place))
    elif kind == "coco":
        source = load_coco(Path(first), Path(second))
    else:
        source = (load_voc if kind == "voc" else load_sbd)(Path(first), second)
    return replace(source, name=spec, partial=spec.startswith(PARTIAL_PREFIX))
