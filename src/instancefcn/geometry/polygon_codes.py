"""Run-length codes of many polygons at once, as pycocotools makes them one by one (``rleFrPoly`` of maskApi.c)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from instancefcn.compiled import compiled
from instancefcn.geometry.rle import code_bound, write_code

SCALE = 5  # outlines are followed on a grid that many times as fine as pixels


@compiled
def polygon_codes(
    numbers: Float64[np.ndarray, "_"],
    ends: Int64[np.ndarray, "_"],
    parts: Int64[np.ndarray, "_"],
    sizes: Int64[np.ndarray, "n 2"],
    margin: float,
    longest: float,
    text: UInt8[np.ndarray, "_"],
    bounds: Int64[np.ndarray, "_"],
) -> int:
    """Write the codes of masks, each the union of its polygons.

    A mask is left out, with a code of no bytes, where a polygon of it has under 3 points or an odd number of numbers,
    reaches more than ``margin`` pixels out of the image, or they are longer than ``longest`` pixels; or where it covers
    no pixel.

    Args:
        numbers: x, y, x, y, ... in pixels.
        ends: polygon i is ``numbers[ends[i] : ends[i + 1]]``.
        parts: mask j has the polygons ``parts[j]`` to ``parts[j + 1]``.
        sizes: height and width of each mask's image.
        text: written, as far as there is room.
        bounds: written; mask j's code is ``text[bounds[j] : bounds[j + 1]]``.

    Returns:
        How many masks there was room for.
    """
    bounds[0] = 0
    for mask in range(len(parts) - 1):
        height, width = sizes[mask, 0], sizes[mask, 1]
        first, last = parts[mask], parts[mask + 1]
        most, length = 0, 0.0
        sound = last > first
        for part in range(first, last):
            start, end = ends[part], ends[part + 1]
            if end - start < 6 or (end - start) % 2:
                sound = False
                break
            for index in range(start, end, 2):
                x, y = numbers[index], numbers[index + 1]
                if not (x >= -margin and x <= width + margin and y >= -margin and y <= height + margin):
                    sound = False
                if index > start:
                    length += abs(x - numbers[index - 2]) + abs(y - numbers[index - 1])
                before = index - 2 if index > start else end - 2
                most += int(abs(x - numbers[before])) + 3
            if not sound:
                break
        if not sound or length > longest:
            bounds[mask + 1] = bounds[mask]
            continue
        places = np.empty(most, dtype=np.int64)
        count = 0
        for part in range(first, last):
            own = write_places(numbers[ends[part] : ends[part + 1]], height, width, places, count)
            if last - first > 1:  # starts and ends of runs become even and odd
                for index in range(count, own):
                    places[index] = 2 * places[index] + (index - count) % 2
            count = own
        if last - first > 1:
            count = write_union(places, count)
        if bounds[mask] + code_bound(count) > len(text):
            return mask
        covered = places[1:count:2].sum() - places[:count:2].sum() + (height * width if count % 2 else 0)
        bounds[mask + 1] = write_code(places, count, height * width, text, bounds[mask]) if covered else bounds[mask]
    return len(parts) - 1


@compiled
def write_places(
    points: Float64[np.ndarray, "_"], height: int, width: int, places: Int64[np.ndarray, "_"], start: int
) -> int:
    """Write the places at which the mask of one polygon changes, in order, from ``start`` on; returns their end."""
    count = len(points) // 2
    end = start
    first, last = SCALE // 2, SCALE // 2 + SCALE * (width - 1)  # of the centres of columns, on the fine grid
    for index in range(count):
        after = (index + 1) % count
        xs, ys = int(SCALE * points[2 * index] + 0.5), int(SCALE * points[2 * index + 1] + 0.5)
        xe, ye = int(SCALE * points[2 * after] + 0.5), int(SCALE * points[2 * after + 1] + 0.5)
        dx, dy = abs(xe - xs), abs(ye - ys)
        if dx == 0:
            continue
        if (dx >= dy and xs > xe) or (dx < dy and ys > ye):
            xs, ys, xe, ye = xe, ye, xs, ys
        slope = (ye - ys) / dx if dx >= dy else (xe - xs) / dy
        low = max(min(xs, xe), first)
        low += (first - low) % SCALE
        # The outline takes a step from u to u + 1, or back, just once between its ends.
        for u in range(low, min(max(xs, xe), last + 1), SCALE):
            if dx >= dy:
                v = min(int(ys + slope * (u - xs) + 0.5), int(ys + slope * (u + 1 - xs) + 0.5))
            else:
                v = ys + steps_before(xs, slope, u, dy)
            row = np.ceil(min(max((v + 0.5) / SCALE - 0.5, 0.0), float(height)))
            places[end] = (u - first) // SCALE * height + int(row)
            end += 1
    places[start:end].sort()
    return end


@compiled
def steps_before(xs: int, slope: float, u: int, dy: int) -> int:
    """Steps that a steep edge from ``xs`` takes until the one that crosses from u to u + 1, or back."""
    step = min(max(int((u + 0.5 - xs) / slope), 1), dy)  # as good as rounding is
    up = slope > 0
    while step > 1 and (int(xs + slope * (step - 1) + 0.5) > u) == up:
        step -= 1
    while step < dy and (int(xs + slope * step + 0.5) > u) != up:
        step += 1
    return step - 1


@compiled
def write_union(events: Int64[np.ndarray, "_"], count: int) -> int:
    """Turn starts (twice a place) and ends (twice a place, and 1) of several masks' runs into places of their union."""
    events[:count].sort()
    depth, end = 0, 0
    for index in range(count):
        event = events[index]
        before = depth
        depth += -1 if event % 2 else 1
        if (before == 0) != (depth == 0):
            events[end] = event // 2
            end += 1
    return end
