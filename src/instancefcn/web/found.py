"""What a model found in one photograph: candidates once, and the objects among them as the page asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from instancefcn.export.polygons import rings, to_polygons
from instancefcn.geometry.rle import Rle
from instancefcn.inference.proposer import MIN_SCORE, Proposer
from instancefcn.labelling.next_images import NO_RULE_THRESHOLD
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals

LOWEST_CHANCE = 0.02  # the lowest threshold of the page: below it are hundreds of masks, and hardly an object
POINTS_A_SIDE = 2000  # outlines are as fine as a picture of this longer side


@dataclass
class Found:
    """The candidates of a photograph, from which objects are chosen without running the network again.

    Whether a candidate is an object depends on better ones alone, so the objects at any threshold are the first ones of
    those at the lowest: the page moves its threshold by itself.

    Example: ``Found.of(proposer, pixels).objects(exclusive=False)[:10]``.
    """

    candidates: Proposals
    rule: ObjectRule  # the checkpoint's, or one without calibration
    usual_threshold: float | None  # None for the rule's own
    threshold: float  # the chance at the usual threshold
    lowest: float  # chance of an object that the page may ask for: never above what is usual
    _objects: dict[bool, Proposals] = field(default_factory=dict)

    @classmethod
    def of(cls, proposer: Proposer, pixels: UInt8[np.ndarray, "h w 3"]) -> Found:
        """Run the network on a photograph; what scores less than an object may is left out."""
        rule, usual = proposer.rule or ObjectRule(threshold=0.0), None if proposer.rule else NO_RULE_THRESHOLD
        threshold = float(rule.chance(np.array([rule.lowest_score(usual)]))[0])
        lowest = min(LOWEST_CHANCE, threshold)
        least = max(rule.lowest_of_any_image(lowest), MIN_SCORE)
        candidates = proposer(pixels, max_proposals=proposer.config.nms_candidates, min_score=least)
        return cls(candidates, rule, usual, threshold, lowest)

    def objects(self, exclusive: bool) -> Proposals:
        """All objects down to the ``lowest`` chance, best first."""
        if exclusive not in self._objects:
            self._objects[exclusive] = self.candidates.objects(self.lowest, exclusive=exclusive)
        return self._objects[exclusive]

    def usual(self, exclusive: bool) -> int:
        """How many of ``objects`` there are at the checkpoint's own threshold, which is one on the rank's score."""
        scores = self.objects(exclusive).scores
        if not np.isclose(scores, self.threshold, atol=1e-9).any():
            return int((scores > self.threshold).sum())
        # Chances rise with scores, but may be equal: then objects are counted at the threshold itself.
        return len(self.candidates.objects(self.usual_threshold, exclusive=exclusive))

    def bytes(self) -> int:
        """Memory that the codes of masks take, about."""
        lists = [self.candidates.rles, *(found.rles for found in list(self._objects.values()))]
        return sum(len(rle["counts"]) + 200 for rles in lists for rle in rles)

    def as_json(self, exclusive: bool) -> dict[str, Any]:
        """What the page draws: outlines as SVG paths in pixels of the photograph, areas, chances, boxes."""
        return {
            "usual": self.usual(exclusive),
            "threshold": self.threshold,
            "lowest": self.lowest,
            "calibrated": bool(self.rule.scores),
            "objects": [
                {
                    "number": number,
                    "score": float(one.score),
                    "area": one.area,
                    "box": one.box_xyxy.tolist(),
                    "path": svg_path(one.rle),
                }
                for number, one in enumerate(self.objects(exclusive), start=1)
            ],
        }


def svg_path(rle: Rle) -> str:
    """The outline of a mask as the ``d`` of an SVG path, holes included (fill rule evenodd).

    Example:
        >>> from instancefcn.geometry.rle import encode
        >>> mask = np.zeros((4, 6), dtype=bool)
        >>> mask[1:3, 1:5] = True
        >>> svg_path(encode(mask))[:12]
        'M1 1.5L1.5 1'
    """
    tolerance = max(0.5, max(rle["size"]) / POINTS_A_SIDE)  # pixels
    parts = (rings(polygon) for polygon in to_polygons(rle, tolerance).geoms)
    return "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}".replace(".0", "") for x, y in ring) + "Z"
        for outer, holes in parts
        for ring in (outer, *holes)
    )
