from __future__ import annotations

import numpy as np
import pytest
import torch

import oracles
from instancefcn.classifier.heads import GRID
from instancefcn.classifier.rois import BACKGROUND, Rois, match_proposals, sample
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances
from pictures import rectangle

HEIGHT, WIDTH = 20, 30


def box_mask(left: int, right: int, top: int = 0, bottom: int = HEIGHT) -> np.ndarray:
    return rectangle(top, left, bottom, right, (HEIGHT, WIDTH))


def proposals(*masks: np.ndarray) -> Proposals:
    rles = [encode(mask) for mask in masks]
    return Proposals(rles, tight_boxes(rles), np.linspace(1, 0.5, len(masks)), HEIGHT, WIDTH)


def instances(
    masks: list[np.ndarray], category_ids: list[int], crowd: list[int] = (), ignore: list[int] = ()
) -> Instances:  # type: ignore[assignment]
    rles = [encode(mask) for mask in masks]
    flags = [np.isin(np.arange(len(masks)), list(of)) for of in (crowd, ignore)]
    return Instances(np.arange(len(masks)), rles, tight_boxes(rles), np.array(category_ids, dtype=int), *flags)


def test_a_proposal_gets_the_class_of_the_instance_it_overlaps_best() -> None:
    gt = [box_mask(0, 10), box_mask(10, 30)]
    proposed = [box_mask(0, 12), box_mask(8, 26), box_mask(0, 2), box_mask(9, 11, 5, 15)]
    rois = match_proposals(proposals(*proposed), instances(gt, [90, 7]), {7: 1, 90: 2})
    for index, mask in enumerate(proposed):
        ious = [oracles.mask_iou(torch.from_numpy(mask), torch.from_numpy(other)) for other in gt]
        assert rois.overlaps[index] == pytest.approx(max(ious))
    assert rois.labels.tolist()[:3] == [2, 1, 2]
    assert rois.labels.tolist()[4:] == [2, 1]  # the instances themselves
    assert rois.overlaps[4:].tolist() == [1, 1]
    assert not rois.ignored.any()


def test_what_a_crowd_covers_is_neither_foreground_nor_background() -> None:
    gt = instances([box_mask(0, 10), box_mask(10, 30), box_mask(0, 3)], [1, 1, 1], crowd=(1,), ignore=(2,))
    rois = match_proposals(proposals(box_mask(12, 20), box_mask(5, 12), box_mask(0, 12), box_mask(0, 2)), gt, {1: 1})
    assert rois.ignored.tolist() == [True, False, False, True, False]
    both = instances([box_mask(0, 10), box_mask(4, 30)], [1, 1], crowd=(1,))
    found = match_proposals(proposals(box_mask(0, 10)), both, {1: 1})
    assert found.ignored.tolist() == [False, False]  # six tenths lie on the crowd, but it is the instance


def test_partial_labels_leave_what_touches_nothing_open() -> None:
    gt, proposed = instances([box_mask(0, 10)], [1]), proposals(box_mask(12, 20), box_mask(9, 20))
    assert match_proposals(proposed, gt, {1: 1}, partial=True).ignored.tolist() == [True, False, False]
    assert not match_proposals(proposed, gt, {1: 1}).ignored.any()


def test_without_proposals_and_without_instances() -> None:
    none = instances([], [])
    assert len(match_proposals(proposals(), none, {})) == 0
    rois = match_proposals(proposals(box_mask(0, 5)), none, {})
    assert (rois.labels.tolist(), rois.overlaps.tolist()) == ([BACKGROUND], [0])
    assert len(match_proposals(proposals(), instances([box_mask(0, 5)], [3]), {3: 1})) == 1


def test_a_mirrored_image_has_mirrored_proposals() -> None:
    mask = box_mask(3, 11)
    mask[:10, 3:7] = False
    gt = instances([], [])
    flipped = match_proposals(proposals(mask), gt, {}).flipped(WIDTH)
    expected = match_proposals(proposals(mask[:, ::-1]), gt, {})
    torch.testing.assert_close(flipped.boxes_xyxy, expected.boxes_xyxy)
    torch.testing.assert_close(flipped.masks, expected.masks)


def with_overlaps(overlaps: list[float]) -> Rois:
    n = len(overlaps)
    return Rois(
        boxes_xyxy=torch.arange(4.0 * n).view(n, 4),
        masks=torch.zeros(n, GRID, GRID, dtype=torch.uint8),
        overlaps=torch.tensor(overlaps),
        labels=torch.ones(n, dtype=torch.long),
        ignored=torch.zeros(n, dtype=torch.bool),
    )


def test_fractions_are_those_of_cfm() -> None:
    rois = with_overlaps([0.9] * 100 + [0.3] * 100 + [0.05] * 100)
    sampled, targets = sample(rois, torch.Generator())
    assert len(targets) == 64
    kinds = [int((sampled.overlaps == overlap).sum()) for overlap in torch.tensor([0.9, 0.3, 0.05])]
    assert kinds == [19, 32, 13]
    assert torch.equal(targets, (sampled.overlaps == 0.9).long())
    assert len(sampled.boxes_xyxy.unique(dim=0)) == 64  # none twice


def test_background_fills_up_and_foreground_does_not() -> None:
    few, targets = sample(with_overlaps([0.5] + [0.2] * 100), torch.Generator())
    assert (len(few), int(targets.sum())) == (64, 1)
    only, targets = sample(with_overlaps([0.7] * 100), torch.Generator())
    assert (len(only), int(targets.sum())) == (19, 19)


def test_ignored_ones_are_never_drawn() -> None:
    rois = with_overlaps([0.9, 0.3, 0.0])
    rois.ignored[:] = torch.tensor([False, True, False])
    sampled, _ = sample(rois, torch.Generator())
    assert sorted(sampled.overlaps.tolist()) == pytest.approx([0, 0.9])
