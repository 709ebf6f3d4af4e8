from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.model.assembling import OUTSIDE_LOGIT, assemble, assemble_windows, cells
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
