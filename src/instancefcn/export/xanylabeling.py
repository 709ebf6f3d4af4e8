"""X-AnyLabeling: labelme's JSON with scores, and without masks."""

from __future__ import annotations

from typing import Any

from instancefcn.export.labelme import LabelmeWriter
from instancefcn.export.writer import LabelledObject


class XAnyLabelingWriter(LabelmeWriter):
    """Writer of ``STEM.json``, as X-AnyLabeling opens it: polygons alone, so holes are filled; ``score`` is kept.

    X-AnyLabeling finds a file by the image's stem, in the images' folder or in the one chosen by "Change output dir".
    """

    tool = "X-AnyLabeling"
    version = "3.0.0"  # of X-AnyLabeling
    holds_scores = True
    holds_holes = False

    def shape(self, found: LabelledObject, kind: str, points: Any, mask: str | None = None) -> dict[str, Any]:
        shape = super().shape(found, kind, points)
        del shape["mask"]
        return shape | {"score": found.score, "difficult": False, "attributes": {}, "kie_linking": []}
