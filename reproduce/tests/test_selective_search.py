from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from instancefcn.geometry.rle import area
from reproduce.selective_search import Hierarchy, hierarchies, merge_regions, neighbours, selective_search

LABELS = np.array([[0, 0, 1], [0, 2, 1], [3, 2, 2]], dtype=np.int32)


class ByNumber:
    """A similarity that is known by hand: regions are the more alike the nearer their numbers are."""

    def get(self, one: int, other: int) -> float:
        return -abs(one - other)

    def merge(self, one: int, other: int) -> None:
        pass


def opencv_boxes(image: np.ndarray) -> set[tuple[int, ...]]:
    """Boxes of OpenCV's own selective search, xyxy."""
    import cv2  # pyright: ignore[reportMissingImports]

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))
    search.switchToSelectiveSearchFast()
    return {(x, y, x + w, y + h) for x, y, w, h in search.process().tolist()}


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """A small photograph; skips where OpenCV lacks."""
    pytest.importorskip("cv2.ximgproc", reason="needs OpenCV's contributed modules: instancefcn[bench]")
    skimage_data: Any = pytest.importorskip("skimage.data")
    return np.asarray(Image.fromarray(skimage_data.chelsea()).resize((240, 160)))


def test_regions_touch_left_above_and_above_left() -> None:
    # 0 and 3 meet in the first column alone, which has no pixel to its left: OpenCV does not look there either.
    assert neighbours(LABELS) == [{1, 2}, {0, 2}, {0, 1, 3}, {2}]


def test_the_most_similar_neighbours_merge_first() -> None:
    # 0 and 1 are as near as 1 and 2: the lower pair goes first and keeps its number 0. Then 3 is nearest to 2.
    assert merge_regions(neighbours(LABELS), ByNumber()) == [(0, 1), (2, 3), (4, 5)]


def test_a_region_consists_of_what_merged_into_it() -> None:
    members = Hierarchy(LABELS, [(0, 1), (2, 3), (4, 5)]).members()
    assert [np.flatnonzero(row).tolist() for row in members[4:]] == [[0, 1], [2, 3], [0, 1, 2, 3]]


def test_boxes_are_those_of_opencv(cat: np.ndarray) -> None:
    theirs = opencv_boxes(cat)
    ours = {tuple(box) for box in selective_search(cat, max_proposals=10**6).boxes_xyxy.astype(int).tolist()}
    # Where two pairs of neighbours are equally similar, either may merge first.
    assert len(ours & theirs) >= 0.9 * max(len(ours), len(theirs))


def test_regions_of_one_hierarchy_lie_in_each_other_or_apart(cat: np.ndarray) -> None:
    for hierarchy in hierarchies(cat):
        members = hierarchy.members()
        shared = members.astype(int) @ members.T.astype(int)
        sizes = members.sum(1)
        assert ((shared == 0) | (shared == np.minimum(sizes[:, None], sizes[None]))).all()


def test_every_region_comes_once_and_the_whole_image_among_the_first(cat: np.ndarray) -> None:
    proposals = selective_search(cat, max_proposals=100)
    codes = [rle["counts"] for rle in proposals.rles]
    assert len(codes) == len(set(codes)) == 100
    assert cat.shape[0] * cat.shape[1] in [area(rle) for rle in proposals.rles[:20]]
    assert (np.diff(proposals.scores) < 0).all()


def test_the_seed_decides_the_ranks(cat: np.ndarray) -> None:
    first, again, other = (selective_search(cat, max_proposals=30, seed=seed) for seed in (1, 1, 2))
    assert first.rles == again.rles
    assert first.rles != other.rles


@pytest.mark.usefixtures("cat")
def test_an_image_without_neighbours_has_no_proposal() -> None:
    assert len(selective_search(np.zeros((2, 50, 3), dtype=np.uint8))) == 0
