"""Open labelled images of any format by a spec such as ``coco:train.json,images``."""

from __future__ import annotations

from pathlib import Path

from instancefcn.data.coco import load_coco
from instancefcn.data.label_maps import load_labels, load_sbd, load_voc
from instancefcn.data.labelme import load_labelme
from instancefcn.data.source import Source

SPECS = {
    "coco": "coco:ANNOTATIONS.json,IMAGES_DIR",
    "voc": "voc:VOC_DIR,SPLIT",
    "sbd": "sbd:DATASET_DIR,SPLIT",
    "labels": "labels:DIR",
    "labelme": "labelme:DIR",
}
PARTIAL_PREFIX = "partial+"


def open_source(spec: str) -> Source:
    """Open labelled images. Reads all labels, and the start and end of every image file.

    Args:
        spec: one of SPECS. With "partial+" before it (``partial+coco:...``), objects may be unlabelled, and what no
            instance covers is not known to be background.

    Raises:
        ValueError: no such format, a missing file or folder, or an annotation file that is not of its format.
    """
    partial = spec.startswith(PARTIAL_PREFIX)
    kind, _, rest = spec.removeprefix(PARTIAL_PREFIX).partition(":")
    if kind not in SPECS or not rest:
        raise ValueError(f"unknown data {spec!r}: give one of {', '.join(SPECS.values())}")
    if kind == "labels":
        return load_labels(Path(rest), name=spec, partial=partial)
    if kind == "labelme":
        return load_labelme(Path(rest), name=spec, partial=partial)
    first, _, second = rest.rpartition(",")
    if not first or not second:
        raise ValueError(f"{spec!r} needs two parts with a comma between: {SPECS[kind]}")
    if kind == "coco":
        return load_coco(Path(first), Path(second), name=spec, partial=partial)
    load_split = load_voc if kind == "voc" else load_sbd
    return load_split(Path(first), second, name=spec, partial=partial)
