from __future__ import annotations

import torch

from instancefcn.inference.window_masks import Margined, resample


def test_squares_are_a_resampling_between_windows_of_one_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    m, side, pairs = 12, 9, 200
    values = torch.rand(4, m, m, generator=generator)
    index = torch.randint(0, 4, (pairs,), generator=generator)
    offsets = torch.randint(-3, m + 3 - side + 1, (pairs, 2), generator=generator)
    margined = Margined.of(values)
    assert margined.reaches(offsets, side).all()
    voters = torch.tensor([100.0, 100.0, 124.0, 124.0]).expand(pairs, 4)  # cells of 2 pixels, inside the image
    steps = 2 * (torch.arange(side) + 0.5)
    centres = (100 + 2 * offsets)[:, :, None] + steps
    squares = margined.squares(index, offsets, side)
    assert torch.allclose(squares, resample(values[index], voters, centres), atol=1e-5)
    assert (squares == 0).any()


def test_beyond_a_window_there_are_no_votes() -> None:
    margined = Margined.of(torch.ones(3, 2, 2))
    squares = margined.squares(torch.tensor([1, 2]), torch.tensor([[-1, 0], [0, -1]]), side=3)
    assert squares[0].tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    assert squares[1].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_what_lies_beyond_the_margins_is_not_reached() -> None:
    margined = Margined.of(torch.ones(1, 6, 6))  # margins of 2
    offsets = torch.tensor([[-2, -2], [4, 4], [-3, 0], [0, 5]])
    assert margined.reaches(offsets, side=4).tolist() == [True, True, False, False]


def test_no_windows() -> None:
    margined = Margined.of(torch.ones(0, 4, 4))
    none = torch.zeros(0, dtype=torch.long)
    for side in (3, 30):
        assert margined.squares(none, torch.zeros(0, 2, dtype=torch.long), side).shape == (0, side, side)
