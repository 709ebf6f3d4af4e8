from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.model.assembling import OUTSIDE_LOGIT, assemble, assemble_windows, cells, write_masks
from instancefcn.structures import ScoreMaps


def test_cells_of_5_over_21() -> None:
    assert torch.bincount(cells(21, 5)).tolist() == [5, 4, 4, 4, 4]


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 7), m=st.integers(5, 42), seed=st.integers(0, 2**31))
def test_equals_the_loop_forward_and_backward(k: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(torch.randint(3, 30, (), generator=generator)) for _ in range(2))
    maps = torch.randn(2, k * k, height, width, generator=generator, dtype=torch.float64).float()
    fast, slow = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    # Corners such that windows hang over every border, and over all of them at once.
    corners = torch.stack([torch.randint(-m, side + 1, (4,), generator=generator) for side in (height, width)], dim=1)
    image = torch.randint(0, 2, (4,), generator=generator)
    weight = torch.randn(4, m, m, generator=generator)

    assembled, expected = assemble(fast, image, corners, m), oracles.assemble(slow, image, corners, m)
    assert torch.equal(assembled, expected)
    if expected.requires_grad:
        (assembled * weight).sum().backward()
        (expected * weight).sum().backward()
        assert slow.grad is None or torch.allclose(fast.grad, slow.grad, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(1, 7),
    m=st.integers(1, 21),
    density=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 2**31),
)
def test_what_is_written_equals_what_is_assembled(k: int, m: int, density: int, dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(torch.randint(2, 20, (), generator=generator)) for _ in range(2))
    # Channels last and beside others, as a network leaves them.
    together = torch.randn(1, 3 * k * k, density * height, density * width, generator=generator)
    instance = together.to(dtype, memory_format=torch.channels_last)[:, k * k : 2 * k * k]
    maps = ScoreMaps(instance, torch.zeros(1, height, width), None, 8, m, density)
    positions = torch.stack([torch.randint(0, side, (5,), generator=generator) for side in (height, width)], dim=1)
    first, second = np.empty((2, 5, density * m, density * m), dtype=np.float32)
    write_masks([maps, maps], [positions, positions.flip(0)], [first, second])
    np.testing.assert_array_equal(first, assemble_windows(maps, torch.zeros(5, dtype=torch.long), positions).float())
    np.testing.assert_array_equal(second, first[::-1])


@settings(max_examples=30, deadline=None)
@given(k=st.integers(1, 6), m=st.integers(1, 18), seed=st.integers(0, 2**31))
def test_blended_tiles_equal_the_loop(k: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    instance = torch.randn(1, k * k, 9, 12, generator=generator).contiguous(memory_format=torch.channels_last)
    maps = ScoreMaps(instance, torch.zeros(1, 9, 12), None, 8, m)
    positions = torch.stack([torch.randint(0, side, (4,), generator=generator) for side in (9, 12)], dim=1)
    out = np.empty((4, m, m), dtype=np.float32)
    write_masks([maps], [positions], [out], blend=True)
    for mask, (y, x) in zip(out, positions.tolist(), strict=True):
        expected = oracles.assemble_blended(instance[0], (y - m // 2, x - m // 2), m)
        np.testing.assert_allclose(mask, expected, atol=1e-5)


def test_a_blended_literal() -> None:
    # Map c holds the constant c: a window of 4 pixels, whose cells have their centres between its pixels.
    maps = ScoreMaps(torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 8, 8), torch.zeros(1, 8, 8), None, 8, 4)
    out = np.empty((1, 4, 4), dtype=np.float32)
    write_masks([maps], [torch.tensor([[4, 4]])], [out], blend=True)
    assert out[0, 0].tolist() == [0, 0.25, 0.75, 1]
    assert out[0, :, 0].tolist() == [0, 0.5, 1.5, 2]


def test_a_mask_layers_masks_are_written() -> None:
    def ones(_: torch.Tensor, index: torch.Tensor, __: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(index), 3, 3)

    maps = ScoreMaps(torch.zeros(1, 4, 6, 6), torch.zeros(1, 6, 6), None, 8, 3, mask_layer=ones)
    out = np.zeros((2, 3, 3), dtype=np.float32)
    write_masks([maps], [torch.tensor([[1, 2], [3, 4]])], [out])
    assert (out == 1).all()


def test_no_windows() -> None:
    assert assemble(
        torch.zeros(1, 4, 3, 3), torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, dtype=torch.long), 6
    ).shape == (0, 6, 6)


def test_a_window_outside_is_background() -> None:
    mask = assemble(torch.ones(1, 4, 3, 3), torch.tensor([0]), torch.tensor([[50, 50]]), 4)
    assert (mask == OUTSIDE_LOGIT).all()


def test_tiles_of_a_literal() -> None:
    # Map c holds the constant c: the mask shows which map each pixel comes from.
    maps = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 3, 3)
    mask = assemble(maps, torch.tensor([0]), torch.tensor([[0, 0]]), 3)
    assert mask[0].tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]


@pytest.mark.parametrize("density", [1, 2])
def test_the_window_of_a_position_is_centred_there(density: int) -> None:
    # Each cell holds its own row: the window of row 7 with m = 5 spans rows 5 to 9.
    rows = torch.arange(12 * density).float()[None, None, :, None].expand(1, 1, 12 * density, 12 * density)
    maps = ScoreMaps(rows, torch.zeros(1, 12, 12), None, stride=8, m=5, density=density)
    mask = assemble_windows(maps, torch.tensor([0]), torch.tensor([[7, 6]]))
    assert mask[0, :, 0].tolist() == list(range(5 * density, 10 * density))
