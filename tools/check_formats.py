"""Labels written in every format, read back by the tools that the formats are of, and by our own readers.

``make formats`` runs both halves: ``write`` needs instancefcn; ``read`` needs the tools, in an environment of their own
(.venv-formats), since they bring their own NumPy, Qt and OpenCV:

    .venv/bin/python tools/check_formats.py write formats-check
    .venv-formats/bin/python tools/check_formats.py read formats-check

The labels are coco-mini val where ../shared/data has it, and synthetic scenes elsewhere. IoU is that of each mask with
what is read back. Tools that have no pixels of their own are read by pycocotools' rule, as CVAT's engine does it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

ROOT = Path(__file__).parent.parent
COCO_MINI = ROOT.parent / "shared" / "data" / "coco-mini"
TRUTH = "truth.json"
CONFIG = "labelling-configuration.xml"
Masks = dict[str, list[np.ndarray]]  # by the stem of the image


def write(out: Path) -> None:
    """Write the labels in every format into ``out/FORM``, images beside them as links, and read them by our readers."""
    from dataclasses import replace

    from PIL import Image

    sys.path.insert(0, str(ROOT / "tests"))
    from instancefcn.data.coco import source_to_coco
    from instancefcn.data.open import open_source
    from instancefcn.export.open import FORMS, open_writer
    from synthetic import SyntheticScenes

    if COCO_MINI.is_dir():
        source = open_source(f"coco:{COCO_MINI}/annotations/instances_val.json,{COCO_MINI}/val")
    else:
        source = SyntheticScenes(40, height=240, width=320)
    print(f"{len(source)} images of {source.name}")
    every = [source.labels(index) for index in range(len(source))]
    photographs = out / "images"
    photographs.mkdir(parents=True, exist_ok=True)
    for index, labels in enumerate(every):
        target = photographs / labels.file_name
        if not target.exists():
            Image.fromarray(source.image(index)).save(target, quality=90)
        every[index] = replace(labels, path=target)
    (out / TRUTH).write_text(json.dumps(source_to_coco(source)))
    specs = {
        "coco": f"coco:{out}/coco/coco.json,{photographs}",
        "cvat": f"cvat:{out}/cvat/cvat.json,{photographs}",
        "labelstudio": f"labelstudio:{out}/labelstudio/labelstudio.json,{photographs}",
        "yolo": f"yolo:{out}/yolo,train",
    }
    truth = _truth(out)
    for form in FORMS:
        beside = out / form if form in ("labelme", "xanylabeling") else out / form / "images"
        beside.mkdir(parents=True, exist_ok=True)
        own: list[Any] = []
        for labels in every:
            link = beside / labels.file_name
            if not link.exists():
                link.hardlink_to(photographs / labels.file_name)  # datumaro refuses symbolic links
            own.append(replace(labels, path=link))
        writer = open_writer(form, out / form, source.categories)
        for labels in own:
            writer.add(labels)
        writer.close()
        for note in writer.notes():
            print(f"{form}: {note[:200]}")
            if note.startswith("labelling configuration: "):
                (out / CONFIG).write_text(note.partition(": ")[2])
        try:
            read_back = open_source(specs.get(form, f"{form}:{out}/{form}"))
        except ValueError as error:
            print(f"{form}: not read: {error}")
            continue
        found: Masks = {}
        for index in range(len(read_back)):
            labels = read_back.labels(index)
            objects = labels.instances
            masks = [coco_mask.decode(rle) for rle in objects.rles]  # pyright: ignore[reportArgumentType]
            kept = zip(masks, objects.crowd | objects.ignore, strict=True)
            found[Path(labels.file_name).stem] = [mask for mask, crowd in kept if not crowd]
        _report(form, f"instancefcn, {len(read_back.problems)} problems", truth, found)


def read(out: Path) -> None:
    """Read what ``write`` wrote, by the tools."""
    truth = _truth(out)
    for form, tool, read_masks in (
        ("coco", "pycocotools", lambda: _by_pycocotools(out / "coco" / "coco.json")),
        ("cvat", "datumaro", lambda: _by_datumaro(out / "cvat" / "cvat.json")),
        ("labelstudio", "label-studio-sdk", lambda: _by_label_studio(out)),
        ("labelme", "labelme", lambda: _by_labelme(out / "labelme")),
        ("yolo", "supervision", lambda: _by_supervision(out / "yolo")),
        ("geojson", "shapely", lambda: _by_shapely(out / "geojson", truth)),
        ("labels", "pillow", lambda: _by_pillow(out / "labels")),
    ):
        _report(form, f"{tool} {version(tool)}", truth, read_masks())


def _truth(out: Path) -> Masks:
    return _by_pycocotools(out / TRUTH)


def _by_pycocotools(path: Path) -> Masks:
    """Objects of a COCO file, without crowds, in its order."""
    table = json.loads(path.read_text())
    stems = {image["id"]: Path(image["file_name"]).stem for image in table["images"]}
    masks: Masks = {stem: [] for stem in stems.values()}
    for annotation in table["annotations"]:
        if not annotation["iscrowd"]:
            masks[stems[annotation["image_id"]]].append(coco_mask.decode(annotation["segmentation"]))
    return masks


def _by_datumaro(path: Path) -> Masks:
    from datumaro.components.annotation import Bbox, Polygon
    from datumaro.components.dataset import Dataset

    target = path.parent / "annotations" / "instances_default.json"  # where datumaro looks
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(path.read_bytes())
    masks: Masks = {}
    for item in Dataset.import_from(str(path.parent), "coco_instances"):
        objects: dict[int, Any] = {}
        for found in item.annotations:
            if isinstance(found, Bbox) or found.attributes["is_crowd"]:
                continue
            shape = _rasterise([found.points], *item.media.size) if isinstance(found, Polygon) else found.image
            objects[found.group] = objects.get(found.group, 0) | shape.astype(bool)
        masks[item.id] = [objects[number] for number in sorted(objects)]  # datumaro keeps another order
    return masks


def _by_label_studio(out: Path) -> Masks:
    from label_studio_sdk.converter.brush import decode_from_annotation
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((out / CONFIG).read_text())
    masks: Masks = {}
    for task in json.loads((out / "labelstudio" / "labelstudio.json").read_text()):
        assert interface.validate_annotation(task["annotations"][0]), "the SDK refuses the annotation"
        objects = masks[Path(task["data"]["image"]).stem] = []
        for result in task["annotations"][0]["result"]:
            height, width = result["original_height"], result["original_width"]
            if result["type"] == "brushlabels":
                flat = result["value"] | {"type": "brushlabels", "original_width": width, "original_height": height}
                objects.append(next(iter(decode_from_annotation("brush", [flat]).values())) > 0)
            else:
                points = np.array(result["value"]["points"]) / 100 * (width, height)
                objects.append(_rasterise([points.ravel().tolist()], height, width))
    return masks


def _by_labelme(folder: Path) -> Masks:
    """By labelme's own loader and its own pixels, which take in the outline."""
    from labelme._label_file import LabelFile
    from labelme.utils.shape import shape_to_mask

    masks: Masks = {}
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text())
        size, objects = (table["imageHeight"], table["imageWidth"]), {}
        for index, shape in enumerate(LabelFile(str(path)).shapes):
            if shape["shape_type"] == "mask":
                mask = np.zeros(size, dtype=bool)
                (left, top), (right, bottom) = np.array(shape["points"], dtype=int)
                mask[top : bottom + 1, left : right + 1] = shape["mask"]
            else:
                mask = shape_to_mask(size, shape["points"], shape["shape_type"])
            key = -1 - index if shape["group_id"] is None else shape["group_id"]
            objects[key] = objects.get(key, False) | mask
        masks[path.stem] = list(objects.values())
    return masks


def _by_supervision(folder: Path) -> Masks:
    """By OpenCV's pixels of whole coordinates."""
    import supervision

    data = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    return {Path(path).stem: [] if found.mask is None else list(found.mask) for path, _, found in data}


def _by_shapely(folder: Path, truth: Masks) -> Masks:
    from shapely.geometry import shape

    masks: Masks = {}
    for path in sorted(folder.glob("*.geojson")):
        objects = masks[path.stem] = []
        for feature in json.loads(path.read_text())["features"]:
            geometry = shape(feature["geometry"])
            assert geometry.is_valid, f"{path}: not valid"
            if feature["properties"]["classification"]["name"] == "Ignore*":
                continue
            parts = list(getattr(geometry, "geoms", [geometry]))
            size = truth[path.stem][0].shape
            inner = [ring for part in parts for ring in part.interiors]
            mask = _rasterise([np.array(part.exterior.coords).ravel().tolist() for part in parts], *size)
            if inner:
                mask &= ~_rasterise([np.array(ring.coords).ravel().tolist() for ring in inner], *size)
            objects.append(mask)
    return masks


def _by_pillow(folder: Path) -> Masks:
    from PIL import Image

    maps = {path.stem: np.asarray(Image.open(path)) for path in sorted((folder / "masks").glob("*.png"))}
    return {stem: [found == number for number in np.unique(found) if number] for stem, found in maps.items()}


def _rasterise(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)


def _ious(truth: Masks, found: Masks) -> Iterator[float]:
    """IoU of each object with that of the same place in the list, or, where some are missing, with the nearest."""
    for stem, masks in truth.items():
        others = found.get(stem, [])
        for index, mask in enumerate(masks):
            pairs = [others[index]] if len(others) == len(masks) else others
            ious = [(mask & other.astype(bool)).sum() / (mask | other.astype(bool)).sum() for other in pairs]
            yield float(max(ious, default=0))


def _report(form: str, reader: str, truth: Masks, found: Masks) -> None:
    ious = np.array(list(_ious(truth, found)))
    objects = sum(map(len, truth.values())), sum(map(len, found.values()))
    numbers = f"{objects[1]} of {objects[0]} objects, IoU mean {ious.mean():.4f} lowest {ious.min():.3f}"
    print(f"{form:13} {reader:32} {numbers}, {(ious > 0.9).mean():.1%} above 0.9", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=["write", "read"])
    parser.add_argument("out", type=Path, help="folder of the labels in every format")
    arguments = parser.parse_args()
    {"write": write, "read": read}[arguments.half](arguments.out)
