"""Labelled instances and proposals of any method, read from COCO's JSON image by image."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.config import check_choice
from instancefcn.data.coco_entries import parse_box, whole_number
from instancefcn.data.coco_reader import CocoReader
from instancefcn.data.polygons import number_or_nan
from instancefcn.data.segmentations import damage, read_segmentation
from instancefcn.evaluation.packed_masks import PackedMasks
from instancefcn.evaluation.regions import IouType, Regions, areas, select
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import Rle, damaged, tight_boxes
from instancefcn.values import shown


@dataclass(frozen=True)
class GroundTruth:
    """The labelled instances of one image, in the order of their file."""

    image_id: int
    height: int  # 0 if boxes are compared and the file has no size
    width: int
    regions: Regions
    areas: Float[np.ndarray, "g"]  # from the file (COCO's small, medium and large go by it), or else of the regions
    crowd: Bool[np.ndarray, "g"]
    category_ids: Int[np.ndarray, "g"] | None = None  # where categories are looked at

    def divided(self) -> tuple[Regions, Regions]:
        """Regions of the instances that are to be found, and of the crowds."""
        return select(self.regions, np.flatnonzero(~self.crowd)), select(self.regions, np.flatnonzero(self.crowd))

    def of(self, category_id: int) -> GroundTruth:
        """The instances of one category."""
        return self.chosen(np.flatnonzero(self.category_ids == category_id))

    def chosen(self, own: Int[np.ndarray, "n"]) -> GroundTruth:
        """Some of the instances, by their indices."""
        regions, areas, crowd = select(self.regions, own), self.areas[own], self.crowd[own]
        return GroundTruth(self.image_id, self.height, self.width, regions, areas, crowd)


@dataclass(frozen=True)
class ScoredRegions:
    """The proposals of one image, best first; equal scores stay in the order of their file."""

    regions: Regions
    scores: Float[np.ndarray, "n"]
    category_ids: Int[np.ndarray, "n"] | None = None  # where categories are looked at

    def __len__(self) -> int:
        return len(self.scores)

    def top(self, n: int) -> ScoredRegions:
        """The best ``n`` proposals, or all if there are fewer."""
        return ScoredRegions(self.regions[:n], self.scores[:n])

    def of(self, category_id: int) -> ScoredRegions:
        """The proposals of one category."""
        own = np.flatnonzero(self.category_ids == category_id)
        return ScoredRegions(select(self.regions, own), self.scores[own])


@dataclass(frozen=True)
class CategoryRegions:
    """The instances and the proposals of one category; both lists are of all images, in the same order."""

    category_id: int
    name: str
    ground_truth: list[GroundTruth]
    proposals: list[ScoredRegions]

    @property
    def instances(self) -> int:
        """Number of labelled instances, crowds aside."""
        return sum(int((~image.crowd).sum()) for image in self.ground_truth)


def parse_ground_truth(
    coco: Any,
    iou: IouType = "segm",
    *,
    source: str = "annotations",
    categories: Mapping[int, str] | None = None,
    crowds_of_one_part: bool = False,
) -> list[GroundTruth]:
    """Every image of COCO annotations, by ascending id, with its instances.

    Args:
        coco: what a COCO annotation file holds: ``{"images": [...], "annotations": [...]}``.
        iou: take ``segmentation`` (polygons, RLE), or ``bbox`` (of the mask, where there is no box).
        source: what to call it in errors, such as its path.
        categories: names by id, if categories are looked at.
        crowds_of_one_part: a crowd whose mask is one connected part is an instance (``data.crowds``).

    Raises:
        ValueError: an image or an instance of it can't be used; says what, where, and how to mend it. Or ``iou`` is
            neither of the two.
    """
    check_choice("iou", iou, get_args(IouType))
    reader = CocoReader(coco, source, strict=True, crowds_of_one_part=crowds_of_one_part)
    images = sorted(reader.images(), key=lambda image: image.image_id)
    annotations = defaultdict(list)
    for annotation in reader.annotations(images, categories, boxes=iou == "bbox"):
        annotations[annotation.image_id].append(annotation)
    parsed: list[GroundTruth] = []
    for image in images:
        own = annotations[image.image_id]
        parsed_regions = [annotation.region for annotation in own]
        regions = parsed_regions if iou == "segm" else np.array(parsed_regions, dtype=float).reshape(-1, 4)
        area = areas(regions)
        for index, annotation in enumerate(own):
            if (stated := annotation.stated_area) is not None:
                text = number_or_nan(stated) if isinstance(stated, str) else math.nan
                place = f"{source}: {annotation.place}"
                area[index] = _number(text if math.isfinite(text) else stated, place, "area")
        crowd = np.array([annotation.crowd for annotation in own], dtype=bool)
        ids = np.array([annotation.category_id for annotation in own], dtype=int) if categories is not None else None
        parsed.append(GroundTruth(image.image_id, *(image.size or (0, 0)), regions, area, crowd, ids))
    return parsed


def parse_results(
    results: Any,
    ground_truth: Sequence[GroundTruth],
    iou: IouType = "segm",
    *,
    source: str = "proposals",
    categories: Mapping[int, str] | None = None,
) -> list[ScoredRegions]:
    """Proposals of each image of ``ground_truth``, in its order.

    Args:
        results: COCO results, ``{"image_id", "segmentation" and/or "bbox", "score"}`` each: a list, or whatever gives
            one after the other (``data.result_files.read_results``); none is held.
        ground_truth: the images that there are.
        iou: take ``segmentation``, or ``bbox`` (of the mask, where a result has no box).
        source: what to call it in errors, such as its path.
        categories: names by id, if categories are looked at.

    Raises:
        ValueError: something in it can't be used; says what, where, and how to mend it.
    """
    if isinstance(results, Mapping | str) or not isinstance(results, Iterable):
        raise ValueError(
            f"{source}: not COCO results, which are a list of {{image_id, category_id, segmentation or bbox, score}}"
        )
    gathered = {image.image_id: _Gathered(image, iou) for image in ground_truth}
    for index, result in enumerate(results):
        place = f"{source}: results[{index}]"
        if not isinstance(result, Mapping):
            raise ValueError(f"{place}: not an object with image_id, score and so on, but {result!r:.60}")
        try:
            image_id = whole_number(result.get("image_id"), "image_id")
            if image_id not in gathered:
                raise ValueError(
                    f"image_id {image_id} is not among the {len(gathered)} images of the annotations; ids must be "
                    "those of the annotation file"
                )
            of_image = gathered[image_id]
            of_image.add_region(_parse_region(result, of_image.image.height, of_image.image.width, iou))
            if categories is not None:
                category_id = whole_number(result.get("category_id"), "category_id")
                if category_id not in categories:
                    listed = ", ".join(f"{known} ({name})" for known, name in categories.items())
                    raise ValueError(
                        f"category_id {category_id} is not among the annotations' categories: {listed:.300}"
                    )
                of_image.category_ids.append(category_id)
        except ValueError as error:
            raise ValueError(f"{place} (image_id {result.get('image_id')!r:.40}): {error}") from error
        of_image.scores.append(_number(result.get("score"), place, "score"))
        of_image.places.append(index)
    bad = [found for of_image in gathered.values() if (found := of_image.first_damaged()) is not None]
    if bad:
        index, image_id, reason = min(bad)
        raise ValueError(f"{source}: results[{index}] (image_id {image_id}): {reason}")
    return [gathered.pop(image.image_id).ranked(categories is not None) for image in ground_truth]


class _Gathered:
    """The results of one image, in little memory, in the order of their file."""

    def __init__(self, image: GroundTruth, iou: IouType) -> None:
        self.image, self.iou = image, iou
        self.masks, self.boxes_xywh = PackedMasks(image.height, image.width), array("d")
        self.scores, self.category_ids, self.places = array("d"), array("q"), array("q")

    def add_region(self, region: Rle | np.ndarray) -> None:
        if isinstance(region, np.ndarray):
            self.boxes_xywh.extend(region.tolist())
        else:
            self.masks.append(region["counts"])

    def first_damaged(self) -> tuple[int, int, str] | None:
        """Place of the first mask whose code is damaged, the image's id, and what is wrong with it."""
        for index in np.flatnonzero(damaged(self.masks)):  # of all codes at once, which is fast
            return self.places[index], self.image.image_id, damage(self.masks[int(index)])
        return None

    def ranked(self, with_categories: bool) -> ScoredRegions:
        scores = np.array(self.scores, dtype=float)
        order = np.argsort(-scores, kind="stable")
        boxes_xywh = np.array(self.boxes_xywh, dtype=float).reshape(-1, 4)
        regions = select(self.masks if self.iou == "segm" else boxes_xywh, order)
        return ScoredRegions(
            regions, scores[order], np.array(self.category_ids, dtype=int)[order] if with_categories else None
        )


def split_by_category(
    coco: Any,
    results: Any,
    iou: IouType = "segm",
    *,
    sources: tuple[str, str] = ("annotations", "proposals"),
    crowds_of_one_part: bool = False,
) -> list[CategoryRegions]:
    """Annotations and results of each category, in the order of the annotations' ``categories``.

    Args:
        coco: what a COCO annotation file holds.
        results: COCO results with the category ids of that file, as for ``parse_results``.
        iou: take ``segmentation``, or ``bbox``.
        sources: what to call the two in errors, such as their paths.
        crowds_of_one_part: as of ``parse_ground_truth``.

    Raises:
        ValueError: something in either can't be used, or names a category that the annotations do not list.
    """
    reader = CocoReader(coco, sources[0], strict=True, keys=("images", "annotations", "categories"))
    names = reader.categories()
    ground_truth = parse_ground_truth(
        coco, iou, source=sources[0], categories=names, crowds_of_one_part=crowds_of_one_part
    )
    proposals = parse_results(results, ground_truth, iou, source=sources[1], categories=names)
    split = [CategoryRegions(key, name, [], []) for key, name in names.items()]
    proposals.reverse()
    for labelled in ground_truth:
        scored = proposals.pop()  # let go of image by image, so that the results are not there twice
        without, nothing = labelled.chosen(np.zeros(0, dtype=int)), scored.top(0)  # shared: images have few categories
        instances, found = _ids(labelled), _ids(scored)
        for category in split:
            key = category.category_id
            category.ground_truth.append(labelled.of(key) if key in instances else without)
            category.proposals.append(scored.of(key) if key in found else nothing)
    return split


def _ids(of: GroundTruth | ScoredRegions) -> set[int]:
    return set() if of.category_ids is None else set(of.category_ids.tolist())


def _parse_region(result: Mapping[str, Any], height: int, width: int, iou: IouType) -> Rle | np.ndarray:
    """The mask of a result, not yet checked for damage; or its box, xywh."""
    segmentation, bbox = result.get("segmentation"), result.get("bbox")
    if iou == "segm":
        if segmentation is None:
            hint = "; it has a bbox: compare boxes, --iou bbox" if bbox is not None else ""
            raise ValueError(f"segmentation is missing{hint}")
        return read_segmentation(segmentation, height, width)
    if bbox is not None:
        return parse_box(bbox)
    if segmentation is None:
        raise ValueError("bbox is missing, and there is no segmentation to take it from")
    mask = read_segmentation(segmentation, height, width)
    if damaged([mask])[0]:
        raise ValueError(damage(mask))
    return xyxy_to_xywh(tight_boxes([mask]))[0]


def _number(value: Any, where: str, name: str) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # 10^400
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where}: {name} is {shown(value)}, not a finite number")
    return number
