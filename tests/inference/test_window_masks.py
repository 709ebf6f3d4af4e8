from __future__ import annotations

import torch

import oracles
from instancefcn.inference.window_masks import PaddedWindows, resample


def test_squares_are_a_resampling_between_windows_of_one_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    m, side, pairs = 12, 9, 200
    values = torch.rand(4, m, m, generator=generator)
    index = torch.randint(0, 4, (pairs,), generator=generator)
    offsets = torch.randint(-3, m + 3 - side + 1, (pairs, 2), generator=generator)
    padded = PaddedWindows.of(values)
    assert padded.reaches(offsets, side).all()
    voters = torch.tensor([100.0, 100.0, 124.0, 124.0]).expand(pairs, 4)  # cells of 2 pixels, inside the image
    steps = 2 * (torch.arange(side) + 0.5)
    centres = (100 + 2 * offsets)[:, :, None] + steps
    squares = padded.squares(index, offsets, side)
    assert torch.allclose(squares, resample(values[index], voters, centres), atol=1e-5)
    assert (squares == 0).any()


def test_resampling_equals_the_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    n, m, side = 20, 7, 9
    values = torch.randn(n, m, m, generator=generator)
    cell = 0.5 + 3 * torch.rand(n, 2, generator=generator)
    corners = 30 * torch.rand(n, 2, generator=generator) - 12  # many hang over the border
    windows = torch.cat([corners, corners + m * cell], dim=1)
    points = 50 * torch.rand(n, 2, side, generator=generator) - 15
    expected = [
        [[oracles.value_at(of_one, window.tolist(), x, y) for x in xs] for y in ys]
        for of_one, window, (xs, ys) in zip(values, windows, points.tolist(), strict=True)
    ]
    assert torch.allclose(resample(values, windows, points), torch.tensor(expected), atol=1e-4)
    assert resample(values[:0], windows[:0], points[:0]).shape == (0, side, side)


def test_beyond_a_window_there_are_no_votes() -> None:
    padded = PaddedWindows.of(torch.ones(3, 2, 2))
    squares = padded.squares(torch.tensor([1, 2]), torch.tensor([[-1, 0], [0, -1]]), side=3)
    assert squares[0].tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    assert squares[1].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_what_lies_beyond_the_margins_is_not_reached() -> None:
    padded = PaddedWindows.of(torch.ones(1, 6, 6))  # margins of 2
    offsets = torch.tensor([[-2, -2], [4, 4], [-3, 0], [0, 5]])
    assert padded.reaches(offsets, side=4).tolist() == [True, True, False, False]


def test_no_windows() -> None:
    padded = PaddedWindows.of(torch.ones(0, 4, 4))
    none = torch.zeros(0, dtype=torch.long)
    for side in (3, 30):
        assert padded.squares(none, torch.zeros(0, 2, dtype=torch.long), side).shape == (0, side, side)
