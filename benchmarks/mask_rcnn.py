"""torchvision's Mask R-CNN, class-agnostic, on `lite`'s trunk with ImageNet weights: what a person might take instead.

Settings are torchvision's own (its references/detection and its defaults): shorter side 800, SGD with momentum 0.9,
weight decay 1e-4, 0.02 as the rate of 16 images, which is 0.0025 of two, a warm-up over the first epoch, a tenth of the
rate from 16 and from 22 of 26 epochs on, mirrored views. Differing: the least score is 0.001 and not 0.05, so that AR
counts what is there; images are of any number of epochs that the time gives; the trunk's first stages and its batch
norms are frozen as in `lite`; and the pyramid has group norms (Wu and He, ECCV 2018), since this trunk's maps are
several times as large as a ResNet's, of which the mask loss became infinite within 20 steps.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms.functional import to_tensor

from instancefcn.data.source import Source
from instancefcn.geometry.rle import decode, encode, tight_boxes
from instancefcn.inference.proposer import MIN_SCORE
from instancefcn.model.build import build_backbone, prepare
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.structures import Sample
from instancefcn.training.calibration import fit_rule
from instancefcn.training.recipe import load_recipe

BATCH = 2
RATE = 0.02 * BATCH / 16
STEPS = (16 / 26, 22 / 26)  # of the training, from which the rate is a tenth
WARM_UP, WARM_UP_FROM = 1000, 0.001  # iterations at most; factor of the rate
FINEST_STRIDE = 4
NORM_GROUPS = 32


class Trunk(nn.Module):
    """`lite`'s trunk under torchvision's feature pyramid."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        recipe = load_recipe("lite")
        self.body = prepare(build_backbone(recipe.network), recipe.network, imagenet=True)
        for stage in self.body.stages()[: recipe.optimization.frozen_stages]:
            stage.requires_grad_(False)
        self.first = self.body.strides.index(FINEST_STRIDE)
        self.pyramid = FeaturePyramidNetwork(
            list(self.body.channels[self.first :]), channels, LastLevelMaxPool(), partial(nn.GroupNorm, NORM_GROUPS)
        )
        self.out_channels = channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)[self.first :]
        return self.pyramid(OrderedDict((str(level), of_level) for level, of_level in enumerate(maps)))


class MaskRcnnProposer:
    """Proposes as ``instancefcn.Proposer`` does, as far as measuring asks."""

    rule: ObjectRule | None = None  # how its masks become objects, once one was chosen

    def __init__(self, side: int = 800) -> None:
        # The trunk takes pixels in 0..255 and has its own normalisation.
        self.network = MaskRCNN(
            Trunk(), num_classes=2, min_size=side, image_mean=[0.0] * 3, image_std=[1 / 255] * 3, box_score_thresh=0.001
        )

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "h w 3"], *, max_proposals: int = 100) -> Proposals:
        """Masks, best first, at most torchvision's hundred."""
        (height, width), masks, scores = image.shape[:2], np.zeros((0, *image.shape[:2]), dtype=bool), np.zeros(0)
        if max_proposals:
            self.network.eval()
            found = self.network([to_tensor(image)])[0]
            masks, scores = (found["masks"][:, 0] > 0.5).numpy(), found["scores"].double().numpy()
        filled = np.flatnonzero(masks.any((1, 2)))[:max_proposals]
        rles = [encode(masks[one]) for one in filled]
        return Proposals(rles, tight_boxes(rles), scores[filled], height, width, rule=self.rule)

    def objects(self, image: UInt8[np.ndarray, "h w 3"]) -> Proposals:
        """Those above the threshold; none before one was chosen."""
        return self(image).objects() if self.rule else self(image, max_proposals=0)

    def train(self, source: Source, minutes: float, rate: float, seed: int, report: Any = print) -> int:
        """Train for so many minutes; the number of iterations."""
        samples = [sample for sample in source if sample.instances.judged.any()]
        rng = np.random.default_rng(seed)
        learnt = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(learnt, lr=rate, momentum=0.9, weight_decay=1e-4)
        warm_up = min(WARM_UP, max(len(samples) // BATCH, 1))
        self.network.train()
        started, iteration = time.monotonic(), 0
        while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
            warmth = min(1.0, WARM_UP_FROM + (1 - WARM_UP_FROM) * iteration / warm_up)
            for group in optimizer.param_groups:
                group["lr"] = rate * warmth * 0.1 ** sum(share >= step for step in STEPS)
            views = [training_view(samples[index], rng) for index in rng.choice(len(samples), BATCH, replace=False)]
            losses = self.network([image for image, _ in views], [target for _, target in views])
            loss = torch.stack(list(losses.values())).sum()
            if not loss.isfinite():
                raise FloatingPointError(f"the loss became {loss.item()} after {iteration} iterations, rate {rate}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iteration += 1
            if iteration % 20 == 0:
                report(f"iteration {iteration}, {time.monotonic() - started:.0f} s, loss {loss.item():.3f}")
        return iteration

    def choose_rule(self, sources: Sequence[Source]) -> None:
        """Choose the threshold, and what of several masks of an object stays, as training of ours does."""
        samples = [sample for source in sources for sample in source]
        self.rule = fit_rule([(self(sample.image).at_least(MIN_SCORE), sample.instances) for sample in samples])


def training_view(sample: Sample, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """An image, mirrored or not, and its objects, as torchvision's detectors learn from them; crowds are left out."""
    wanted, _ = sample.instances.divided()
    image, boxes = to_tensor(sample.image), torch.from_numpy(tight_boxes(wanted)).float()
    masks = torch.from_numpy(np.stack([decode(rle) for rle in wanted]).astype(np.uint8))
    if rng.random() < 0.5:
        image, masks = image.flip(-1), masks.flip(-1)
        boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image, {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64), "masks": masks}
