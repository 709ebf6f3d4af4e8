"""Outlines of masks: where they run, what they keep, and how near to the mask a reader of them comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy.ndimage import gaussian_filter

from instancefcn.data.open import open_source
from instancefcn.data.polygons import polygons_to_rle
from instancefcn.export.polygons import flat, holes, rings, to_polygons
from instancefcn.geometry.rle import Rle, decode, encode
from instancefcn.geometry.rle import ious as mask_ious
from pictures import rectangle


def read_back(outline: shapely.MultiPolygon, height: int, width: int) -> Rle:
    """The mask that the package's reader of polygons makes of an outline; holes are taken out again."""
    parts = [rings(part) for part in outline.geoms]
    outer = polygons_to_rle([flat(ring) for ring, _ in parts], height, width)
    inner = [flat(hole) for _, found in parts for hole in found]
    return encode(decode(outer) & ~decode(polygons_to_rle(inner, height, width))) if inner else outer


def ious(rles: list[Rle], tolerance: float) -> np.ndarray:
    """IoU of each mask with what is read back of its outline, which has to be sound."""
    found: list[float] = []
    for rle in rles:
        outline = to_polygons(rle, tolerance)
        assert outline.is_valid
        assert not outline.is_empty
        found.append(float(mask_ious([rle], [read_back(outline, *rle["size"])])[0, 0]))
    return np.array(found)


def blobs(count: int, seed: int) -> list[Rle]:
    """Smooth masks with holes and several parts, of a few to some thousand pixels."""
    generator = np.random.default_rng(seed)
    masks: list[np.ndarray] = []
    while len(masks) < count:
        height, width = generator.integers(6, 160, 2)
        noise = gaussian_filter(generator.standard_normal((height, width)), generator.uniform(0.05, 0.2) * height)
        mask = noise > noise.std() * generator.uniform(0, 1.5)
        if mask.any():
            masks.append(mask)
    return [encode(mask) for mask in masks]


def test_before_it_is_simplified_an_outline_gives_back_the_mask() -> None:
    noise = np.random.default_rng(0).random((20, 11, 17)) < 0.4  # touching corners, holes, specks
    assert ious([encode(mask) for mask in noise], tolerance=0.0).min() == 1
    assert ious(blobs(20, seed=1), tolerance=0.0).min() == 1


def test_simplified_outlines_stay_near_masks() -> None:
    rles = blobs(120, seed=2)
    found = ious(rles, tolerance=1.0)
    assert found.mean() >= 0.97
    assert found.min() > 0.85
    points = [sum(shapely.get_num_coordinates(to_polygons(rle, tolerance)) for rle in rles) for tolerance in (0.0, 1.0)]
    assert points[1] < 0.7 * points[0]


def test_real_masks(shared_data: Path) -> None:
    folder = shared_data / "coco-mini"
    source = open_source(f"coco:{folder}/annotations/instances_val.json,{folder}/val")
    rles = [rle for index in range(len(source)) for rle in source.labels(index).instances.rles]
    assert ious(rles, tolerance=1.0).mean() >= 0.97
    points = [shapely.get_num_coordinates(to_polygons(rle)) for rle in rles]
    assert np.mean(points) < 30  # an object


def test_frame_is_that_of_pixels_edges() -> None:
    whole = to_polygons(encode(np.ones((6, 9), dtype=bool)), tolerance=0.0)
    assert whole.bounds == (0, 0, 9, 6)
    pixel = to_polygons(encode(rectangle(2, 4, 3, 5, (7, 8))))
    assert pixel.equals(shapely.Polygon([(4, 2.5), (4.5, 2), (5, 2.5), (4.5, 3)]))


def test_holes_and_parts() -> None:
    mask = rectangle(2, 2, 12, 14, (20, 30))
    mask[5:8, 5:9] = False
    mask[14:18, 20:25] = True
    mask[18, 25] = True  # touches the rectangle before it at a corner
    outline = to_polygons(encode(mask), tolerance=0.0)
    assert sorted(len(part.interiors) for part in outline.geoms) == [0, 0, 1]
    assert holes(outline) == 1
    assert to_polygons(encode(np.zeros((4, 5), dtype=bool))).is_empty


def test_specks_keep_their_pixels_beside_a_large_part() -> None:
    mask = rectangle(2, 2, 40, 50, (60, 70))
    mask[50, 60] = mask[45:47, 10] = mask[40, 50] = True  # the last touches a corner
    outline = to_polygons(encode(mask), tolerance=3.0)
    assert len(outline.geoms) == 4
    assert outline.is_valid
    assert sum(shapely.get_num_coordinates(part) for part in outline.geoms) < 25
    for part in outline.geoms:
        assert decode(polygons_to_rle([flat(rings(part)[0])], 60, 70)).any()


def test_parts_that_would_run_into_each_other_keep_apart() -> None:
    y, x = np.mgrid[-95:95, -95:95] + 0.5
    radius = np.hypot(x, y)
    mask = (radius < 40) | ((radius > 41.2) & (radius < 93))  # each may shift by 5 pixels
    outline = to_polygons(encode(mask), tolerance=5.0)
    assert len(outline.geoms) == 2
    assert outline.is_valid


@pytest.mark.parametrize("tolerance", [0.25, 1.0, 4.0])
def test_outlines_shift_by_the_tolerance_or_twice_that_where_a_ring_starts(tolerance: float) -> None:
    for rle in blobs(10, seed=3):
        exact, simple = to_polygons(rle, 0.0), to_polygons(rle, tolerance)
        assert exact.boundary.hausdorff_distance(simple.boundary) <= 2 * tolerance
