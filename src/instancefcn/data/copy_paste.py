"""Copy-paste of instances between images (Ghiasi et al., CVPR 2021): more objects an image, at no cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from instancefcn.data.transforms import MIN_VISIBLE, TrainingImage
from instancefcn.geometry.masks import areas, tight_boxes


def copy_paste(base: TrainingImage, donor: TrainingImage, rng: np.random.Generator) -> TrainingImage:
    """Paste a random half, at least one, of the donor's instances onto the base, where the donor has them.

    What they cover is no longer seen: instances of the base lose those pixels, and are ignored where too little is
    left. Ignored instances of the donor stay behind. Both images have the same size.
    """
    assert base.image.shape == donor.image.shape
    candidates = (~donor.gt_ignored).nonzero()[:, 0].numpy()
    if not len(candidates):
        return base
    chosen = torch.from_numpy(rng.permutation(candidates)[: (len(candidates) + 1) // 2])
    pasted = donor.gt_masks[chosen]
    covered = pasted.amax(0).bool()
    before = areas(base.gt_masks)
    masks = base.gt_masks * ~covered
    left = areas(masks)
    ignored = base.gt_ignored | (left < MIN_VISIBLE * before)

    masks = torch.cat([masks[left > 0], pasted])
    return replace(
        base,
        image=torch.where(covered, donor.image, base.image),
        gt_masks=masks,
        gt_boxes=tight_boxes(masks).float(),
        gt_ignored=torch.cat([ignored[left > 0], torch.zeros(len(pasted), dtype=torch.bool)]),
        void=base.void & ~covered,
    )
