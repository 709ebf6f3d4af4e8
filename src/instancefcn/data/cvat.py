"""CVAT's exports: "COCO 1.0", and "CVAT for images 1.1" (XML)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instancefcn.data.coco import coco_to_source
from instancefcn.data.cvat_xml import CROWD_NAMES, find_in_subset, load_cvat_xml
from instancefcn.data.source import FileSource
from instancefcn.files import read_json
from instancefcn.folders import existing_dir

EXPORT = "annotations/instances_*.json or annotations.xml, and images/: an unpacked export of CVAT's"


def load_cvat(place: Path, images_dir: Path | None) -> FileSource:
    """Open an export of a task, a job or a project.

    CVAT writes ``iscrowd`` 1 for every mask, so an RLE counts as an instance, unless an attribute ``crowd`` or
    ``iscrowd`` of it is true, or the file shows by an RLE with ``iscrowd`` 0 that another tool wrote it.

    Args:
        place: the annotation file, JSON or XML; or the folder of an unpacked export, without ``images_dir``.
        images_dir: where the names of images start from; or the folder that holds one for each subset.

    Raises:
        ValueError: a file or folder is missing, or the file is no export of CVAT's.
    """
    if images_dir is None:
        place, images_dir = _find_export(place)
    existing_dir(images_dir, f"the images of {place}")
    if place.suffix.lower() == ".xml":
        return load_cvat_xml(place, images_dir)
    table = read_json(place)
    if isinstance(table, dict):
        table = table | {
            "annotations": _without_crowds(table.get("annotations")),
            "images": _with_subset(table.get("images"), images_dir, place.stem.removeprefix("instances_")),
        }
    return coco_to_source(table, place, images_dir)


def _find_export(folder: Path) -> tuple[Path, Path]:
    """Annotation file and folder of images of an unpacked export."""
    existing_dir(folder, EXPORT)
    found = [*sorted(folder.glob("annotations/instances_*.json")), *sorted(folder.glob("annotations.xml"))]
    if not found:
        raise ValueError(f"{folder}: has no {EXPORT}")
    images = folder / "images" if (folder / "images").is_dir() else folder
    if len(found) > 1:
        specs = ", ".join(f"cvat:{path},{images}" for path in found)
        raise ValueError(f"{folder}: holds several files of annotations: give one of {specs}")
    return found[0], images


def _without_crowds(annotations: Any) -> Any:
    """The annotations, with ``iscrowd`` 0 where CVAT's 1 only says that it is a mask."""
    if not isinstance(annotations, list):
        return annotations
    masks = [entry for entry in annotations if isinstance(entry, dict) and isinstance(entry.get("segmentation"), dict)]
    if not all(str(entry.get("iscrowd")) in ("1", "True") for entry in masks):
        return annotations
    meant = {id(entry) for entry in masks if not _says_crowd(entry.get("attributes"))}
    return [entry | {"iscrowd": 0} if id(entry) in meant else entry for entry in annotations]


def _says_crowd(attributes: Any) -> bool:
    named = attributes.items() if isinstance(attributes, dict) else ()
    return any(str(name).lower() in CROWD_NAMES and str(value).lower() in ("true", "1") for name, value in named)


def _with_subset(images: Any, folder: Path, subset: str) -> Any:
    """The images, with the subset before names that are only there: CVAT's images lie in ``images/SUBSET``."""
    if not isinstance(images, list) or not (folder / subset).is_dir():
        return images
    return [_in_subset(entry, folder, subset) for entry in images]


def _in_subset(entry: Any, folder: Path, subset: str) -> Any:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        return entry  # which the reader reports
    try:
        file = find_in_subset(folder, name, subset)
    except ValueError:
        return entry
    return entry | {"file_name": file.relative_to(folder).as_posix()}
