"""Files from outside, spoilt: one target a kind of file, and what may happen to it.

A target writes the bytes where a person's file would be and reads it as the commands do. It may succeed, or end with
our own error: a ``ValueError`` that names the file. ``test_fuzzing.py`` tries a few spoilt files of each kind, and all
that ever broke something (``corpus/TARGET``); ``tools/fuzz.py`` tries a million.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

import instancefcn
from instancefcn.config import to_table
from instancefcn.data.images import read_image
from instancefcn.data.open import open_source
from instancefcn.data.segmentations import segmentation_to_rle
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.export.brush import to_brush_code
from instancefcn.files import read_json
from instancefcn.geometry import rle as rle_codec
from instancefcn.inference.checkpoint import FORMAT, load_checkpoint
from instancefcn.model.build import build_network
from instancefcn.training.recipe import load_recipe
from instancefcn.training.state import STATE_FILE, TrainingState, find_state
from labelled import coco_annotation, square, write_image
from tiny import TINY

LABELS = np.zeros((24, 32), dtype=np.uint8)
LABELS[3:11, 2:10], LABELS[12:20, 12:20] = 1, 2
# What files have been found to hold where a number, a name or a list should be.
NASTY: tuple[Any, ...] = (
    *(None, True, False, "", "1", "0", "\ud800", "\x1b[2J", "../../etc/passwd", "C:\\a.png", [], {}, [[]], [None]),
    *(0, -1, 1, 2, 0.5, 1e30, -1e30, 1e308, float("nan"), float("inf"), 10**9, 10**18, 10**400, 2**31, 2**63),
)


@dataclass(frozen=True)
class Target:
    """A kind of file."""

    seeds: Callable[[], list[bytes]]  # sound files
    read: Callable[[bytes, Path], None]  # in a folder that ``prepare`` has filled
    prepare: Callable[[Path], None] = lambda folder: None
    is_json: bool = False


def attempt(target: Target, data: bytes, folder: Path) -> bool:
    """Read spoilt bytes; whether they were taken. Any error but our own goes through."""
    try:
        target.read(data, folder)
    except ValueError as error:
        if type(error) is not ValueError or folder.name not in str(error):
            raise
        return False
    return True


# Spoiling.


def spoil(data: bytes, is_json: bool, rng: random.Random) -> bytes:
    """Change a file in one to three places; of JSON, mostly its values rather than its bytes."""
    for _ in range(rng.randint(1, 3)):
        data = (_spoil_json if is_json and rng.random() < 0.8 else _spoil_bytes)(data, rng)
    return data


def _spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    start = rng.randrange(len(changed) + 1)
    length = rng.choice((1, 2, 4, 8, 64, len(changed)))
    match rng.randrange(5):
        case 0:
            changed[start : start + length] = rng.randbytes(min(length, 64))
        case 1:
            del changed[start : start + length]
        case 2:
            changed[start:start] = changed[start : start + length]
        case 3:
            changed[start : start + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))])
        case _:
            if changed:
                changed[start % len(changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _spoil_json(data: bytes, rng: random.Random) -> bytes:
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return _spoil_bytes(data, rng)
    places: list[tuple[Any, Any]] = []
    waiting = [table]
    while waiting:
        value = waiting.pop()
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, child in children:
            places.append((value, key))
            waiting.append(child)
    if not places:
        return json.dumps(rng.choice(NASTY)).encode()
    parent, key = rng.choice(places)
    match rng.randrange(5):
        case 0 if isinstance(parent, dict):
            del parent[key]
        case 1:
            other, place = rng.choice(places)
            parent[key] = json.loads(json.dumps(other[place])) if place in range(len(other)) or place in other else None
        case 2 if isinstance(parent, list):
            parent.append(parent[key])
        case _:
            parent[key] = rng.choice(NASTY)
    return json.dumps(table).encode()


# The targets.


def _image(folder: Path) -> None:
    for name in ("images/a.png", "images/b.png"):
        write_image(folder / name)


def _read_all(spec: str) -> None:
    source = open_source(spec)
    for index in range(len(source)):
        instances = source.labels(index).instances
        assert all(rle_codec.decode(rle).any() for rle in instances.rles)


def _labelled(spec: str, name: str) -> Callable[[bytes, Path], None]:
    """Write the bytes as a file of a labelled folder, and read all labels."""

    def read(data: bytes, folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        _read_all(spec.format(folder))

    return read


def coco_table() -> dict[str, Any]:
    """Two images, and an instance of each form."""
    holes = {"size": [24, 32], "counts": [100, 5, 19, 5, 639]}
    text = rle_codec.to_json(rle_codec.encode(LABELS == 1))
    annotations = [
        coco_annotation(1),
        coco_annotation(2, 2, segmentation=holes, iscrowd=1),
        coco_annotation(3, 2, segmentation=[square(1, 1), square(12, 12)]),
        coco_annotation(4, 1, segmentation=text),
    ]
    images = [{"id": i + 1, "file_name": name, "height": 24, "width": 32} for i, name in enumerate(("a.png", "b.png"))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}


def coco_results() -> list[dict[str, Any]]:
    """Results on the images of ``coco_table``."""
    rle = rle_codec.to_json(rle_codec.encode(LABELS == 1))
    return [
        {"image_id": i, "category_id": 1, "segmentation": rle, "score": i / 4, "bbox": [1, 2, 3, 4]} for i in (1, 2)
    ]


def labelme_table() -> dict[str, Any]:
    """A polygon, a rectangle, a circle and a group of two."""
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": [[2, 3], [10, 3], [10, 11]], "group_id": None},
        {"label": "a", "shape_type": "rectangle", "points": [[12, 12], [20, 20]], "group_id": 1},
        {"label": "b", "shape_type": "circle", "points": [[8, 8], [12, 8]], "group_id": 1},
        {"label": "b", "shape_type": "rotation", "points": [[2, 2], [6, 2], [6, 6], [2, 6]], "group_id": None},
    ]
    return {"imagePath": "a.png", "imageHeight": 24, "imageWidth": 32, "shapes": shapes, "imageData": None}


def labelstudio_tasks() -> list[dict[str, Any]]:
    """A polygon and a brush of one image."""
    size = {"original_width": 32, "original_height": 24, "image_rotation": 0, "from_name": "l", "to_name": "i"}
    polygon = {"points": [[10, 10], [40, 10], [40, 60]], "polygonlabels": ["a"]}
    brush = {"format": "rle", "rle": to_brush_code(LABELS == 1, 0, 0, 24, 32), "brushlabels": ["b"]}
    result = [
        {"id": "1", "type": "polygonlabels", "value": polygon, **size},
        {"id": "2", "type": "brushlabels", "value": brush, **size},
    ]
    return [{"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": result}]}]


def geojson_table() -> dict[str, Any]:
    """A polygon with a hole, and one of two parts."""
    ring, hole = [[2, 3], [12, 3], [12, 13], [2, 13], [2, 3]], [[4, 5], [6, 5], [6, 7], [4, 7], [4, 5]]
    other = [[20, 3], [24, 3], [24, 9], [20, 3]]
    shapes = [
        {"type": "Polygon", "coordinates": [ring, hole]},
        {"type": "MultiPolygon", "coordinates": [[other], [ring]]},
    ]
    named = {"objectType": "annotation", "classification": {"name": "a"}}
    features = [{"type": "Feature", "geometry": shape, "properties": named} for shape in shapes]
    return {"type": "FeatureCollection", "features": features}


def _json(*tables: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(table).encode() for table in tables]


def _pictures(*forms: str, mode: str = "RGB") -> Callable[[], list[bytes]]:
    """A small image in each format."""

    def seeds() -> list[bytes]:
        found: list[bytes] = []
        for form in forms:
            image = Image.fromarray(LABELS * 100).convert(mode) if mode != "L" else Image.fromarray(LABELS)
            image.save(buffer := io.BytesIO(), form)
            found.append(buffer.getvalue())
        return found

    return seeds


def _read_ground_truth(data: bytes, folder: Path) -> None:
    (path := folder / "gt.json").write_bytes(data)
    parse_ground_truth(read_json(path), source=str(path))


def _read_results(data: bytes, folder: Path) -> None:
    (path := folder / "r.json").write_bytes(data)
    parse_results(read_json(path), parse_ground_truth(coco_table()), source=str(path))


def _read_rle(data: bytes, folder: Path) -> None:
    """Bytes as run lengths: what is taken covers as many pixels decoded as counted."""
    try:
        rle = segmentation_to_rle({"size": [24, 32], "counts": data.decode("latin-1")}, 24, 32)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        return
    assert 0 < rle_codec.decode(rle).sum() == rle_codec.area(rle)


def _read_image(data: bytes, folder: Path) -> None:
    (path := folder / "a.png").write_bytes(data)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3


def _read_recipe(data: bytes, folder: Path) -> None:
    (path := folder / "r.toml").write_bytes(data)
    load_recipe(str(path))


def _read_checkpoint(data: bytes, folder: Path) -> None:
    (path := folder / "c.safetensors").write_bytes(data)
    load_checkpoint(path).build()


def _read_state(data: bytes, folder: Path) -> None:
    (folder / STATE_FILE).write_bytes(data)
    find_state(folder, TINY, resume=True)


def _recipes() -> list[bytes]:
    assert instancefcn.__file__
    return [path.read_bytes() for path in sorted(Path(instancefcn.__file__).parent.glob("recipes/*.toml"))]


def _checkpoints() -> list[bytes]:
    weights = {name: tensor.contiguous() for name, tensor in build_network(TINY.network).state_dict().items()}
    tables = {"network": to_table(TINY.network), "inference": to_table(TINY.inference), "training": {"iteration": 1}}
    return [save(weights, {"format": FORMAT} | {name: json.dumps(table) for name, table in tables.items()})]


def _states() -> list[bytes]:
    network = {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}
    state = TrainingState(1, 2.0, to_table(TINY), network, network, {"state": {}, "param_groups": []})
    torch.save(asdict(state), buffer := io.BytesIO())
    return [buffer.getvalue()]


def _voc(folder: Path) -> None:
    write_image(folder / "JPEGImages" / "a.jpg")
    for name in ("SegmentationObject", "SegmentationClass"):
        (folder / name).mkdir()
        Image.fromarray(LABELS).save(folder / name / "a.png")


TARGETS = {
    "coco": Target(_json(coco_table()), _labelled("coco:{0}/t.json,{0}/images", "t.json"), _image, is_json=True),
    "ground-truth": Target(_json(coco_table()), _read_ground_truth, is_json=True),
    "results": Target(_json(coco_results()), _read_results, is_json=True),
    "labelme": Target(_json(labelme_table()), _labelled("labelme:{0},{0}/images", "a.json"), _image, is_json=True),
    "labelstudio": Target(
        _json(labelstudio_tasks()), _labelled("labelstudio:{0}/t.json,{0}/images", "t.json"), _image, is_json=True
    ),
    "geojson": Target(_json(geojson_table()), _labelled("geojson:{0}", "annotations/a.geojson"), _image, is_json=True),
    "voc": Target(lambda: [b"a\n"], _labelled("voc:{0},train", "ImageSets/Segmentation/train.txt"), _voc),
    "labels": Target(_pictures("PNG", mode="L"), _labelled("labels:{0}", "masks/a.png"), _image),
    "tiff-labels": Target(_pictures("TIFF", mode="L"), _labelled("labels:{0}", "masks/a.tif"), _image),
    "rle": Target(lambda: [rle_codec.encode(value == LABELS)["counts"] for value in (0, 1, 2)], _read_rle),
    "image": Target(_pictures("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"), _read_image),
    "recipe": Target(_recipes, _read_recipe),
    "checkpoint": Target(_checkpoints, _read_checkpoint),
    "state": Target(_states, _read_state),
}
