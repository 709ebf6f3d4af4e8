from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.geometry.rle import Rle, damaged, encode, encode_edges, run_ends
from instancefcn.geometry.runs import Edges, near_box


def random_masks(seed: int, n: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = rng.random((n, height, width)) < rng.choice([0.02, 0.5, 0.98], (n, 1, 1))
    masks[0] = True
    masks[1] = False
    masks[2, :, 3:] = np.arange(height)[:, None] < height // 2  # long equal runs: differences of zero
    return masks


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(7, 5), (40, 33), (300, 200)]))
def test_every_pixel_is_where_the_mask_has_it(seed: int, size: tuple[int, int]) -> None:
    masks = random_masks(seed, 6, *size)
    edges = Edges.of([encode(mask) for mask in masks], *size)
    everywhere = np.tile(np.arange(size[0] * size[1]), (6, 1))
    np.testing.assert_array_equal(edges.contain(everywhere), masks.transpose(0, 2, 1).reshape(6, -1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_weighted_sum_is_that_of_decoded_masks(seed: int) -> None:
    masks = random_masks(seed, 6, 20, 30)
    masks[:, :, :4] = masks[:, :, 25:] = False
    edges = Edges.of([encode(mask) for mask in masks], 20, 30)
    chosen, weights = np.array([4, 0, 2, 1]), np.random.default_rng(seed).random(4)
    expected = np.einsum("v,vhw->hw", weights, masks[chosen].astype(float))[:, 4:25]
    np.testing.assert_allclose(edges.weighted_sum(chosen, weights, 4, 25), expected, atol=1e-9)


@pytest.mark.parametrize(("margin", "box"), [(0, np.s_[3:5, 2:6]), (2, np.s_[1:7, 0:8]), (50, np.s_[0:8, 0:9])])
def test_a_mask_near_its_box_is_cut_at_the_image(margin: int, box: tuple[slice, slice]) -> None:
    mask = np.zeros((8, 9), dtype=bool)
    mask[3, 2] = mask[4, 3:6] = True
    rows, columns, there = near_box(encode(mask), margin)
    assert (rows, columns) == box
    np.testing.assert_array_equal(there, mask[box])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(7, 5), (40, 33), (1, 9)]))
def test_what_is_sampled_is_what_the_decoded_mask_has_there(seed: int, size: tuple[int, int]) -> None:
    """Also of rows and columns that come twice, as in a larger picture."""
    masks, rng = random_masks(seed, 6, *size), np.random.default_rng(seed)
    edges = Edges.of([encode(mask) for mask in masks], *size)
    rows, columns = (np.sort(rng.integers(0, side, rng.integers(0, 12))) for side in size)
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(edges.sample(index, rows, columns), mask[np.ix_(rows, columns)])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(7, 5), (40, 33), (1, 9)]))
def test_areas_in_a_box_are_those_of_decoded_masks(seed: int, size: tuple[int, int]) -> None:
    masks, rng = random_masks(seed, 6, *size), np.random.default_rng(seed)
    edges = Edges.of([encode(mask) for mask in masks], *size)
    (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, 2)) for side in size)
    expected = masks[:, top:bottom, left:right].sum((1, 2))
    assert edges.areas_in(int(top), int(left), int(bottom), int(right)).tolist() == expected.tolist()


def test_a_part_of_a_large_mask_takes_no_memory_of_the_rest() -> None:
    side = 2**15  # a gigapixel
    edges = Edges.of([encode_edges(np.array([5, side * side - 3]), side, side)], side, side)
    assert edges.sample(0, np.array([0, 4, 5]), np.array([0, 1])).tolist() == [[False, True], [False, True], [True] * 2]
    assert edges.areas_in(0, 0, side, side).tolist() == [side * side - 8]
    assert edges.areas_in(side - 4, side - 1, side, side).tolist() == [1]


def test_literal() -> None:
    mask = np.array([[0, 1], [1, 1]])
    edges = Edges.of([encode(mask), encode(mask * 0)], 2, 2)
    assert edges.places.tolist() == [1, 4]  # down the first column, then the second
    assert edges.bounds.tolist() == [0, 2, 2]


def test_no_masks() -> None:
    edges = Edges.of([], 4, 5)
    assert edges.contain(np.zeros((0, 3), dtype=int)).shape == (0, 3)


def random_code(rng: np.random.Generator) -> Rle:
    height, width = rng.integers(1, 60, 2)
    return encode(rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 1]))


def is_whole(rle: Rle) -> bool:
    runs = oracles.read_counts(rle["counts"])
    return runs is not None and min(runs, default=-1) >= 0 and sum(runs) == rle["size"][0] * rle["size"][1]


def test_whole_codes_are_read() -> None:
    rng = np.random.default_rng(0)
    rles = [random_code(rng) for _ in range(300)]
    large = np.zeros((3000, 4000), dtype=bool)
    large[10:-10, 2000:] = True
    rles.append(encode(large))  # runs of more than 2^16, and differences as large
    places, bounds = run_ends([rle["counts"] for rle in rles])
    for index, rle in enumerate(rles):
        runs = oracles.read_counts(rle["counts"])
        assert runs is not None
        assert np.diff(places[bounds[index] : bounds[index + 1]], prepend=0).tolist() == runs
    assert not damaged(rles).any()
    assert damaged([]).tolist() == []


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"4", id="too short"),
        pytest.param(b"T1", id="too long"),  # 36
        pytest.param(b"P", id="stops within a number"),
        pytest.param(b"5P", id="stops within a number behind whole ones"),
        pytest.param(b"1\xff", id="no such digit"),
        pytest.param(b"1 4", id="below the digits"),
        pytest.param(b"O6", id="negative run"),  # -1 and 6, which sum to 5
        pytest.param(b"PPPPPPPPPPPPPP1", id="more digits than a run has"),
        pytest.param(b"PPPPPPPPPPPPP21", id="a digit beyond 64 bits"),
    ],
)
def test_damaged_codes_are_found(code: bytes) -> None:
    whole, broken = (Rle(size=[1, 5], counts=counts) for counts in (b"5", code))
    assert is_whole(whole)
    assert not is_whole(broken)
    assert damaged([broken]).tolist() == [True]
    assert damaged([whole, whole, broken, whole, broken]).tolist() == [False, False, True, False, True]


def test_damage_is_judged_as_character_by_character() -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        rles = [random_code(rng) for _ in range(3)]
        code = bytearray(rles[1]["counts"])
        place = rng.integers(len(code))
        if rng.random() < 0.5:
            code[place] = rng.integers(256)
        else:
            del code[place]
        rles[1] = {"size": rles[1]["size"], "counts": bytes(code)}
        assert damaged(rles).tolist() == [False, not is_whole(rles[1]), False], rles[1]
