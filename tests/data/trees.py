"""Tiny data sets, written to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """An image of a gradient; lossless where the format is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(height * width * 3).reshape(height, width, 3) % 256
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def write_palette(path: Path, index_map: np.ndarray) -> None:
    """A palette PNG, as VOC has it: the colours say nothing of the indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(index_map.astype(np.uint8)).convert("P")
    image.putdata(index_map.ravel().tolist())
    image.putpalette([(7 * i + c) % 256 for i in range(256) for c in range(3)])
    image.save(path)


def square(x: float, y: float, side: float = 8) -> list[float]:
    """A polygon."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def coco_annotation(annotation_id: Any, image_id: Any = 1, **fields: Any) -> dict[str, Any]:
    """A sound annotation, unless fields say otherwise."""
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": [square(2, 3)],
        "bbox": [2, 3, 8, 8],
        "area": 64,
        "iscrowd": 0,
    } | fields


def write_coco(
    folder: Path,
    annotations: list[Any],
    images: list[dict[str, Any]] | None = None,
    categories: list[dict[str, Any]] | None = None,
) -> str:
    """A COCO file with one image (id 1) unless others are given, which are not written; returns the spec."""
    if images is None:
        write_image(folder / "images" / "a.png")
        images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    categories = [{"id": 1, "name": "thing"}] if categories is None else categories
    (folder / "images").mkdir(exist_ok=True)
    table = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(table))
    return f"coco:{folder / 'coco.json'},{folder / 'images'}"


def write_labelme(folder: Path, shapes: list[Any], name: str = "a", **fields: Any) -> Path:
    """A labelme file beside an image of the same stem, which is written unless the file names another; its path."""
    if "imagePath" not in fields:
        write_image(folder / f"{name}.png")
    table = {
        "imagePath": f"{name}.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        "shapes": shapes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(table | fields))
    return folder / f"{name}.json"


def labelme_shape(points: Any, kind: str | None = "polygon", label: Any = "thing", **fields: Any) -> dict[str, Any]:
    """One shape."""
    return {"label": label, "points": points, "shape_type": kind, "group_id": None} | fields


def box_mask(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A mask of a box, half-open."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask
