"""From an image to named masks: proposals, a score of each for every category, suppression and voting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import torch

from instancefcn.classifier.checkpoint import check_proposals, load_classifier, load_proposer
from instancefcn.classifier.config import NamingConfig
from instancefcn.classifier.heads import mask_grids
from instancefcn.classifier.network import Classifier
from instancefcn.classifier.voting import name_proposals
from instancefcn.data.images import AnyImage, to_rgb
from instancefcn.devices import told_as_memory_error
from instancefcn.geometry.runs import Edges
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
from instancefcn.inference.proposer import Proposer, as_tensor
from instancefcn.proposals import Proposals, Segments
from instancefcn.values import check_limits


class Segmenter:
    """Callable that maps an image to named masks.

    Args:
        proposer: the one that the classifier was trained for.
        classifier: in evaluation mode.
    """

    def __init__(self, proposer: Proposer, classifier: Classifier, config: NamingConfig) -> None:
        self.proposer = proposer
        self.classifier = classifier.to(proposer.device)
        self.config = config

    @property
    def categories(self) -> dict[int, str]:
        """Names by the ids of the data set that the classifier learnt from."""
        return self.classifier.categories

    @classmethod
    def from_checkpoints(
        cls,
        classifier: str | Path,
        proposals: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "fp32",
    ) -> Segmenter:
        """A segmenter from a classifier, shipped (``"animals"``) or a file, and a proposal network (None: the shipped).

        Raises:
            ValueError: a file of another kind, or a classifier that was trained for another proposal network.
        """
        path = Path(proposals) if proposals is not None else SHIPPED_CHECKPOINT
        proposer, network = load_proposer(path, device=device, precision=precision)
        named = load_classifier(classifier)
        check_proposals(named, network, str(classifier))
        return cls(proposer, named.build(), named.naming)

    @overload
    def __call__(self, image: AnyImage, *, max_segments: int = ..., min_score: float = ...) -> Segments: ...
    @overload
    def __call__(
        self, image: Sequence[AnyImage], *, max_segments: int = ..., min_score: float = ...
    ) -> list[Segments]: ...
    def __call__(
        self, image: AnyImage | Sequence[AnyImage], *, max_segments: int = 100, min_score: float = 0.0
    ) -> Segments | list[Segments]:
        """Named masks of an image, best first; ``image`` as for ``Proposer``: several images give a list.

        Args:
            max_segments: at most this many.
            min_score: none below it.

        Raises:
            ValueError: an image can't be read, or an option is out of range.
            MemoryError: an image is too large for the memory that is left.
        """
        if isinstance(image, Sequence) and not isinstance(image, str | bytes):
            return [self(one, max_segments=max_segments, min_score=min_score) for one in image]
        pixels = to_rgb(image)  # once: a file would be decoded twice
        proposals = self.proposer(pixels, max_proposals=self.config.proposals)
        return self.name(pixels, proposals, max_segments=max_segments, min_score=min_score)

    @torch.inference_mode()
    def name(
        self, image: AnyImage, proposals: Proposals, *, max_segments: int = 100, min_score: float = 0.0
    ) -> Segments:
        """Named masks of an image from given proposals, best first, of which ``config.proposals`` are named.

        Raises:
            ValueError: the image can't be read, an option is out of range, or the proposals are of an image of another
                size.
            MemoryError: the image is too large for the memory that is left.
        """
        check_limits("max_segments", max_segments, min_score)
        pixels, (height, width) = as_tensor(image), (proposals.height, proposals.width)
        if pixels.shape[-2:] != (height, width):
            raise ValueError(
                f"the proposals are of an image of {height} x {width} pixels, and this one has "
                f"{pixels.shape[-2]} x {pixels.shape[-1]}"
            )
        proposals = proposals[: self.config.proposals]
        edges = Edges.of(proposals.rles, height, width)
        boxes = torch.from_numpy(proposals.boxes_xyxy).float().to(self.proposer.device)
        masks = torch.from_numpy(mask_grids(edges, proposals.boxes_xyxy)).to(self.proposer.device)
        with told_as_memory_error():
            logits = self.classifier(self.classifier.trunk(pixels), (height, width), boxes, masks)
        scores = logits.softmax(1)[:, 1:].cpu().numpy()
        scores = scores * (proposals.scores[:, None] ** self.config.objectness_power).astype(scores.dtype)
        return name_proposals(
            proposals, edges, scores, self.categories, self.config, max_segments=max_segments, min_score=min_score
        )
