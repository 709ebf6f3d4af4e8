"""From an image to ranked masks: score maps, the best windows, their masks, suppression, pasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from instancefcn.data.training_image import PADDING_VALUE
from instancefcn.geometry.rle import Rle
from instancefcn.geometry.rle import tight_boxes as rle_boxes
from instancefcn.geometry.windows import window_boxes
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.suppression import suppress
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import write_masks
from instancefcn.model.network import Network
from instancefcn.structures import Proposals, ScoreMaps


@dataclass(frozen=True)
class Windows:
    """Windows of one ScoreMaps, best first."""

    score_maps: ScoreMaps
    image_scale: tuple[float, float]  # network pixels per image pixel, in x and in y
    positions_yx: Int[Tensor, "n 2"]
    scores: Float[Tensor, "n"]


class Proposer:
    """Callable that maps an image to proposals.

    Args:
        network: in evaluation mode.
        precision: "fp32", or "bf16" for the network's own arithmetic.
    """

    def __init__(
        self,
        network: Network,
        config: InferenceConfig,
        *,
        device: str | torch.device = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.network = network.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.config = config
        self.device = torch.device(device)
        self.precision = precision

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | None = None,
        *,
        device: str | torch.device = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> Proposer:
        """A proposer from a checkpoint file; None for the one that the package ships.

        Raises:
            ValueError: the file is not a checkpoint.
        """
        checkpoint = load_checkpoint(Path(path) if path is not None else SHIPPED_CHECKPOINT)
        return cls(checkpoint.build(), checkpoint.inference, device=device, precision=precision)

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"] | Image.Image,
        *,
        max_proposals: int = 100,
        min_score: float = 0.0,
    ) -> Proposals:
        """Propose masks of an RGB image (uint8, HWC), best first.

        Args:
            max_proposals: at most this many.
            min_score: none below it.

        Raises:
            ValueError: the array is not uint8 [h, w, 3].
        """
        pixels = as_tensor(image)
        height, width = pixels.shape[-2:]
        masks = ranked_masks(keep_best(self.windows(pixels), self.config.nms_candidates), self.config)
        survivors, scores = suppress(masks, height, width, self.config, max_proposals)
        survivors, scores = survivors[scores >= min_score], scores[scores >= min_score]
        rles: list[Rle] = []
        kept: list[float] = []
        while len(rles) < max_proposals and len(survivors):
            missing = max_proposals - len(rles)  # where some cover no pixel, those behind them take their places
            voted = vote(masks, survivors[:missing], self.config)
            pasted = paste(voted, self.config.threshold_logit, height, width)
            rles += [rle for rle in pasted if rle is not None]
            kept += [score for score, rle in zip(scores.tolist(), pasted, strict=False) if rle is not None]
            survivors, scores = survivors[missing:], scores[missing:]
        return Proposals(rles, rle_boxes(rles), np.array(kept, dtype=np.float64), height, width)

    @torch.inference_mode()
    def windows(self, pixels: UInt8[Tensor, "3 h w"]) -> list[Windows]:
        """The best windows of each window size, over the network's levels and the scales the image is resized to."""
        height, width = pixels.shape[-2:]
        return [
            best_windows(score_maps, size, (size[1] / width, size[0] / height), self.config)
            for size in resized_sizes(height, width, self.config)
            for score_maps in self.run_network(self.resize(pixels, size))
        ]

    def resize(self, pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> Float[Tensor, "1 3 _ _"]:
        """An image at (height, width), padded to a multiple of the network's coarsest stride."""
        resized = TF.resize(pixels, list(size), antialias=True)
        multiple = self.network.size_multiple
        padding = (0, -size[1] % multiple, 0, -size[0] % multiple)
        batch = F.pad(resized[None].to(self.device), padding, value=PADDING_VALUE).float()
        return batch.contiguous(memory_format=torch.channels_last)

    def run_network(self, images: Float[Tensor, "1 3 _ _"]) -> list[ScoreMaps]:
        """Score maps of a resized image."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network(images)


def as_tensor(image: UInt8[np.ndarray, "h w 3"] | Image.Image) -> UInt8[Tensor, "3 h w"]:
    """Pixels of an RGB array or of any PIL image.

    Raises:
        ValueError: an array of another type or shape, or without pixels.
    """
    array = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else image
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"an image must be a uint8 array [height, width, 3] in RGB, not {array.dtype} {list(array.shape)}"
        )
    return torch.from_numpy(np.array(array)).permute(2, 0, 1)  # a copy: the caller's array may be read-only


def resized_sizes(height: int, width: int, config: InferenceConfig) -> list[tuple[int, int]]:
    """(height, width) of the image at each scale; equal ones only once."""
    sizes: dict[tuple[int, int], None] = {}
    for shorter_side in config.shorter_sides:
        scale = min(shorter_side / min(height, width), config.longest_side / max(height, width))
        sizes[max(1, round(height * scale)), max(1, round(width * scale))] = None
    return list(sizes)


def best_windows(
    score_maps: ScoreMaps, size: tuple[int, int], image_scale: tuple[float, float], config: InferenceConfig
) -> Windows:
    """The windows of one ScoreMaps with the highest scores, of those that are centred on the image.

    Args:
        size: (height, width) of the resized image, without padding.
    """
    scores = score_maps.objectness[0].float().sigmoid()
    if score_maps.quality is not None and config.quality_power:
        scores = scores * score_maps.quality[0].float().sigmoid() ** config.quality_power
    rows, columns = (-(-side // score_maps.stride) for side in size)  # padding beyond has no objects
    best = scores[:rows, :columns].flatten().topk(min(config.candidates, rows * columns))
    positions = torch.stack([best.indices // columns, best.indices % columns], dim=1)
    return Windows(score_maps, image_scale, positions, best.values)


def keep_best(windows: Sequence[Windows], count: int) -> list[Windows]:
    """Of all windows the ``count`` with the highest scores."""
    scores = torch.cat([group.scores for group in windows])
    if len(scores) <= count:
        return list(windows)
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.topk(count).indices] = True
    return [
        Windows(group.score_maps, group.image_scale, group.positions_yx[keep], group.scores[keep])
        for group, keep in zip(windows, kept.split([len(group.scores) for group in windows]), strict=True)
    ]


def ranked_masks(windows: Sequence[Windows], config: InferenceConfig) -> WindowMasks:
    """The masks of windows that have foreground; unstable ones fall in rank."""
    masks = assemble_masks(windows, config.threshold_logit, config.blend_tiles)
    ranked = replace(masks, scores=masks.scores * masks.stability**config.stability_power)
    return ranked[masks.tight_boxes[:, 2] > masks.tight_boxes[:, 0]]


def assemble_masks(windows: Sequence[Windows], threshold_logit: float, blend: bool = False) -> WindowMasks:
    """The masks of windows, in the order of these; ``blend`` as in ``assembling.write_masks``."""
    maps, positions = [group.score_maps for group in windows], [group.positions_yx for group in windows]
    counts, sides = [len(places) for places in positions], [of.m * of.density for of in maps]
    sizes = [count * side**2 for count, side in zip(counts, sides, strict=True)]
    logits = np.empty(sum(sizes), dtype=np.float32)
    of_each = np.split(logits, np.cumsum(sizes)[:-1])
    squares = [part.reshape(-1, side, side) for part, side in zip(of_each, sides, strict=True)]
    write_masks(maps, positions, squares, blend)
    boxes = [
        window_boxes(places, of.stride, of.m).cpu().double().numpy() / np.tile(group.image_scale, 2)
        for group, of, places in zip(windows, maps, positions, strict=True)
    ]
    scores = torch.cat([group.scores for group in windows]).cpu().double().numpy()
    return WindowMasks.of(scores, logits, np.repeat(sides, counts), np.concatenate(boxes), threshold_logit)
