"""Selective search (Uijlings et al., IJCV 2013) with its regions as masks; OpenCV's own gives their boxes alone.

The first regions and the similarities are OpenCV's, in the setting of its fast mode: HSV and Lab images, graph
segmentation with k = 150, 300 and 450, two measures of similarity. The most similar neighbours merge until one region
is left. Merging and ranking are ours, so that every region's pixels are known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt8

from instancefcn.geometry.rle import Rle, encode_in_box, tight_boxes
from instancefcn.proposals import Proposals
from reproduce.peers import MIN_SIDE, opencv
from reproduce.recall import MAX_PROPOSALS

COLOUR_SPACES = ("COLOR_RGB2HSV", "COLOR_RGB2Lab")
SEGMENTATION_SCALES = (150.0, 300.0, 450.0)  # k of graph segmentation (Felzenszwalb and Huttenlocher, IJCV 2004)
SMOOTHING = 0.8  # pixels, before graph segmentation
MEASURES = (("Color", "Fill", "Texture", "Size"), ("Fill", "Texture", "Size"))  # each the mean of these similarities


@dataclass(frozen=True)
class Hierarchy:
    """Regions that merge, two by two, until one is left.

    Regions ``0 .. n - 1`` are the first ones, as ``labels`` numbers them; the i-th merge makes region ``n + i``.
    """

    labels: Int[np.ndarray, "h w"]
    merges: Sequence[tuple[int, int]]

    def members(self) -> Bool[np.ndarray, "regions n"]:
        """Which of the first regions each region consists of."""
        first = len(self.merges) + 1
        members = np.zeros((first + len(self.merges), first), dtype=bool)
        members[:first] = np.eye(first, dtype=bool)
        for region, (one, other) in enumerate(self.merges, start=first):
            members[region] = members[one] | members[other]
        return members


def selective_search(
    image: UInt8[np.ndarray, "h w 3"], *, max_proposals: int = MAX_PROPOSALS, seed: int = 0
) -> Proposals:
    """Regions of an RGB image as proposals, each region once.

    The rank is the paper's (section 4.4): a region's place in its hierarchy, 1 for the whole image, times a random
    number in [0, 1), the lowest first. The score says nothing but the rank: 1, then less by ``1 / max_proposals`` each.

    Raises:
        ModuleNotFoundError: OpenCV is not installed, or not with its contributed modules.
    """
    height, width = image.shape[:2]
    generator = np.random.default_rng(seed)
    ranked: list[tuple[float, int, int]] = []  # (rank, hierarchy, region)
    found = list(hierarchies(image))
    for index, hierarchy in enumerate(found):
        regions = 2 * len(hierarchy.merges) + 1
        ranks = generator.random(regions) * np.arange(regions, 0, -1)  # the last merge has place 1
        ranked += [(rank, index, region) for region, rank in enumerate(ranks.tolist())]
    members = [hierarchy.members() for hierarchy in found]
    boxes = [_first_boxes(hierarchy.labels) for hierarchy in found]
    rles: dict[bytes, Rle] = {}
    for _, index, region in sorted(ranked):
        if len(rles) == max_proposals:
            break
        member = members[index][region]
        left, top = boxes[index][member, :2].min(0).tolist()
        right, bottom = boxes[index][member, 2:].max(0).tolist()
        crop = member[found[index].labels[top:bottom, left:right]]
        rle = encode_in_box(crop, top, left, height, width)
        rles.setdefault(rle["counts"], rle)
    masks = list(rles.values())
    scores = 1 - np.arange(len(masks)) / max(max_proposals, 1)
    return Proposals(masks, tight_boxes(masks), scores, height, width)


def propose_masks(image: UInt8[np.ndarray, "h w 3"], image_id: int) -> list[dict[str, Any]]:
    """The best ``MAX_PROPOSALS`` regions of an image as COCO results.

    Raises:
        ModuleNotFoundError: see ``selective_search``.
    """
    return selective_search(image).to_coco(image_id)


def hierarchies(image: UInt8[np.ndarray, "h w 3"]) -> Iterator[Hierarchy]:
    """One hierarchy for each colour space, scale of segmentation and measure of similarity."""
    cv2 = opencv()
    if min(image.shape[:2]) < MIN_SIDE:
        return
    segmentation = cv2.ximgproc.segmentation
    for image_id, space in enumerate(COLOUR_SPACES):
        colours = cv2.cvtColor(np.ascontiguousarray(image), getattr(cv2, space))
        for scale in SEGMENTATION_SCALES:
            graph = segmentation.createGraphSegmentation(sigma=SMOOTHING, k=scale)
            labels = graph.processImage(colours)
            sizes = np.bincount(labels.ravel()).astype(np.int32)[:, None]
            for measure in MEASURES:
                parts = [
                    getattr(segmentation, f"createSelectiveSearchSegmentationStrategy{part}")() for part in measure
                ]
                similarity = segmentation.createSelectiveSearchSegmentationStrategyMultiple(*parts)
                similarity.setImage(colours, labels, sizes, image_id)
                yield Hierarchy(labels, merge_regions(neighbours(labels), similarity))


def neighbours(labels: Int[np.ndarray, "h w"]) -> list[set[int]]:
    """The regions that each region touches, as OpenCV counts: a pixel with those to its left, above, and above left.

    Pixels of the first row and column start no pair.
    """
    touching: list[set[int]] = [set() for _ in range(int(labels.max()) + 1)]
    here = labels[1:, 1:]
    for there in (labels[1:, :-1], labels[:-1, 1:], labels[:-1, :-1]):
        apart = here != there
        for one, other in np.unique(np.stack([here[apart], there[apart]], axis=1), axis=0).tolist():
            touching[one].add(other)
            touching[other].add(one)
    return touching


def merge_regions(touching: list[set[int]], similarity: Any) -> list[tuple[int, int]]:
    """Merge the two most similar neighbours again and again; the two of each merge, in order.

    Args:
        touching: the neighbours of each region, changed in place.
        similarity: OpenCV's strategy, ``get(one, other)`` in its own numbers and ``merge(one, other)`` into the first.
    """
    numbers = list(range(len(touching)))  # of each region, in OpenCV's strategy
    heap = [(-similarity.get(one, other), one, other) for one in numbers for other in touching[one] if one < other]
    heapq.heapify(heap)
    merged: set[int] = set()
    merges: list[tuple[int, int]] = []
    while heap:
        _, one, other = heapq.heappop(heap)
        if one in merged or other in merged:
            continue
        similarity.merge(numbers[one], numbers[other])
        region = len(numbers)
        merged |= {one, other}
        merges.append((one, other))
        numbers.append(numbers[one])
        touching.append((touching[one] | touching[other]) - {one, other})
        for neighbour in touching[region]:
            touching[neighbour] -= {one, other}
            touching[neighbour].add(region)
            heapq.heappush(heap, (-similarity.get(numbers[region], numbers[neighbour]), neighbour, region))
    return merges


def _first_boxes(labels: Int32[np.ndarray, "h w"]) -> Int[np.ndarray, "n 4"]:
    """Tight boxes of the first regions, xyxy, half-open."""
    rows, columns = np.indices(labels.shape)
    count = int(labels.max()) + 1
    low, high = np.full((count, 2), max(labels.shape)), np.zeros((count, 2), dtype=np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], labels.ravel(), places.ravel())
        np.maximum.at(high[:, axis], labels.ravel(), places.ravel() + 1)
    return np.concatenate([low, high], axis=1)
