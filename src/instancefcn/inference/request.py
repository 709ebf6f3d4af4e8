"""What a run asks a proposer for."""

from __future__ import annotations

from dataclasses import dataclass

from instancefcn.data.images import AnyImage
from instancefcn.inference.proposer import Proposer
from instancefcn.proposals import Proposals

MOST_PROPOSALS = 100  # of an image, unless the user says more


@dataclass(frozen=True)
class Request:
    """Ranked candidates, or objects.

    Attributes:
        objects: each once, instead of ranked candidates.
        exclusive: of objects: a pixel belongs to one at most.
        max_proposals: of an image; None for MOST_PROPOSALS candidates, or all objects.
        min_score: none below it; None for all candidates, or for objects by the checkpoint's threshold.
    """

    objects: bool = False
    exclusive: bool = False
    max_proposals: int | None = None
    min_score: float | None = None

    @property
    def most(self) -> int | None:
        """How many results an image has at most; None where as many as there are."""
        return MOST_PROPOSALS if self.max_proposals is None and not self.objects else self.max_proposals

    def answer(self, proposer: Proposer, image: AnyImage) -> Proposals:
        """Ask a proposer; raises as it does."""
        if self.objects:
            return proposer.objects(image, threshold=self.min_score, exclusive=self.exclusive)[: self.most]
        most = self.most
        assert most is not None  # only of objects there may be as many as there are
        return proposer(image, max_proposals=most, min_score=self.min_score or 0.0)
