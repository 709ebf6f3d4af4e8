"""Ground truth and proposals of anybody's, in COCO's formats, checked and put together image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco_mask

from instancefcn.evaluation.regions import IouType, Regions, areas, broken_rle, parse_box, parse_mask
from instancefcn.geometry.rle import Rle

# Codes are checked together, a block at a time: large enough for numpy to pay, small enough to fit its copies.
_BLOCK = 4096


@dataclass(frozen=True)
class GroundTruth:
    """The labelled instances of one image, in the order of their file."""

    image_id: int
    height: int
    width: int
    regions: Regions
    areas: Float[np.ndarray, "g"]  # the file's own (COCO's small, medium, large go by it), or else the regions'
    crowd: Bool[np.ndarray, "g"]


@dataclass(frozen=True)
class ScoredRegions:
    """The proposals of one image, best first; equal scores stay in the order of their file."""

    regions: Regions
    scores: Float[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.scores)

    def top(self, n: int) -> ScoredRegions:
        """The best ``n``, or all where there are fewer."""
        return ScoredRegions(self.regions[:n], self.scores[:n])


def parse_ground_truth(coco: Any, iou: IouType = "segm", *, source: str = "annotations") -> list[GroundTruth]:
    """Every image of COCO annotations, by ascending id, with its instances; categories are not looked at.

    Args:
        coco: what a COCO annotation file holds: ``{"images": [...], "annotations": [...]}``.
        iou: take ``segmentation`` (polygons, RLE), or ``bbox``.
        source: what to call it in errors, such as its path.

    Raises:
        ValueError: something in it can't be used; says what, and where.
    """
    if not isinstance(coco, Mapping) or not all(isinstance(coco.get(key), list) for key in ("images", "annotations")):
        raise ValueError(f'{source}: not COCO annotations, which are {{"images": [...], "annotations": [...]}}')
    sizes = _image_sizes(coco["images"], source)
    parsed = _parse_regions(coco["annotations"], sizes, iou, source, "annotation")
    by_image: dict[int, list[int]] = {image_id: [] for image_id in sizes}
    crowd, area = np.zeros(len(parsed), dtype=bool), areas(_gather(parsed, range(len(parsed)), iou))
    for index, annotation in enumerate(coco["annotations"]):
        by_image[annotation["image_id"]].append(index)
        crowd[index] = bool(annotation.get("iscrowd", 0))
        if "area" in annotation:
            area[index] = _number(annotation["area"], f"{source}, annotation {index}", "area")
    return [
        GroundTruth(image_id, *sizes[image_id], _gather(parsed, own, iou), area[own], crowd[own])
        for image_id, own in sorted(by_image.items())
    ]


def parse_results(
    results: Any, ground_truth: Sequence[GroundTruth], iou: IouType = "segm", *, source: str = "proposals"
) -> list[ScoredRegions]:
    """Proposals of each image of ``ground_truth``, in its order; categories are not looked at.

    Args:
        results: COCO results: a list of ``{"image_id", "segmentation" and/or "bbox", "score"}``.
        ground_truth: the images that there are.
        iou: take ``segmentation``, or ``bbox`` (of the mask, where a result has no box).
        source: what to call it in errors, such as its path.

    Raises:
        ValueError: something in it can't be used; says what, where, and how to mend it.
    """
    if not isinstance(results, list):
        raise ValueError(
            f"{source}: not COCO results, which are a list of {{image_id, category_id, segmentation or bbox, score}}"
        )
    sizes = {image.image_id: (image.height, image.width) for image in ground_truth}
    parsed = _parse_regions(results, sizes, iou, source, "result")
    scores = np.empty(len(results))
    by_image: dict[int, list[int]] = {image_id: [] for image_id in sizes}
    for index, result in enumerate(results):
        by_image[result["image_id"]].append(index)
        scores[index] = _number(result.get("score"), f"{source}, result {index}", "score")
    ranked: list[ScoredRegions] = []
    for image in ground_truth:
        own = np.array(by_image[image.image_id], dtype=int)
        own = own[np.argsort(-scores[own], kind="stable")]
        ranked.append(ScoredRegions(_gather(parsed, own, iou), scores[own]))
    return ranked


def _image_sizes(images: list[Any], source: str) -> dict[int, tuple[int, int]]:
    """Height and width by image id."""
    sizes: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(images):
        numbers: list[Any] = [image.get(key) for key in ("id", "height", "width")] if isinstance(image, Mapping) else []
        if not numbers or not all(isinstance(number, Integral) for number in numbers):
            raise ValueError(f"{source}, image {index}: needs id, height and width, whole numbers")
        image_id, height, width = numbers
        if image_id in sizes:
            raise ValueError(f"{source}, image {index}: id {image_id} was used before; each image needs its own")
        if min(height, width) < 1:
            raise ValueError(f"{source}, image {index} (id {image_id}): size {height} x {width} is not positive")
        sizes[image_id] = height, width
    return sizes


def _parse_regions(
    entries: list[Any], sizes: Mapping[Any, tuple[int, int]], iou: IouType, source: str, noun: str
) -> list[Rle] | list[np.ndarray]:
    """The mask or the box of every entry; ``noun`` is what errors call one."""
    masks: list[Rle] = []
    boxes: list[np.ndarray] = []
    unchecked = 0  # masks before this one are known to be whole
    for index, entry in enumerate(entries):
        where = f"{source}, {noun} {index}"
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where}: not an object with image_id, {_KEY[iou]} and so on, but {entry!r:.60}")
        image_id = entry.get("image_id")
        if not isinstance(image_id, Real) or image_id not in sizes:
            raise ValueError(
                f"{where}: image_id {image_id!r} is not among the {len(sizes)} images of the annotations; "
                "ids must be those of the annotation file"
            )
        try:
            region = _parse_region(entry, *sizes[image_id], iou)
        except ValueError as error:
            raise ValueError(f"{where} (image_id {image_id}): {error}") from error
        if isinstance(region, np.ndarray):
            boxes.append(region)
        else:
            masks.append(region)
        if len(masks) - unchecked == _BLOCK or index == len(entries) - 1:
            broken = broken_rle(masks[unchecked:])
            if broken is not None:
                broken += unchecked
                raise ValueError(
                    f"{source}, {noun} {broken} (image_id {entries[broken]['image_id']}): the RLE is damaged: its runs "
                    f"do not fill {masks[broken]['size']}; write it again with pycocotools.mask.encode"
                )
            unchecked = len(masks)
    return masks if iou == "segm" else boxes


_KEY: dict[IouType, str] = {"segm": "segmentation", "bbox": "bbox"}


def _parse_region(entry: Mapping[str, Any], height: int, width: int, iou: IouType) -> Rle | np.ndarray:
    segmentation, bbox = entry.get("segmentation"), entry.get("bbox")
    if iou == "segm":
        if segmentation is None:
            hint = "; it has a bbox: evaluate with iou='bbox'" if bbox is not None else ""
            raise ValueError(f"segmentation is missing{hint}")
        return parse_mask(segmentation, height, width)
    if bbox is not None:
        return parse_box(bbox)
    if segmentation is None:
        raise ValueError("bbox is missing, and there is no segmentation to take it from")
    mask = parse_mask(segmentation, height, width)
    if broken_rle([mask]) is not None:
        raise ValueError(f"the RLE is damaged: its runs do not fill {mask['size']}")
    return coco_mask.toBbox(mask)  # pyright: ignore[reportArgumentType]


def _gather(parsed: list[Any], indices: Sequence[int] | np.ndarray, iou: IouType) -> Regions:
    chosen = [parsed[index] for index in indices]
    return chosen if iou == "segm" else np.array(chosen, dtype=float).reshape(-1, 4)


def _number(value: Any, where: str, name: str) -> float:
    if not isinstance(value, Real) or not np.isfinite(value):  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise ValueError(f"{where}: {name} is {value!r}, not a finite number")
    return float(value)
