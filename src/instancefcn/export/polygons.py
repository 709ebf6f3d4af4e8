"""Masks as polygons with holes and several parts.

Frame: pixel (0, 0) spans [0, 1] x [0, 1], so its centre is (0.5, 0.5), and the outline of a mask that fills the image
reaches from 0 to the width. COCO's, YOLO's, CVAT's, labelme's, Label Studio's and QuPath's polygons are in this frame.
"""

from __future__ import annotations

from itertools import pairwise

import contourpy
import numpy as np
import shapely
from jaxtyping import Float, Int, Shaped

from instancefcn.geometry.rle import Rle, tight_boxes
from instancefcn.geometry.runs import Edges

MAX_SHIFT = 0.15  # of area / perimeter: half the share of its area that a mask may lose where the whole outline shifts
Ring = list[list[float]]  # points, each [x, y]; the first is not repeated at the end


def to_polygons(rle: Rle, tolerance: float = 1.0) -> shapely.MultiPolygon:
    """Outline of a mask, simplified: one polygon for each part, with its holes.

    The outline runs half way between the centres of pixels in the mask and beside it (marching squares at 0.5), so a
    corner is cut by half a pixel, and parts that touch at a corner alone are two. It is then simplified by Douglas and
    Peucker's rule, which keeps it free of crossings. pycocotools' ``frPyObjects`` gives back the mask itself from the
    outline before it is simplified.

    Args:
        tolerance: pixels by which the outline may shift (twice that at the point where GEOS starts a ring). Small and
            thin parts, which a shift costs much, get less: ``MAX_SHIFT * area / perimeter`` at most. 0 keeps every
            corner.

    Returns:
        Valid polygons in the frame of the image (see the top of this file); empty only for an empty mask.

    Example:
        >>> from instancefcn.geometry.rle import encode
        >>> mask = np.zeros((20, 30), dtype=bool)
        >>> mask[5:15, 10:25] = True
        >>> to_polygons(encode(mask)).bounds
        (10.0, 5.0, 25.0, 15.0)
    """
    left, top, right, bottom = tight_boxes([rle])[0].astype(int).tolist()
    if left == right:
        return shapely.MultiPolygon()
    edges = Edges.of([rle], *rle["size"])
    columns = edges.weighted_sum(np.zeros(1, dtype=np.int64), np.ones(1), left, right)
    parts = _trace(np.pad(columns[top:bottom], 1), left, top)
    shifts = np.minimum(tolerance, MAX_SHIFT * shapely.area(parts) / shapely.length(parts))
    # Watching for crossings takes ten times as long, and hardly an outline needs it.
    for watched in (False, True):
        simple = shapely.simplify(parts, shifts, preserve_topology=watched)
        if (_count_rings(simple) == _count_rings(parts)).all():
            whole = shapely.MultiPolygon(list(simple))
            if whole.is_valid:
                return whole
    # Parts that ran into each other keep apart when they are simplified as one.
    together = shapely.simplify(shapely.MultiPolygon(list(parts)), shifts.min())
    return shapely.MultiPolygon(list(shapely.get_parts(together)))


def rings(polygon: shapely.Polygon) -> tuple[Ring, list[Ring]]:
    """Outer ring and holes of a polygon, as lists of points for JSON."""
    outer, *holes = [shapely.get_coordinates(ring)[:-1].tolist() for ring in (polygon.exterior, *polygon.interiors)]
    return outer, holes


def holes(polygons: shapely.MultiPolygon) -> int:
    """Number of holes in all parts."""
    return sum(len(part.interiors) for part in polygons.geoms)


def flat(ring: Ring) -> list[float]:
    """``[x, y, x, y, ...]``, as COCO writes a ring."""
    return [number for point in ring for number in point]


def _count_rings(parts: Shaped[np.ndarray, "parts"]) -> Int[np.ndarray, "parts"]:
    """Rings of each polygon; 0 where it is empty, or fell apart into several."""
    whole = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    return np.where(whole, 1 + shapely.get_num_interior_rings(parts), 0)


def _trace(mask: Float[np.ndarray, "h w"], left: int, top: int) -> Shaped[np.ndarray, "parts"]:
    """Outlines of a crop of 0 and 1, whose border of 0 lies around the box with the corner ``left``, ``top``.

    Returns:
        A shapely.Polygon for each part.
    """
    contours = contourpy.contour_generator(z=mask, fill_type="OuterOffset")
    parts: list[shapely.Polygon] = []
    for points, offsets in zip(*contours.filled(0.5, 2.0), strict=True):
        assert points is not None
        assert offsets is not None
        points_xy = points + np.array([left - 0.5, top - 0.5])  # where the border's first pixel has its centre
        outer, *inner = [points_xy[start:end] for start, end in pairwise(offsets)]
        parts.append(shapely.Polygon(outer, inner))
    return np.array(parts)
