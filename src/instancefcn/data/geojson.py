"""GeoJSON as QuPath exports it: a file of polygons for each image, in its pixels."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from instancefcn.data.image_folder import images_below
from instancefcn.data.images import inspect_image
from instancefcn.data.polygons import box_of_points, flatten_points, parts_to_rle
from instancefcn.data.shapes import Shape, ShapedImages
from instancefcn.data.source import UNNAMED, FileSource, Problem
from instancefcn.files import read_json
from instancefcn.folders import existing_dir
from instancefcn.values import shown

# What QuPath's objectType, and before it the id, call what is no object: the parts of a grid, and the whole slide.
NO_OBJECTS = ("tile", "tmaCore", "root", "PathTileObject", "TMACoreObject", "PathRootObject")
SUFFIXES = (".geojson", ".json")


def load_geojson(folder: Path) -> FileSource:
    """Open a folder of ``images/``, or of images, also in folders below, with a GeoJSON file for each of them.

    ``STEM.geojson``, ``STEM.json`` or ``IMAGE_NAME.geojson`` lies beside its image, or at the same place in the folder
    or in its ``annotations/``. Objects without a classification are of the category "object"; those of the class
    ``Ignore*``, of QuPath's meaning, are not judged.

    Raises:
        ValueError: the folder is missing, or holds no image.
    """
    existing_dir(folder, "images/, and a GeoJSON file for each image")
    inner = folder / "images"
    root = inner if inner.is_dir() else folder
    files, _ = images_below(root)
    if not files:
        raise ValueError(f"{root}: holds no image: put or link the images into {folder / 'images'}")
    parents = dict.fromkeys([PurePosixPath(), *(key.parent for key in files)])
    found: dict[PurePosixPath, list[Path]] = {}  # by their places without suffix
    for place in (inner, folder, folder / "annotations"):
        for parent in parents:
            for path in sorted((place / parent).iterdir()) if (place / parent).is_dir() else ():
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    found.setdefault(parent / path.stem, []).append(path)
    images = ShapedImages(_read_feature, _box)
    used: set[Path] = set()
    every = [(key, group[0], image) for key, group in files.items() for image in group]
    for image_id, (key, first, image) in enumerate(every, start=1):
        own = list(found.get(key.with_name(image.name), ()))
        own += found.get(key, ()) if image == first else ()
        used.update(own)
        if not own and image != first:
            images.problems.append(Problem(str(image), None, f"{first.name} has the same stem and is taken"))
            continue
        try:
            if len(own) != 1:
                names = ", ".join(str(path.relative_to(folder)) for path in own) or "none"
                raise ValueError(f"it takes one GeoJSON file of the same stem, and has {len(own)}: {names}")
            size, features = inspect_image(image), _read_features(own[0])
        except ValueError as error:
            images.problems.append(Problem.from_error(image, error))
            continue
        entries = [(number, feature) for number, feature in enumerate(features) if not _is_no_object(feature)]
        images.add(image_id, image.relative_to(root).as_posix(), image, size, entries, own[0])
    lone = dict.fromkeys(path for paths in found.values() for path in paths if path not in used)
    images.problems += [Problem(str(path), None, f"no image of this name in {folder}") for path in lone]
    return images.source()


def _read_features(path: Path) -> list[Any]:
    table = read_json(path)
    if isinstance(table, dict) and table.get("type") == "Feature":
        return [table]
    features = table.get("features") if isinstance(table, dict) else table
    if not isinstance(features, list):
        raise ValueError(f"{path}: is no FeatureCollection, nor a list of Features: not GeoJSON")
    return features


def _is_no_object(feature: Any) -> bool:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    kinds = [feature.get("id")] if isinstance(feature, dict) else []
    if isinstance(properties, dict):
        kinds += [properties.get("objectType"), properties.get("object_type")]
    return any(isinstance(kind, str) and kind in NO_OBJECTS for kind in kinds)


def _read_feature(feature: Any, size: tuple[int, int]) -> Shape:
    """The shape of a feature; of a cell its outline, not its nucleus."""
    parts, notes = _rings(feature), list[str]()
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name, marks = _classification(properties.get("classification")), properties.get("metadata")
    ignore, crowd = (isinstance(marks, dict) and str(marks.get(mark)) == "1" for mark in ("ignore", "iscrowd"))
    return Shape(name, parts_to_rle(parts, *size, notes.append), ignore or name == "Ignore*", crowd, notes)


def _rings(feature: Any) -> list[list[list[float]]]:
    """Of each polygon of a feature its outer ring, then its holes, each ``[x, y, x, y, ...]``."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict):
        raise ValueError("is no Feature with a geometry")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"geometry {shown(kind)} has no area: it takes a Polygon or a MultiPolygon")
    polygons: Any = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons or not all(isinstance(rings, list) for rings in polygons):
        raise ValueError(f"coordinates of the {kind} are no lists of rings")
    return [[flatten_points(ring) for ring in rings] for rings in polygons]


def _box(feature: Any, _: object) -> list[float] | None:
    """Box, xyxy, of the outer rings of a feature."""
    return box_of_points([number for part in _rings(feature) for number in (part[0] if part else ())])


def _classification(value: Any) -> str:
    """Name of a class, which QuPath writes as ``name``, or as ``names`` where it is derived from others."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) and value else UNNAMED
    stated = value.get("names")
    parts = stated if isinstance(stated, list) else [value.get("name")]
    names = [part if isinstance(part, str) else shown(part) for part in parts if part]
    return ": ".join(names) or UNNAMED
