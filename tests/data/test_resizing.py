"""Resizing, beside torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from instancefcn.data.resizing import resize

NATIVE = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")  # elsewhere torchvision resizes floats


@pytest.mark.skipif(not NATIVE, reason="torchvision rounds floats on this processor")
@pytest.mark.parametrize("size", [(48, 64), (31, 20), (90, 7), (1, 2), (33, 47)])
@pytest.mark.parametrize("last", [True, False])
def test_it_is_torchvisions_bit_by_bit(size: tuple[int, int], last: bool) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)).permute(2, 0, 1)
    pixels = pixels if last else pixels.contiguous()
    for image in (pixels, pixels[:, 3:30, 5:]):
        resized = resize(image, size)
        assert torch.equal(resized, TF.resize(image, list(size), antialias=True))
    whole = resize(pixels, size)
    assert whole[None].is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def test_an_image_one_pixel_wide_is_resized_alike_in_any_layout() -> None:
    plain = np.random.default_rng(0).integers(0, 256, (200, 1, 3), dtype=np.uint8)
    planar = np.ascontiguousarray(plain.transpose(2, 0, 1)).transpose(1, 2, 0)
    expected = np.array(Image.fromarray(plain).resize((60, 60), Image.Resampling.BILINEAR))
    for array in (plain, planar, np.asfortranarray(plain)):
        resized = resize(torch.from_numpy(array).permute(2, 0, 1), (60, 60)).permute(1, 2, 0).numpy()
        assert np.abs(resized.astype(int) - expected).max() <= 1


def test_an_image_of_that_size_stays_as_it_is() -> None:
    pixels = torch.zeros(3, 4, 5, dtype=torch.uint8)
    assert resize(pixels, (4, 5)) is pixels
    assert resize(torch.full((3, 1, 1), 7, dtype=torch.uint8), (2, 3)).tolist() == [[[7] * 3] * 2] * 3
