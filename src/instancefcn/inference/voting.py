"""Mask voting: candidates that do not survive still count, on the cells of the survivor's window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.geometry.boxes import near_pairs
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.suppression import Survivor
from instancefcn.inference.window_masks import CHUNK, PaddedWindows, WindowMasks, locate, resample

ALIGNED = 0.01  # cells: windows of one stride lie on one grid, but for rounding


def vote(groups: Sequence[WindowMasks], survivors: Sequence[Survivor], config: InferenceConfig) -> list[WindowMasks]:
    """The groups with the masks of survivors replaced by averages over the candidates around them.

    Every candidate whose tight box has IoU ``config.vote_threshold`` or more with that of the survivor votes, the
    survivor included, each with its probabilities weighted by its score; outside its window a candidate votes for
    background. The mask keeps the survivor's window, rank and score. With threshold 0 nobody votes.
    """
    if not config.vote_threshold:
        return list(groups)
    weighted = [PaddedWindows.of(group.mask_logits.sigmoid().mul_(group.scores[:, None, None])) for group in groups]
    chosen = [
        torch.tensor([s.index for s in survivors if s.group == number], dtype=torch.long, device=group.scores.device)
        for number, group in enumerate(groups)
    ]
    # Of all groups at once: most of its work is once for each call.
    near, _ = near_pairs(
        torch.cat([group.tight_boxes[indices] for group, indices in zip(groups, chosen, strict=True)]),
        torch.cat([group.tight_boxes for group in groups]),
        config.vote_threshold,
    )
    sizes = [len(indices) for indices in chosen], [len(group.scores) for group in groups]
    return [
        _vote_in_group(group, indices, list(zip(groups, weighted, pairs, strict=True)), config)
        for group, indices, pairs in zip(groups, chosen, _blocks(near, *sizes), strict=True)
    ]


def _vote_in_group(
    group: WindowMasks,
    chosen: Int[Tensor, "s"],
    voters: Sequence[tuple[WindowMasks, PaddedWindows, Int[Tensor, "_ 2"]]],
    config: InferenceConfig,
) -> WindowMasks:
    """The votes for one group's survivors, whose indices are ``chosen``.

    Args:
        voters: each group with its probabilities times score, and the pairs (index into ``chosen``, voter).
    """
    windows, m = group.window_boxes[chosen], group.mask_logits.shape[-1]
    cell = (windows[:, 2:] - windows[:, :2]) / m
    steps = torch.arange(m, device=windows.device) + 0.5
    centres = windows[:, :2, None] + cell[:, :, None] * steps  # [s, 2, m]
    sums = group.mask_logits.new_zeros(len(chosen), m, m)
    weights = group.scores.new_zeros(len(chosen))
    for voter, votes, near in voters:
        weights.index_add_(0, near[:, 0], voter.scores[near[:, 1]])
        offsets, aligned = _offsets(windows[near[:, 0]], m, voter.window_boxes[near[:, 1]], votes.m)
        copied = aligned & votes.reaches(offsets, m)
        for chunk in near[~copied].split(CHUNK):
            survivor, candidate = chunk.unbind(1)
            cast = resample(votes.values[candidate], voter.window_boxes[candidate], centres[survivor])
            sums.index_add_(0, survivor, cast.to(sums))
        for chunk, by in zip(near[copied].split(CHUNK), offsets[copied].split(CHUNK), strict=True):
            survivor, candidate = chunk.unbind(1)
            sums.index_add_(0, survivor, votes.squares(candidate, by, m))
    heard = weights > 0  # a score may be 0
    chosen, logits = chosen[heard], (sums[heard] / weights[heard, None, None]).logit(eps=1e-6)
    # Where the average is nowhere foreground, the tight box is empty and nothing will be pasted.
    voted = WindowMasks.of(group.scores[chosen], logits, windows[heard], config.threshold_logit)
    return replace(
        group,
        mask_logits=group.mask_logits.index_copy(0, chosen, voted.mask_logits),
        tight_boxes=group.tight_boxes.index_copy(0, chosen, voted.tight_boxes),
    )


def _offsets(
    windows: Float[Tensor, "p 4"], m: int, voters: Float[Tensor, "p 4"], voter_m: int
) -> tuple[Int[Tensor, "p 2"], Bool[Tensor, "p"]]:
    """Cells, in x and in y, from each voter's corner to that of the window, and whether the two lie on one grid."""
    cell = (windows[:, 2:] - windows[:, :2]) / m
    voter_cell = (voters[:, 2:] - voters[:, :2]) / voter_m
    exact = (windows[:, :2] - voters[:, :2]) / cell
    offsets = exact.round()
    off = torch.maximum((voter_cell / cell - 1).abs() * m, (exact - offsets).abs())  # in cells, at a window's far side
    return offsets.long(), (off < ALIGNED).all(1)


def _blocks(
    pairs: Int[Tensor, "pairs 2"], rows: Sequence[int], columns: Sequence[int]
) -> list[list[Int[Tensor, "_ 2"]]]:
    """Pairs (row, column) of a matrix by its blocks, of so many rows and columns each; counted within a block."""
    row_block, row = locate(pairs[:, 0].contiguous(), rows)
    column_block, column = locate(pairs[:, 1].contiguous(), columns)
    local = torch.stack([row, column], dim=1)
    return [[local[(row_block == i) & (column_block == j)] for j in range(len(columns))] for i in range(len(rows))]
