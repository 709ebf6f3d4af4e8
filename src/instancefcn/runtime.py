"""Proposing by a graph that ``instancefcn export`` wrote: ONNX Runtime, NumPy and Pillow; no torch is needed here."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Float32, Float64

from instancefcn.cleaning import clean
from instancefcn.config import Table
from instancefcn.data.images import AnyImage, to_rgb
from instancefcn.geometry.boxes import last_cell_inside
from instancefcn.geometry.rle import Rle, encode, encode_in_box, tight_boxes
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.values import check_limits

FORMAT = "instancefcn-onnx/1"
METADATA = "instancefcn"  # the key of what the graph says about itself


class OnnxProposer:
    """Callable that maps an image to proposals, as ``Proposer`` does, by a graph.

    It pickles as its arguments: whoever unpickles it reads the file again.

    Args:
        path: what ``instancefcn export`` wrote.
        threads: of ONNX Runtime; 0 for as many as it sees fit.
        providers: what ONNX Runtime computes with, first the preferred one; None for the processor.

    Raises:
        ValueError: the file is no graph of ``instancefcn export``; names it.

    Example:
        >>> proposer = OnnxProposer("lite.onnx")  # doctest: +SKIP
        >>> proposals = proposer("photo.jpg")  # doctest: +SKIP
    """

    def __init__(self, path: str | Path, *, threads: int = 0, providers: list[str] | None = None) -> None:
        import onnxruntime  # an extra, which writing a graph does without

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file; `instancefcn export {path}` writes one")
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=providers or ["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes have no common base but this one
            raise ValueError(
                f"{path}: ONNX Runtime can't read it ({error}); `instancefcn export` writes one"
            ) from error
        try:
            about = json.loads(self.session.get_modelmeta().custom_metadata_map.get(METADATA, "{}"))
            if about.get("format") != FORMAT:
                raise ValueError("no graph of this version's `instancefcn export`")
            rule: Table | None = about["rule"]
            self.rule = None if rule is None else ObjectRule.from_stored(rule, "rule")
            self.finds_objects: bool = about["objects"]
            self.threshold_logit: float = about["threshold_logit"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # somebody wrote there
            raise ValueError(f"{path}: {error}; write it again") from error
        self.max_proposals: int | None = about.get("max_proposals")  # graphs of before do not say it
        self._opened_with = partial(OnnxProposer, path, threads=threads, providers=providers)

    def __reduce__(self) -> tuple[partial[OnnxProposer], tuple[()]]:
        return self._opened_with, ()

    @overload
    def __call__(self, image: AnyImage, *, max_proposals: int | None = ..., min_score: float = ...) -> Proposals: ...
    @overload
    def __call__(
        self, image: Sequence[AnyImage], *, max_proposals: int | None = ..., min_score: float = ...
    ) -> list[Proposals]: ...
    def __call__(
        self, image: AnyImage | Sequence[AnyImage], *, max_proposals: int | None = None, min_score: float = 0.0
    ) -> Proposals | list[Proposals]:
        """Propose masks, best first; objects, with clean masks, if the graph was exported with ``--objects``.

        Args:
            image: a file's path, an array or a PIL image, read by the rules of ``data.images.to_rgb``; or several.
            max_proposals: at most this many; None for as many as the graph gives, which gives no more in any case.
            min_score: none below it.

        Returns:
            Proposals in the frame of the image; a list of them for several images.

        Raises:
            ValueError: the image can't be read, or an option is out of range.
            TypeError: ``image`` is no image.
            MemoryError: the masks of an image take more than there is.
        """
        check_limits("max_proposals", max_proposals or 0, min_score)
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self(one, max_proposals=max_proposals, min_score=min_score) for one in image]
        return self._propose(image).at_least(min_score)[:max_proposals]

    def _propose(self, image: AnyImage) -> Proposals:
        pixels = np.ascontiguousarray(to_rgb(image))
        height, width = pixels.shape[:2]
        names = [output.name for output in self.session.get_outputs()]
        try:
            values = self.session.run(names, {"image": pixels})
        except Exception as error:  # ONNX Runtime has no class for it
            if "allocate memory" not in str(error):
                raise
            raise MemoryError(
                f"not enough memory for the masks of {width} x {height} pixels: `instancefcn export` with --windows, "
                "or with fewer --max-proposals"
            ) from error
        found = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
        scores = found["scores"].astype(float)
        if "masks" in found:
            rles = [encode(mask) for mask in found["masks"]]
        else:
            window_boxes, boxes = found["window_boxes"].astype(float), found["boxes"].astype(float)
            pasted = [
                paste(logits[:side, :side], window, box, self.threshold_logit, height, width)
                for logits, side, window, box in zip(
                    found["window_masks"], found["sides"], window_boxes, boxes, strict=True
                )
            ]
            scores = scores[[rle is not None for rle in pasted]]
            rles = [rle for rle in pasted if rle is not None]
        proposals = Proposals(rles, tight_boxes(rles), scores, height, width, rule=self.rule)
        if not self.finds_objects:
            return proposals
        assert self.rule is not None
        masks = [clean(rle, self.rule.smoothing) for rle in rles]
        return replace(proposals, rles=masks, boxes_xyxy=tight_boxes(masks), rule=None, distinct=True)

    @overload
    def objects(self, image: AnyImage, threshold: float | None = ..., *, exclusive: bool = ...) -> Proposals: ...
    @overload
    def objects(
        self, image: Sequence[AnyImage], threshold: float | None = ..., *, exclusive: bool = ...
    ) -> list[Proposals]: ...
    def objects(
        self, image: AnyImage | Sequence[AnyImage], threshold: float | None = None, *, exclusive: bool = False
    ) -> Proposals | list[Proposals]:
        """The objects of an image, chosen among the graph's candidates by ``Proposals.objects``.

        Where the graph gives as many candidates as it can, there may be more objects, and a warning says so.

        Raises:
            ValueError: as for proposing and for ``Proposals.objects``, or the graph chooses objects itself.
        """
        if self.finds_objects:
            raise ValueError("this graph chooses objects itself: call the proposer, or export one without --objects")
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self.objects(one, threshold, exclusive=exclusive) for one in image]
        candidates = self(image)
        if len(candidates) == self.max_proposals:
            warnings.warn(
                f"there may be more objects: the graph gave all its {len(candidates)} candidates; export one with more "
                "--max-proposals, or with --objects",
                stacklevel=2,
            )
        return candidates.objects(threshold, exclusive=exclusive)


def paste(
    logits: Float32[np.ndarray, "m m"],
    window: Float64[np.ndarray, "4"],
    tight: Float64[np.ndarray, "4"],
    threshold_logit: float,
    height: int,
    width: int,
) -> Rle | None:
    """Resize a window's mask logits to its box, bilinearly, and threshold them, as ``inference.pasting`` does.

    Args:
        window: its box in the image, xyxy; it may hang over the border.
        tight: box around the cells above the threshold, xyxy.
        height: of the image, in pixels, as ``width``.

    Returns:
        None if the mask contains no pixel's centre.
    """
    cell = (window[2:] - window[:2]) / len(logits)
    first = np.ceil(np.maximum(tight[:2] - cell, window[:2]) - 0.5).clip(0, [width, height])
    end = np.ceil(np.minimum(tight[2:] + cell, window[2:]) - 0.5).clip(0, [width, height])
    across, down = (
        _weights(len(logits), np.arange(first[axis], end[axis]) + 0.5, float(window[axis]), float(cell[axis]), extent)
        for axis, extent in enumerate((width, height))
    )
    mask = down @ logits @ across.T > threshold_logit
    return encode_in_box(mask, int(first[1]), int(first[0]), height, width) if mask.any() else None


def _weights(
    m: int, centres: Float64[np.ndarray, "pixels"], start: float, cell: float, extent: int
) -> Float32[np.ndarray, "pixels m"]:
    """Weights of a window's cells at the centres of pixels along an axis, for bilinear interpolation.

    The first and the last cell inside the image, which is ``extent`` pixels long, are extended to its borders.
    """
    lowest = max(0, round(-start / cell))
    highest = max(last_cell_inside(start, cell, m, extent), lowest)
    places = ((centres - start) / cell - 0.5).clip(lowest, highest)
    return (1 - np.abs(places[:, None] - np.arange(m))).clip(0).astype(np.float32)
