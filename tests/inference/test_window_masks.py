from __future__ import annotations

import torch

from instancefcn.inference.window_masks import Runs, resample


def test_a_shift_is_a_resampling_between_windows_of_one_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    m, side, pairs = 6, 9, 200
    values = torch.rand(4, m, m, generator=generator)
    index = torch.randint(0, 4, (pairs,), generator=generator)
    offsets = torch.randint(-side - 1, m + 2, (pairs, 2), generator=generator)
    voters = torch.tensor([100.0, 100.0, 112.0, 112.0]).expand(pairs, 4)  # cells of 2 pixels, inside the image
    steps = 2 * (torch.arange(side) + 0.5)
    centres = (100 + 2 * offsets)[:, :, None] + steps
    shifted = Runs.of(values, margin=20).shifted(index, offsets, side)
    assert torch.allclose(shifted, resample(values[index], voters, centres), atol=1e-5)
    assert (shifted != 0).flatten(1).any(1).sum() > pairs / 4


def test_beyond_a_window_there_are_no_votes() -> None:
    runs = Runs.of(torch.ones(3, 2, 2), margin=4)
    shifted = runs.shifted(torch.tensor([1, 2]), torch.tensor([[-1, 0], [1, -3]]), side=4)
    assert shifted[0].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert shifted[1].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
