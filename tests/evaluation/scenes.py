"""Small random COCO data sets: blobs as instances, shifted and cropped copies of them and noise as proposals."""

from __future__ import annotations

from typing import Any

import numpy as np

from instancefcn.geometry import rle as rle_codec


def rectangle(height: int, width: int, top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    """JSON RLE of a rectangle, half-open."""
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return rle_codec.to_json(rle_codec.encode(mask))


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
    """Ground truth with crowds and stated areas of all sizes, and distinctly scored proposals, with boxes as well."""
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
