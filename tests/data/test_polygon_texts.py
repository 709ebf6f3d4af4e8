"""Masks of polygons from their JSON: those that are made one by one, or none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instancefcn.data import polygon_texts
from instancefcn.data.polygon_texts import masks_of_texts
from instancefcn.data.segmentations import segmentation_to_rle

HEIGHT, WIDTH = 21, 33


def one_by_one(segmentation: Any, height: int, width: int) -> bytes:
    """Its code; none where something had to be said of it."""
    said: list[str] = []
    try:
        rle = segmentation_to_rle(segmentation, height, width, said.append)
    except ValueError:
        return b""
    return b"" if said or not isinstance(segmentation, list) else rle["counts"]


def at_once(texts: list[bytes], height: int = HEIGHT, width: int = WIDTH) -> list[bytes]:
    return list(masks_of_texts(texts, np.array([[height, width]] * len(texts), dtype=np.int64).reshape(-1, 2)))


numbers = st.one_of(
    st.integers(-3, 40),
    st.floats(-2, 40),
    st.integers(-20, 400).map(lambda number: number / 10),
    st.integers(-100, 4000).map(lambda number: round(number / 100, 2)),
    st.sampled_from([0.0, -0.0, 5e-324, 239.97000000000003, 1e300, 1e16, 123456789012345678, 0.1 + 0.2]),
)
polygons = st.lists(st.lists(numbers, max_size=14), max_size=3)
even = st.lists(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=7), min_size=1, max_size=3).map(
    lambda parts: [[number for point in part for number in point] for part in parts]
)
inside = st.lists(
    st.lists(st.tuples(st.floats(-1, WIDTH + 1), st.floats(-1, HEIGHT + 1)), min_size=3, max_size=9),
    min_size=1,
    max_size=3,
).map(lambda parts: [[number for point in part for number in point] for part in parts])


@settings(max_examples=150, deadline=None)  # the first one compiles
@given(st.lists(st.one_of(polygons, even, inside), max_size=6))
@example([[[0, 0], [0, 2], [1, 0]]])
def test_masks_are_those_that_are_made_one_by_one(segmentations: list[Any]) -> None:
    texts = [json.dumps(one).encode() for one in segmentations]
    for segmentation, code in zip(segmentations, at_once(texts), strict=True):
        expected = one_by_one(segmentation, HEIGHT, WIDTH)
        # Three pairs or more are the points of one polygon, which is another form.
        points = len(segmentation) > 2 and all(len(part) == 2 for part in segmentation)
        assert code == (b"" if points else expected)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"{}", b"[]", b"[[]]", b"[1,2,3,4,5,6]", b"[[1,2,3,4]]", b"[[1,2,3,4,5]]", b"[[[1,2],[3,4]]]"),
        *(b"[[1,2,9,2,9,9],]", b"[[1,,2,9,2,9,9]]", b"[[1 2 9 2 9 9]]", b"[[1,2,9,2,9,9]", b"[[1,2,9,2,9,9]]]"),
        *(b'[["1",2,9,2,9,9]]', b"[[01,2,9,2,9,9]]", b"[[1.,2,9,2,9,9]]", b"[[.1,2,9,2,9,9]]"),
        *(b"[[-,2,9,2,9,9]]", b"[[1,2,9,2,9,9],[]]", b"[[1,2,9,2,9,9]] 1", b"[[true,2,9,2,9,9]]", b"[[NaN,2,9,2,9,9]]"),
        *(b"[[1,2,9,2,9,9][1,2,9,2,9,9]]", b"[1,[1,2,9,2,9,9]]", b"[[1,2,9,2,9,9],1]", b"[[1.2.3,2,9,2,9,9]]"),
    ],
)
def test_another_form_is_left_to_others(text: bytes) -> None:
    sound = b" [ [ 1 , 2,9.0,\n2, 9 ,\t9 ] ] "
    first, second, third = at_once([sound, text, sound])
    assert first == third == one_by_one([[1, 2, 9, 2, 9, 9]], HEIGHT, WIDTH)
    assert second == b""


def test_exponents_are_read() -> None:
    assert at_once([b"[[1e0,2,0.9E+1,2,9,900e-2]]"]) == [one_by_one([[1, 2, 9, 2, 9, 9]], HEIGHT, WIDTH)] != [b""]


def test_a_line_and_a_far_one_are_left_to_others() -> None:
    assert at_once([b"[[1,1,5,1,9,1]]", b"[[1,1,50,1,9,9]]", b"[[1,1,34.1,1,9,9]]"]) == [b""] * 3
    (code,) = at_once([b"[[1,1,34,1,9,9]]"])
    assert code == one_by_one([[1, 1, 34, 1, 9, 9]], HEIGHT, WIDTH) != b""


def test_a_zigzag_has_more_code_than_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is no room for it at first."""
    side = 2000
    tooth = [0, 0, side, 1, 0, 2]
    text = json.dumps([tooth, [0, 5, side, 6, 0, 7]], separators=(",", ":")).encode()
    found = at_once([text] * 3, side, side)
    assert found == [one_by_one(json.loads(text), side, side)] * 3
    assert len(found[0]) > len(text)


def test_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygon_texts, "AT_ONCE", 7)
    random = np.random.default_rng(0)
    segmentations = [[random.uniform(0, 20, 12).round(2).tolist()] for _ in range(100)]
    sizes = random.integers(20, 30, (100, 2))
    found = masks_of_texts([json.dumps(one).encode() for one in segmentations], sizes)
    assert list(found) == [
        one_by_one(one, int(height), int(width))
        for one, (height, width) in zip(segmentations, sizes.tolist(), strict=True)
    ]
    assert list(masks_of_texts([], sizes[:0])) == []
