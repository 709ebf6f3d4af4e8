"""Copy-paste: what is pasted is seen, what it covers is not, and nothing else changes."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from instancefcn.data.augmentation import copy_paste
from instancefcn.data.training_image import TrainingImage
from instancefcn.geometry.cropped_masks import CroppedMasks
from pictures import masks_of


def training_image(masks: Tensor, ignored: Tensor, colour: int = 0, partial: bool = False) -> TrainingImage:
    """An image of one colour."""
    height, width = masks.shape[1:]
    cropped = CroppedMasks.of(masks.to(torch.uint8).numpy())
    return TrainingImage(
        image=torch.full((3, height, width), colour, dtype=torch.uint8),
        gt_masks=cropped,
        gt_boxes=torch.from_numpy(cropped.boxes_xyxy).float(),
        gt_ignored=ignored,
        void=torch.zeros(height, width, dtype=torch.bool),
        padding=torch.zeros(height, width, dtype=torch.bool),
        partial=partial,
        shorter_side=float(min(height, width)),
        longer_side=float(max(height, width)),
        scale=1.0,
    )


def random_image(rng: np.random.Generator, count: int, height: int, width: int) -> TrainingImage:
    """Pixels, boxes as masks (none of them empty), flags and void at random."""
    masks = torch.zeros(count, height, width)
    for mask in masks:
        top, left = rng.integers(height), rng.integers(width)
        mask[top : rng.integers(top, height) + 1, left : rng.integers(left, width) + 1] = 1
    flat = training_image(masks, torch.from_numpy(rng.random(count) < 0.3), partial=bool(rng.random() < 0.5))
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))
    void, padding = (torch.from_numpy(rng.random((height, width)) < 0.2) for _ in range(2))
    return replace(flat, image=image, void=void, padding=padding)


def contents(image: TrainingImage) -> list[object]:
    """Every field as plain values, to compare whole images."""
    values = (getattr(image, field.name) for field in fields(image))
    values = (value.whole() if isinstance(value, CroppedMasks) else value for value in values)
    return [value.tolist() if isinstance(value, Tensor | np.ndarray) else value for value in values]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    base_count=st.integers(0, 4),
    donor_count=st.integers(0, 5),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
)
def test_pasting(seed: int, base_count: int, donor_count: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    base, donor = (random_image(rng, count, height, width) for count in (base_count, donor_count))
    before = contents(base), contents(donor)

    result = copy_paste(base, donor, rng)

    assert (contents(base), contents(donor)) == before
    candidates = [mask.tolist() for mask in masks_of(donor)[~donor.gt_ignored]]
    if not candidates:
        assert contents(result) == before[0]
        return
    # A half of the donor's, rounded up, each once at most, and last in the list.
    pasted = masks_of(result)[len(result.gt_masks) - (len(candidates) + 1) // 2 :]
    for mask in pasted:
        candidates.remove(mask.tolist())
    covered = pasted.bool().any(0)
    assert torch.equal(result.image[:, covered], donor.image[:, covered])
    assert torch.equal(result.image[:, ~covered], base.image[:, ~covered])
    assert torch.equal(result.void, base.void & ~covered)
    assert torch.equal(result.padding, base.padding & ~covered)

    index = 0
    for mask, was_ignored in zip(masks_of(base), base.gt_ignored, strict=True):
        left, area = int((mask.bool() & ~covered).sum()), int(mask.sum())
        if not left:
            continue
        assert torch.equal(masks_of(result)[index].bool(), mask.bool() & ~covered)
        if 10 * left != 3 * area:  # there, rounding decides
            assert result.gt_ignored[index] == (was_ignored or 10 * left < 3 * area)
        index += 1
    assert index == len(result.gt_masks) - len(pasted)
    assert not result.gt_ignored[index:].any()
    assert result.gt_boxes.tolist() == [oracles.tight_box(mask) for mask in torch.unbind(masks_of(result))]
    assert (result.partial, result.shorter_side, result.scale) == (base.partial, base.shorter_side, base.scale)
    dtypes = (result.image.dtype, masks_of(result).dtype, result.gt_ignored.dtype, result.void.dtype)
    assert dtypes == (torch.uint8, torch.uint8, torch.bool, torch.bool)


def test_a_literal() -> None:
    # The pasted one covers the second of the base's, and three quarters of the first.
    base = training_image(torch.tensor([[[1, 1, 1, 1, 0]], [[0, 0, 0, 0, 1]]]), torch.tensor([False, False]), colour=1)
    donor = training_image(torch.tensor([[[0, 1, 1, 1, 1]]]), torch.tensor([False]), colour=2)
    result = copy_paste(base, donor, np.random.default_rng(0))
    assert result.image.tolist() == [[[1, 2, 2, 2, 2]]] * 3
    assert masks_of(result).tolist() == [[[1, 0, 0, 0, 0]], [[0, 1, 1, 1, 1]]]
    assert result.gt_boxes.tolist() == [[0, 0, 1, 1], [1, 0, 5, 1]]
    assert result.gt_ignored.tolist() == [True, False]


def test_half_covered_is_still_judged() -> None:
    base = training_image(torch.tensor([[[1, 1, 1, 1]]]), torch.tensor([False]))
    donor = training_image(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([False]))
    assert copy_paste(base, donor, np.random.default_rng(0)).gt_ignored.tolist() == [False, False]


def test_ignored_instances_stay_behind() -> None:
    base = training_image(torch.zeros(0, 1, 4), torch.zeros(0, dtype=torch.bool), colour=1)
    donor = training_image(torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 1]]]), torch.tensor([True, False]), colour=2)
    result = copy_paste(base, donor, np.random.default_rng(0))
    assert result.image[0].tolist() == [[1, 1, 1, 2]]
    assert masks_of(result).tolist() == [[[0, 0, 0, 1]]]


def test_every_instance_of_the_donor_is_chosen_at_times() -> None:
    base = training_image(torch.zeros(0, 1, 3), torch.zeros(0, dtype=torch.bool))
    donor = training_image(torch.eye(3)[:, None], torch.zeros(3, dtype=torch.bool), colour=2)
    chosen = torch.stack([copy_paste(base, donor, np.random.default_rng(seed)).image[0, 0] for seed in range(20)])
    assert (chosen == 2).sum(1).tolist() == [2] * 20
    assert (chosen == 2).any(0).all()
