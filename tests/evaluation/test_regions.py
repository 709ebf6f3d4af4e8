from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation.regions import areas, broken_rle, pairwise_iou, parse_box, parse_mask
from instancefcn.geometry import rle as rle_codec
from instancefcn.geometry.rle import Rle


def slow_runs(code: bytes) -> list[int] | None:
    """Runs of a compressed RLE, character by character (maskApi.c, rleFrString); None where the code is damaged."""
    runs: list[int] = []
    position = 0
    while position < len(code):
        value, shift, more = 0, 0, True
        while more:
            if position == len(code) or not 0 <= code[position] - 48 < 64:
                return None
            digit = code[position] - 48
            value |= (digit & 31) << shift
            more = bool(digit & 32)
            shift += 5
            position += 1
            if not more and digit & 16:
                value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return runs


def is_whole(rle: Rle) -> bool:
    runs = slow_runs(rle["counts"])
    return runs is not None and min(runs, default=0) >= 0 and sum(runs) == rle["size"][0] * rle["size"][1]


def random_rle(generator: np.random.Generator) -> Rle:
    height, width = generator.integers(1, 60, 2)
    return rle_codec.encode(generator.random((height, width)) < generator.choice([0, 0.02, 0.5, 1]))


def test_whole_codes_are_passed() -> None:
    generator = np.random.default_rng(0)
    rles = [random_rle(generator) for _ in range(300)]
    large = np.zeros((3000, 4000), dtype=bool)
    large[10:-10, 2000:] = True
    rles.append(rle_codec.encode(large))  # runs of more than 2^16, and differences as large
    assert all(is_whole(rle) for rle in rles)
    assert broken_rle(rles) is None
    assert broken_rle([]) is None


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"5", id="too short"),
        pytest.param(b"T1", id="too long"),  # 36
        pytest.param(b"P", id="stops within a number"),
        pytest.param(b"1\xff", id="no such digit"),
        pytest.param(b"1 4", id="below the digits"),
        pytest.param(b"O6", id="negative run"),  # -1 and 6, which sum to 5
        pytest.param(b"PPPPPPPPPPPPPP1", id="more digits than a run has"),
    ],
)
def test_first_damaged_code_is_found(code: bytes) -> None:
    whole = {"size": [1, 5], "counts": b"5"} if code != b"5" else {"size": [1, 5], "counts": b"14"}
    size = [1, 6] if code == b"5" else [1, 5]
    broken: Rle = {"size": size, "counts": code}
    assert not is_whole(broken)
    assert broken_rle([broken]) == 0
    assert broken_rle([whole, whole, broken, whole, broken]) == 2  # pyright: ignore[reportArgumentType]


def test_damage_is_judged_as_character_by_character() -> None:
    generator = np.random.default_rng(1)
    for _ in range(400):
        rles = [random_rle(generator) for _ in range(3)]
        code = bytearray(rles[1]["counts"])
        place = generator.integers(len(code))
        if generator.random() < 0.5:
            code[place] = generator.integers(256)
        else:
            del code[place]
        rles[1] = {"size": rles[1]["size"], "counts": bytes(code)}
        assert broken_rle(rles) == (None if is_whole(rles[1]) else 1), rles[1]


def test_mask_from_every_form_of_segmentation() -> None:
    expected = np.zeros((4, 6), dtype=bool)
    expected[1:3, 2:5] = True
    compressed = rle_codec.to_json(rle_codec.encode(expected))
    uncompressed = {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}
    polygons = [[2, 1, 4, 1, 4, 3, 2, 3], [4, 1, 5, 1, 5, 3, 4, 3]]  # two halves
    for segmentation in (compressed, rle_codec.encode(expected), uncompressed, polygons):
        assert parse_mask(segmentation, 4, 6) == rle_codec.encode(expected)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("text", "neither an RLE"),
        (None, "neither an RLE"),
        ({"counts": "1"}, "size is None"),
        ({"size": [6, 4], "counts": "h0"}, r"size is \[6, 4\], but the image is \[4, 6\]"),
        ({"size": 4, "counts": "h0"}, "size is 4"),
        ({"size": [4, 6]}, "counts are neither"),
        ({"size": [4, 6], "counts": [1.5, 22.5]}, "counts are neither"),
        ({"size": [4, 6], "counts": "é"}, "counts are neither"),
        ({"size": [4, 6], "counts": [3, 3]}, "runs sum to 6"),
        ({"size": [4, 6], "counts": [-1, 25]}, "runs sum to 24"),
        ([], "segmentation is empty"),
        ([[0, 0, 3, 3]], "three points"),
        ([[0, 0, 3, 3, 1, 2, 5]], "three points"),
        ([1, 2, 3, 4, 5, 6], "three points"),
        ([[0, 0, 3, 3, 1, 1e9]], "leaves the image"),
        ([[0, 0, 3, 3, 1, float("nan")]], "leaves the image"),
        ([[0, 0, 3, 3, 1, "x"]], "not all numbers"),
    ],
)
def test_segmentation_that_is_none_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_mask(segmentation, 4, 6)


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, -3, 4], [1, 2, float("inf"), 4], "box", [[1, 2, 3, 4]], {}, None])
def test_box_that_is_none_is_refused(bbox: Any) -> None:
    with pytest.raises(ValueError, match="is not \\[x, y, width, height\\]"):
        parse_box(bbox)


def test_iou_of_masks_is_that_of_their_pixels() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.random((5, 9, 7)) < 0.4, generator.random((3, 9, 7)) < 0.6
    iou = pairwise_iou([rle_codec.encode(mask) for mask in a], [rle_codec.encode(mask) for mask in b])
    slow = [[(p & g).sum() / (p | g).sum() for g in b] for p in a]
    np.testing.assert_allclose(iou, slow, atol=1e-12)


def test_iou_of_boxes() -> None:
    iou = pairwise_iou(np.array([[0, 0, 2, 2], [1, 0, 2, 2.0]]), np.array([[0, 0, 2, 2.0]]))
    np.testing.assert_allclose(iou, [[1], [2 / 6]])


@pytest.mark.parametrize(("n", "g"), [(0, 2), (2, 0), (0, 0)])
def test_iou_of_nothing(n: int, g: int) -> None:
    assert pairwise_iou(np.ones((n, 4)), np.ones((g, 4))).shape == (n, g)
    rle = rle_codec.encode(np.ones((2, 2)))
    assert pairwise_iou([rle] * n, [rle] * g).shape == (n, g)


def test_areas_of_more_masks_than_a_byte_counts() -> None:
    pixels = np.arange(400).reshape(20, 20)
    assert areas([rle_codec.encode(pixels < size) for size in range(300)]).tolist() == list(range(300))
    assert areas(np.array([[5, 5, 2, 3.5]])).tolist() == [7]
