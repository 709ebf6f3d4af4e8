"""From an image to ranked masks: score maps, the best windows, their masks, suppression, pasting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from instancefcn.config import check_choice
from instancefcn.data.images import AnyImage, to_rgb
from instancefcn.data.resizing import network_input, resize, resized_size
from instancefcn.devices import choose_device, told_as_memory_error
from instancefcn.geometry.rle import Rle
from instancefcn.geometry.rle import tight_boxes as rle_boxes
from instancefcn.geometry.windows import window_boxes
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.precision import Precision, choose_precision
from instancefcn.inference.suppression import suppress
from instancefcn.inference.tiles import Tile, cut, joined, settled, sizes_in_one_pass, sizes_in_tiles
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import write_masks
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule
from instancefcn.proposals import NO_RULE, Proposals
from instancefcn.structures import ScoreMaps
from instancefcn.values import check_limits

MIN_SCORE = 0.002  # a rank's score below which nothing becomes an object


@dataclass(frozen=True)
class Part:
    """What the network looks at in one go."""

    pixels: UInt8[Tensor, "3 _ _"]  # of the tile, resized to its size or not
    tile: Tile
    image_scale: tuple[float, float]  # pixels of the resized image per image pixel, in x and in y

    @classmethod
    def whole(cls, pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> Part:
        """An image as a whole, seen at ``size`` (height, width)."""
        height, width = pixels.shape[-2:]
        return cls(pixels, Tile.whole(size), (size[1] / width, size[0] / height))


@dataclass(frozen=True)
class Windows:
    """Windows of one ScoreMaps, best first."""

    score_maps: ScoreMaps
    image_scale: tuple[float, float]  # network pixels per image pixel, in x and in y
    positions_yx: Int[Tensor, "n 2"]
    scores: Float[Tensor, "n"]
    tile: Tile  # the part of the resized image that the ScoreMaps show


class Proposer:
    """Callable that maps an image to proposals. It can be pickled, and called from several threads at once.

    Args:
        network: is moved to the device, and put into evaluation mode.
        device: see ``choose_device``.
        precision: of the network's own arithmetic: "fp32", "bf16", or "auto" for what is faster
            (``precision.choose_precision``); the attribute is what it came to.
        rule: how candidates become objects; the proposals carry it.

    Raises:
        ValueError: the device can't be used, or there is no such precision.

    Example:
        >>> proposer = Proposer.from_checkpoint()
        >>> proposals = proposer("photo.jpg", max_proposals=10)  # doctest: +SKIP
    """

    def __init__(
        self,
        network: Network,
        config: InferenceConfig,
        *,
        device: str | torch.device = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "fp32",
        rule: ObjectRule | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.network = network.eval().to(device=self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.config = config
        check_choice("precision", precision, ("auto", *get_args(Precision)))
        self.precision = choose_precision(self.network, self.device) if precision == "auto" else precision
        self.rule = rule

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "fp32",
    ) -> Proposer:
        """A proposer from a checkpoint file; None for the one that the package ships.

        Raises:
            ValueError: the file is not a checkpoint, or the device can't be used.
        """
        checkpoint = load_checkpoint(Path(path) if path is not None else SHIPPED_CHECKPOINT)
        network, rule = checkpoint.build(), checkpoint.objects
        return cls(network, checkpoint.inference, device=device, precision=precision, rule=rule)

    @overload
    def __call__(self, image: AnyImage, *, max_proposals: int = ..., min_score: float = ...) -> Proposals: ...
    @overload
    def __call__(
        self, image: Sequence[AnyImage], *, max_proposals: int = ..., min_score: float = ...
    ) -> list[Proposals]: ...
    def __call__(
        self,
        image: AnyImage | Sequence[AnyImage],
        *,
        max_proposals: int = 100,
        min_score: float = 0.0,
    ) -> Proposals | list[Proposals]:
        """Propose masks, best first.

        Args:
            image: a file's path, an array or a PIL image, read by the rules of ``data.images.to_rgb``; or several.
            max_proposals: at most this many.
            min_score: none below it.

        Returns:
            Proposals in the frame of the image; a list of them for several images.

        Raises:
            ValueError: an image can't be read, or an option is out of range.
            TypeError: ``image`` is no image.
            MemoryError: an image is too large for the memory that is left.
        """
        check_limits("max_proposals", max_proposals, min_score)
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self(one, max_proposals=max_proposals, min_score=min_score) for one in image]
        with told_as_memory_error():
            return self._propose(as_tensor(image), max_proposals, min_score)

    @torch.inference_mode()
    def _propose(self, pixels: UInt8[Tensor, "3 h w"], max_proposals: int, min_score: float) -> Proposals:
        height, width = pixels.shape[-2:]
        masks, config = self._candidates(pixels, max_proposals), self.config
        if sizes_in_tiles(height, width, config):  # these have voted
            config = replace(config, vote_threshold=0.0)
        survivors, scores = suppress(masks, height, width, config, max_proposals)
        survivors, scores = survivors[scores >= min_score], scores[scores >= min_score]
        kept: list[tuple[Rle, float]] = []
        while len(kept) < max_proposals and len(survivors):
            missing = max_proposals - len(kept)  # where some masks cover no pixel, those behind them take their places
            pasted = paste(vote(masks, survivors[:missing], height, width, config), height, width)
            kept += [(rle, score) for rle, score in zip(pasted, scores.tolist(), strict=False) if rle is not None]
            survivors, scores = survivors[missing:], scores[missing:]
        rles, values = [rle for rle, _ in kept], np.array([score for _, score in kept], dtype=float)
        return Proposals(rles, rle_boxes(rles), values, height, width, rule=self.rule)

    @overload
    def objects(self, image: AnyImage, threshold: float | None = ..., *, exclusive: bool = ...) -> Proposals: ...
    @overload
    def objects(
        self, image: Sequence[AnyImage], threshold: float | None = ..., *, exclusive: bool = ...
    ) -> list[Proposals]: ...
    def objects(
        self,
        image: AnyImage | Sequence[AnyImage],
        threshold: float | None = None,
        *,
        exclusive: bool = False,
    ) -> Proposals | list[Proposals]:
        """The objects of an image, as many as there are: ``Proposals.objects`` of its candidates from MIN_SCORE on.

        Args:
            image: as for proposing; several images give a list.
            threshold: the lowest chance of an object; None for the checkpoint's.
            exclusive: a pixel belongs to one object at most.

        Raises:
            ValueError: as for proposing and for ``Proposals.objects``.

        Example:
            >>> count = len(proposer.objects("grains.jpg"))  # doctest: +SKIP
        """
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self.objects(one, threshold, exclusive=exclusive) for one in image]
        if threshold is None and self.rule is None:  # before the network looks
            raise ValueError(NO_RULE)
        rule = self.rule or ObjectRule(threshold=0.0)
        lowest = rule.lowest_of_any_image(threshold)  # below it nothing need be pasted
        candidates = self(image, max_proposals=self.config.nms_candidates, min_score=max(lowest, MIN_SCORE))
        return candidates.objects(threshold, exclusive=exclusive)

    def _candidates(self, pixels: UInt8[Tensor, "3 h w"], max_proposals: int) -> WindowMasks:
        """Masks to choose from; where the image is cut into tiles, the best ``max_proposals`` of each tile."""
        (height, width), config = pixels.shape[-2:], self.config
        masks = self.masks_of(self.windows(pixels))
        if not sizes_in_tiles(height, width, config):
            return masks
        parts = [settled(masks, height, width, config, max_proposals)]
        for part in self.parts(pixels):
            masks = self.masks_of(self.windows_of(part))
            parts.append(settled(masks, height, width, config, max_proposals))
        return joined(parts)

    @torch.inference_mode()
    def windows(self, pixels: UInt8[Tensor, "3 h w"]) -> list[Windows]:
        """The best windows of each window size, over the network's levels and the scales the image is resized to.

        Those of tiles are not among them; of the overview, large ones alone.
        """
        (height, width), config = pixels.shape[-2:], self.config
        sizes = sizes_in_one_pass(height, width, config)
        found = [windows for size in sizes for windows in self.windows_of(Part.whole(pixels, size))]
        if config.overview and self.network.largest_window >= config.overview_window:
            overview = resized_size(height, width, config.overview, config.longest_side)
            if overview not in sizes:
                found += self.windows_of(Part.whole(pixels, overview), config.overview_window)
        return found

    def parts(self, pixels: UInt8[Tensor, "3 h w"]) -> Iterator[Part]:
        """What is looked at besides the whole image: the tiles of each size that is cut into them."""
        height, width = pixels.shape[-2:]
        for size in sizes_in_tiles(height, width, self.config):
            resized = resize(pixels, size)
            for tile in cut(size, self.config.longest_side, self.network.coarsest_stride):
                left, top, right, bottom = tile.box
                yield Part(resized[:, top:bottom, left:right], tile, (size[1] / width, size[0] / height))

    @torch.inference_mode()
    def windows_of(self, part: Part, least: float = 0.0) -> list[Windows]:
        """The best windows, of each window size of ``least`` pixels or more, that belong to a tile."""
        images = network_input(part.pixels, part.tile.size, self.network.size_multiple, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            score_maps = self.network.large_windows(images, least) if least else self.network(images)
        return [best_windows(maps, part.tile, part.image_scale, self.config) for maps in score_maps]

    def masks_of(self, windows: Sequence[Windows]) -> WindowMasks:
        """The masks of the best ``nms_candidates`` windows, by their rank's scores."""
        return ranked_masks(keep_best(windows, self.config.nms_candidates), self.config)[0]


def as_tensor(image: AnyImage) -> UInt8[Tensor, "3 h w"]:
    """Pixels of an image, by the rules of ``data.images.to_rgb``; a copy."""
    return torch.from_numpy(np.array(to_rgb(image), order="C")).permute(2, 0, 1)


def best_windows(
    score_maps: ScoreMaps, tile: Tile, image_scale: tuple[float, float], config: InferenceConfig
) -> Windows:
    """The windows of one ScoreMaps with the highest scores among those whose position lies in the core of its tile.

    Args:
        tile: what the ScoreMaps show, without padding; ``Tile.whole(size)`` for the resized image as a whole.
    """
    scores = score_maps.objectness[0].float().sigmoid()
    if score_maps.quality is not None and config.quality_power:
        scores = scores * score_maps.quality[0].float().sigmoid() ** config.quality_power
    (left, top, *_), core = tile.box, tile.core  # beyond the core are other tiles, or padding, which has no objects
    first_row, end_row = (-(-(side - top) // score_maps.stride) for side in (core[1], core[3]))
    first_column, end_column = (-(-(side - left) // score_maps.stride) for side in (core[0], core[2]))
    scores = scores[first_row:end_row, first_column:end_column]
    best = scores.flatten().topk(min(config.candidates, scores.numel()))
    rows, columns = best.indices // scores.shape[1] + first_row, best.indices % scores.shape[1] + first_column
    return Windows(score_maps, image_scale, torch.stack([rows, columns], dim=1), best.values, tile)


def keep_best(windows: Sequence[Windows], count: int) -> list[Windows]:
    """The ``count`` windows with the highest scores of all groups."""
    scores = torch.cat([group.scores for group in windows])
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.topk(min(count, len(scores))).indices] = True
    return [
        replace(group, positions_yx=group.positions_yx[keep], scores=group.scores[keep])
        for group, keep in zip(windows, kept.split([len(group.scores) for group in windows]), strict=True)
    ]


def ranked_masks(windows: Sequence[Windows], config: InferenceConfig) -> tuple[WindowMasks, Bool[np.ndarray, "w"]]:
    """The masks of the windows that have foreground, and are whole in their tile, weighted by their stability.

    Returns:
        Those masks, and for each window, in the order of the groups, whether its mask is among them.
    """
    masks = assemble_masks(windows, config.threshold_logit, config.blend_tiles)
    ranked = replace(masks, scores=masks.scores * masks.stability**config.stability_power)
    ends = np.cumsum([len(group.scores) for group in windows])
    parts = (slice(end - len(group.scores), end) for group, end in zip(windows, ends, strict=True))
    whole = [group.tile.holds(masks[part], group.image_scale) for group, part in zip(windows, parts, strict=True)]
    chosen = masks.has_foreground & np.concatenate(whole)
    return ranked[chosen], chosen


def assemble_masks(windows: Sequence[Windows], threshold_logit: float, blend: bool = False) -> WindowMasks:
    """Assemble the masks of windows, in their order; ``blend`` as in ``assembling.write_masks``."""
    maps, positions = [group.score_maps for group in windows], [group.positions_yx for group in windows]
    counts, sides = [len(places) for places in positions], [group.m * group.density for group in maps]
    sizes = [count * side**2 for count, side in zip(counts, sides, strict=True)]
    logits = np.empty(sum(sizes), dtype=np.float32)
    of_each = np.split(logits, np.cumsum(sizes)[:-1])
    squares = [part.reshape(-1, side, side) for part, side in zip(of_each, sides, strict=True)]
    write_masks(maps, positions, squares, blend)
    boxes = [
        (window_boxes(places, of_group.stride, of_group.m).cpu().double().numpy() + np.tile(group.tile.box[:2], 2))
        / np.tile(group.image_scale, 2)
        for group, of_group, places in zip(windows, maps, positions, strict=True)
    ]
    scores = torch.cat([group.scores for group in windows]).cpu().double().numpy()
    return WindowMasks.of(scores, logits, np.repeat(sides, counts), np.concatenate(boxes), threshold_logit)
