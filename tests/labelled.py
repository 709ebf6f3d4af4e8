"""Small labelled data: files in a folder as people have them, and random COCO tables with results to evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from instancefcn.evaluation.average_recall import recall_per_image
from instancefcn.evaluation.compare import Difference, compare
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import parse_ground_truth, parse_results
from instancefcn.files import read_json
from instancefcn.geometry import rle as rle_codec
from pictures import rectangle

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
    return rectangle(y0, x0, y1, x1, (HEIGHT, WIDTH))


def rectangle_rle(height: int, width: int, top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    """JSON RLE of a rectangle, half-open."""
    return rle_codec.to_json(rle_codec.encode(rectangle(top, left, bottom, right, (height, width))))


def annotation(number: int, image_id: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "segmentation": segmentation} | more


def result(image_id: float, segmentation: Any, score: float, **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "segmentation": segmentation, "score": score} | more


def coco(sizes: dict[int, tuple[int, int]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": image_id, "height": height, "width": width} for image_id, (height, width) in sizes.items()]
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": categories}


def random_scenes(
    generator: np.random.Generator, images: int, proposals: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Random blobs as instances, and shifted and cropped copies of them and noise as proposals.

    Ground truth with crowds and stated areas of all sizes, and distinctly scored proposals, with boxes as well."""
    sizes = {int(i): tuple(generator.integers(12, 30, 2).tolist()) for i in generator.permutation(10 * images)[:images]}
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    scores = generator.permutation(images * proposals) / (images * proposals)
    for image_id, (height, width) in sizes.items():
        masks = [_blob(generator, height, width) for _ in range(generator.integers(0, 6))]
        for mask in masks:
            about = {
                "area": float(generator.choice([100, 1024, 1025, 5000, 9216, 20000])),
                "iscrowd": int(generator.random() < 0.2),
                "category_id": int(generator.integers(1, 4)),
            }
            annotations.append(annotation(len(annotations) + 1, image_id, **_regions(mask), **about))
        for _ in range(generator.integers(0, proposals + 1)):
            if masks and generator.random() < 0.7:
                mask = masks[generator.integers(len(masks))].copy()
                mask[generator.integers(height)] ^= True
                mask[: generator.integers(height // 2)] = False
            else:
                mask = _blob(generator, height, width)
            score = float(scores[len(results)])
            category = int(generator.integers(1, 4))
            results.append(result(image_id, score=score, **_regions(mask)) | {"category_id": category})
    return coco(sizes, annotations), results


def _blob(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    center, radius = generator.random(2) * (height, width), generator.uniform(2, 9, 2)
    y, x = np.mgrid[:height, :width]
    return ((y - center[0]) / radius[0]) ** 2 + ((x - center[1]) / radius[1]) ** 2 <= 1


def _regions(mask: np.ndarray) -> dict[str, Any]:
    rle = rle_codec.encode(mask)
    y, x = np.nonzero(mask)
    box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1] if len(y) else [0, 0, 0, 0]
    return {"segmentation": rle_codec.to_json(rle), "bbox": [float(side) for side in box]}


def compare_files(
    first: Path, second: Path, annotations: Path, iou: IouType = "segm", seed: int = 0
) -> dict[str, Difference]:
    """The difference in every number of average recall between two files of results."""
    images = parse_ground_truth(read_json(annotations), iou)
    recalls = [recall_per_image(images, parse_results(read_json(path), images, iou), iou) for path in (first, second)]
    return compare(*recalls, generator=np.random.default_rng(seed))
