from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from instancefcn.data.training_image import TrainingImage
from instancefcn.geometry.cropped_masks import CroppedMasks
from instancefcn.structures import ScoreMaps, WindowSize
from instancefcn.training.assignment import IGNORED, NEGATIVE, POSITIVE, Assignment, AssignmentConfig, Grid, assign
from instancefcn.training.batch import assign_image
from instancefcn.training.losses import (
    LossConfig,
    LossTotals,
    compute_losses,
    dice_loss,
    mask_iou_with_instance,
    objectness_loss,
    pixel_loss,
)
from instancefcn.training.recipe import load_recipe
from instancefcn.training.targets import SampledWindows, SamplingConfig, keep_sampled, sample_windows
from pictures import masks_of

CONFIG = AssignmentConfig(object_to_window=128 / 224)  # windows of 56 px are made for objects of 32


SIZE = WindowSize(8, 7, 2)


def scene(*boxes: tuple[int, int, int, int], side: int = 160) -> TrainingImage:
    """Rectangles, as they are, on a square image."""
    masks = torch.zeros(len(boxes), side, side, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    gt_boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return TrainingImage(
        image=torch.zeros(3, side, side, dtype=torch.uint8),
        gt_masks=CroppedMasks.of(masks.numpy()),
        gt_boxes=gt_boxes,
        gt_ignored=torch.zeros(len(boxes), dtype=torch.bool),
        void=torch.zeros(side, side, dtype=torch.bool),
        padding=torch.zeros(side, side, dtype=torch.bool),
        partial=False,
        shorter_side=float(side),
        longer_side=float(side),
        scale=1.0,
    )


def blank_maps(images: int, side: int = 160) -> ScoreMaps:
    stride, _, density = SIZE
    cells = side // stride
    return ScoreMaps(
        torch.zeros(images, 4, cells * density, cells * density, requires_grad=True),
        torch.zeros(images, cells, cells, requires_grad=True),
        torch.zeros(images, cells, cells, requires_grad=True),
        *SIZE,
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sampling_is_one_to_one_and_negatives_fill_up() -> None:
    labels = torch.full((40, 40), NEGATIVE)
    labels[:2] = POSITIVE  # 80
    labels[2:4] = IGNORED
    many, few = (keep_sampled([Assignment(labels, labels)], windows, generator())[0].labels for windows in (100, 256))
    assert (int((many == POSITIVE).sum()), int((many == NEGATIVE).sum())) == (50, 50)
    assert (int((few == POSITIVE).sum()), int((few == NEGATIVE).sum())) == (80, 176)
    assert (many[2:4] == IGNORED).all()
    assert ((many == POSITIVE) <= (labels == POSITIVE)).all()


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("density", [1, 2])
def test_targets_are_the_instance_averaged_over_cells(density: int, soft: bool) -> None:
    image = scene((61, 50, 93, 82))  # 32 px: what 56-px windows are made for
    assignments = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], CONFIG)
    config = SamplingConfig(near_misses=0, soft_targets=soft)
    (windows,) = sample_windows([WindowSize(8, 7, density)], [assignments], [image], config, [generator()])
    assert len(windows.positions_yx) == int((assignments[0].labels == POSITIVE).sum()) > 0
    cell = 8 // density
    for (y, x), target in zip(windows.positions_yx.tolist(), windows.targets, strict=True):
        for i in range(7 * density):
            for j in range(7 * density):
                top, left = (y - 3) * 8 + i * cell, (x - 3) * 8 + j * cell
                inside = masks_of(image)[0, max(top, 0) : top + cell, max(left, 0) : left + cell].sum()
                share = float(inside / cell**2)
                assert target[i, j] == (share if soft else float(share >= 0.5))
    assert windows.gt_cells.unique().tolist() == [float(windows.targets[0].sum())]


def test_near_misses_are_drawn_on_request() -> None:
    image = scene((64, 64, 96, 96))
    config = replace(CONFIG, center_negative=0.3)
    assignments = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], config)
    (without,) = sample_windows([SIZE], [assignments], [image], SamplingConfig(near_misses=0), [generator()])
    (with_some,) = sample_windows([SIZE], [assignments], [image], SamplingConfig(near_misses=3), [generator()])
    assert without.positive.all()
    assert int((~with_some.positive).sum()) == 3


def windows_of(targets: Tensor, void: Tensor | None = None, positive: list[bool] | None = None) -> SampledWindows:
    n = len(targets)
    return SampledWindows(
        torch.zeros(n, dtype=torch.long),
        torch.zeros(n, 2, dtype=torch.long),
        torch.tensor(positive or [True] * n),
        targets,
        torch.zeros_like(targets, dtype=torch.bool) if void is None else void,
        targets.flatten(1).sum(1),
    )


def test_iou_counts_what_the_window_does_not_see() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    windows = windows_of(target)
    assert mask_iou_with_instance(logits, windows).tolist() == pytest.approx([1 / 3])
    outside = SampledWindows(**{**vars(windows), "gt_cells": torch.tensor([6.0])})
    assert mask_iou_with_instance(logits, outside).tolist() == pytest.approx([1 / 7])


def test_losses_of_literals() -> None:
    logits, targets = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    kept = torch.ones_like(targets)
    assert pixel_loss(logits, targets, kept).item() == pytest.approx(math.log(2))
    # Scores 1/2: overlap 2 * 1/2, squares 4/4 and 1, and one added above and below.
    assert dice_loss(logits, targets, kept).item() == pytest.approx(1 - 2 / 3)
    without_the_first = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    assert pixel_loss(torch.tensor([[[-30.0, 0.0], [0.0, 0.0]]]), targets, without_the_first).item() == pytest.approx(
        math.log(2)
    )


@pytest.mark.parametrize(("kind", "expected"), [("logistic", math.log(2)), ("focal", 3 * 0.25 * math.log(2))])
def test_objectness_leaves_the_ignored_out(kind: str, expected: float) -> None:
    maps = ScoreMaps(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), None, 8, 3)
    labels = torch.tensor([[[POSITIVE, NEGATIVE], [IGNORED, NEGATIVE]]])
    config = LossConfig(objectness=kind)  # pyright: ignore[reportArgumentType]
    loss = objectness_loss([maps], [labels], [(labels == POSITIVE).float()], config, LossTotals.of([labels], []))
    assert loss.item() == pytest.approx(expected)


def test_no_instances_still_give_a_differentiable_loss() -> None:
    image, maps = scene(), blank_maps(1)
    assignments = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], CONFIG)
    sampled = sample_windows([SIZE], [assignments], [image], SamplingConfig(near_misses=0), [generator()])
    labels = [assignments[0].labels[None]]
    losses = compute_losses([maps], labels, sampled, LossConfig(), LossTotals.of(labels, sampled))
    assert losses["mask"].item() == losses["dice"].item() == losses["quality"].item() == 0
    sum(losses.values(), torch.zeros(())).backward()
    assert maps.objectness.grad is not None
    assert (maps.objectness.grad > 0).all()


def test_gradients_reach_the_mask_only_at_positives() -> None:
    image, maps = scene((64, 64, 96, 96)), blank_maps(1)
    assignments = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], CONFIG)
    sampled = sample_windows([SIZE], [assignments], [image], SamplingConfig(near_misses=20), [generator()])
    labels = [assignments[0].labels[None]]
    losses = compute_losses([maps], labels, sampled, LossConfig(), LossTotals.of(labels, sampled))
    (losses["mask"] + losses["dice"]).backward()
    assert maps.instance.grad is not None
    touched = maps.instance.grad[0].abs().sum(0) > 0
    rows = touched.any(1).nonzero()[:, 0]
    # Positives lie within one position of the centre (y = 10) and their windows reach 4 positions, 8 cells, further.
    assert (int(rows.min()), int(rows.max())) == (12, 27)


def test_totals_of_literals() -> None:
    labels = torch.tensor([[[POSITIVE, NEGATIVE], [IGNORED, POSITIVE]]])
    windows = windows_of(torch.zeros(3, 2, 2), positive=[True, False, False])
    totals = LossTotals.of([labels, labels], [windows, windows])
    assert totals == LossTotals(judged=6, positives=4, masks=2, sampled=6)


def labels_of(image: TrainingImage) -> Tensor:
    """Of the windows of 56 px, one every 8 px; row and column 10 is the middle."""
    recipe = replace(load_recipe("lite"), assignment=CONFIG)
    return assign_image(image, [Grid(WindowSize(8, 7), 20, 20)], recipe)[0].labels


def test_what_an_image_says_of_its_instances_reaches_the_windows() -> None:
    image = scene((68, 68, 100, 100))
    assert (labels_of(image)[10, 10], labels_of(image)[0, 0]) == (POSITIVE, NEGATIVE)
    crowd = labels_of(replace(image, gt_ignored=torch.tensor([True])))
    assert (crowd[10, 10], crowd[0, 0]) == (IGNORED, NEGATIVE)
    partial = labels_of(replace(image, partial=True))
    assert (partial[10, 10], partial[10, 7], partial[0, 0]) == (POSITIVE, NEGATIVE, IGNORED)


@pytest.mark.parametrize(
    ("box", "scale", "label"),
    [
        ((68, 68, 100, 100), 1.0, POSITIVE),
        ((68, 68, 100, 100), 3.2, POSITIVE),  # 10 x 10 pixels of the image, which is MIN_AREA
        ((68, 68, 100, 100), 3.3, IGNORED),
        ((76, 68, 92, 100), 2.0, POSITIVE),  # 8 x 16
        ((81, 56, 88, 112), 1.0, POSITIVE),  # a side of 7
        ((81, 56, 88, 112), 1.5, IGNORED),  # of 4.7, which is less than MIN_SIDE, though the area is 174
    ],
)
def test_what_is_tiny_is_told_in_pixels_of_the_image(box: tuple[int, ...], scale: float, label: int) -> None:
    assert labels_of(replace(scene(box), scale=scale))[10, 10] == label  # pyright: ignore[reportArgumentType]


def test_a_window_goes_to_the_instance_it_is_positive_for_though_another_is_nearer() -> None:
    config = replace(CONFIG, rule="deepmask")
    suits, near = (64, 64, 96, 96), (59, 59, 109, 109)  # 32 px, centred at 80; 50 px, which is too large, at 84
    image = scene(suits, near)
    (found,) = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], config)
    assert found.labels[10, 10] == POSITIVE  # its centre is at 84
    assert found.gt_index[10, 10] == 0


def test_void_is_where_half_of_a_cell_is_unknown() -> None:
    image = scene((68, 68, 100, 100))
    image.void[80:86, 72:160] = True  # all of a row of cells of 4 px, and half of the next one
    image.void[60:61, :] = True  # a quarter
    assignments = assign(image.gt_boxes, image.gt_ignored, [Grid(WindowSize(8, 7), 20, 20)], CONFIG)
    (windows,) = sample_windows([SIZE], [assignments], [image], SamplingConfig(near_misses=0), [generator()])
    for (y, x), void in zip(windows.positions_yx.tolist(), windows.void, strict=True):
        for i in range(14):
            for j in range(14):
                top, left = (y - 3) * 8 + i * 4, (x - 3) * 8 + j * 4
                assert void[i, j] == bool(image.void[top : top + 4, left : left + 4].float().mean() >= 0.5)


def one_window(void_of_wrong: bool, wrong: float) -> dict[str, float]:
    """Losses of one positive window of 2 x 2, whose mask is everything, its last cell wrong or unknown."""
    maps = ScoreMaps(torch.full((1, 1, 2, 2), 9.0), torch.zeros(1, 2, 2), torch.full((1, 2, 2), 2.0), 8, 2)
    targets, void = torch.ones(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    targets[0, 1, 1], void[0, 1, 1] = wrong, void_of_wrong
    windows = windows_of(targets, void)
    windows.positions_yx[:] = 1  # the window is all of the map
    labels = torch.full((1, 2, 2), IGNORED)
    labels[0, 1, 1] = POSITIVE
    found = compute_losses([maps], [labels], [windows], LossConfig(), LossTotals.of([labels], [windows]))
    return {name: loss.item() for name, loss in found.items()}


def test_losses_of_one_window_are_literals() -> None:
    """Focal objectness of logit 0, its target the IoU of 3/4; quality of logit 2, its target that, too."""
    wrong = one_window(void_of_wrong=False, wrong=0.0)
    assert wrong["objectness"] == pytest.approx((0.5 - 0.75) ** 2 * math.log(2), rel=1e-4)
    assert wrong["quality"] == pytest.approx(math.log(1 + math.exp(2)) - 2 * 0.75, rel=1e-4)
    assert wrong["mask"] == pytest.approx(9 / 4, rel=1e-3)
    assert wrong["dice"] == pytest.approx(1 - 7 / 8, rel=1e-3)  # 2 * 3 + 1, of 4 + 3 + 1


def test_nothing_is_learnt_of_what_is_unknown() -> None:
    unknown = one_window(void_of_wrong=True, wrong=0.0)
    assert unknown["objectness"] == pytest.approx((0.5 - 1) ** 2 * math.log(2), rel=1e-4)  # an IoU of 1
    assert unknown["quality"] == pytest.approx(math.log(1 + math.exp(2)) - 2, rel=1e-4)
    assert unknown["mask"] == pytest.approx(0, abs=1e-3)
    assert unknown["dice"] == pytest.approx(0, abs=1e-3)
