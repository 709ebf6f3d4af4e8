from __future__ import annotations

import numpy as np

from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.structures import Segments
from instancefcn.viz.named import draw_segments
from instancefcn.viz.overlays import draw_proposals


def test_names_are_written_over_the_overlay() -> None:
    image = np.full((120, 160, 3), 200, dtype=np.uint8)
    mask = np.zeros((120, 160), dtype=bool)
    mask[40:100, 120:160] = True  # at the rim, where a name needs to be moved inside
    rles = [encode(mask)]
    segments = Segments(rles, tight_boxes(rles), np.array([0.8]), 120, 160, np.array([90]))
    drawn = draw_segments(image, segments, {90: "rhesus monkey"})
    changed = (drawn != draw_proposals(image, segments)).any(2)
    rows, columns = np.nonzero(changed)
    assert columns.max() == 159
    assert rows.max() < 60  # above the mask's middle
    assert not np.array_equal(drawn, draw_segments(image, segments, {90: "rhesus donkey"}))
    nothing = Segments([], np.zeros((0, 4)), np.zeros(0), 120, 160, np.zeros(0, dtype=int))
    np.testing.assert_array_equal(draw_segments(image, nothing, {}), image)
