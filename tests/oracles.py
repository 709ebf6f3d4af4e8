"""Slow loop twins of the clever functions: written from the definition, one pixel at a time."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from instancefcn.model.assembling import OUTSIDE_LOGIT


def assemble(instance: Tensor, image_index: Tensor, corners_yx: Tensor, m: int) -> Tensor:
    """Each pixel of each window looks up its cell, its channel and its place."""
    _, k2, height, width = instance.shape
    k = math.isqrt(k2)
    masks = []
    for image, (top, left) in zip(image_index.tolist(), corners_yx.tolist(), strict=True):
        rows = []
        for i in range(m):
            row = []
            for j in range(m):
                channel = math.floor(i * k / m) * k + math.floor(j * k / m)
                y, x = top + i, left + j
                inside = 0 <= y < height and 0 <= x < width
                row.append(instance[image, channel, y, x] if inside else torch.tensor(OUTSIDE_LOGIT))
            rows.append(torch.stack(row))
        masks.append(torch.stack(rows))
    return torch.stack(masks)


def assemble_blended(instance: Tensor, corner_yx: tuple[int, int], m: int) -> Tensor:
    """A window of maps [k2, h, w]; pixels interpolate between the maps of the four cells whose centres are nearest."""
    k2, height, width = instance.shape
    k = math.isqrt(k2)
    mask = torch.full((m, m), OUTSIDE_LOGIT)
    for i in range(m):
        for j in range(m):
            y, x = corner_yx[0] + i, corner_yx[1] + j
            if not (0 <= y < height and 0 <= x < width):
                continue
            mask[i, j] = 0
            for cell_y in range(k):
                for cell_x in range(k):
                    weight = 1.0
                    for place, cell in ((i, cell_y), (j, cell_x)):
                        center = min(max((place + 0.5) * k / m - 0.5, 0), k - 1)
                        weight *= max(0.0, 1 - abs(center - cell))
                    mask[i, j] += weight * instance[cell_y * k + cell_x, y, x]
    return mask


def turned(pixels: Tensor, turns: int, mirrored: bool) -> Tensor:
    """Pixels [c, h, w], mirrored left to right if asked, then turned anticlockwise by right angles."""
    if mirrored:
        pixels = torch.stack([pixels[:, :, x] for x in reversed(range(pixels.shape[2]))], dim=2)
    for _ in range(turns):
        channels, height, width = pixels.shape
        turned = torch.empty(channels, width, height, dtype=pixels.dtype)
        for y in range(width):
            for x in range(height):
                turned[:, y, x] = pixels[:, x, width - 1 - y]
        pixels = turned
    return pixels


def tight_box(mask: Tensor) -> list[int]:
    """Smallest and largest foreground coordinates, half-open."""
    foreground = [(x, y) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    if not foreground:
        return [0, 0, 0, 0]
    xs, ys = zip(*foreground, strict=True)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def window_label(
    box: list[float],
    window_box: list[float],
    object_to_window: float,
    positive: tuple[float, float],
    negative: tuple[float, float],
    padding: Tensor,
) -> str:
    """DeepMask's rule for one window and one instance; tolerances are (centre, scale).

    Windows centred on ``padding``, or on no pixel of it, are ignored.
    """
    side = window_box[2] - window_box[0]
    x, y = (window_box[0] + window_box[2]) / 2, (window_box[1] + window_box[3]) / 2
    height, width = padding.shape
    if not (0 <= y < height and 0 <= x < width) or padding[math.floor(y), math.floor(x)]:
        return "ignored"
    off_center = max(
        abs((box[0] + box[2]) / 2 - (window_box[0] + window_box[2]) / 2),
        abs((box[1] + box[3]) / 2 - (window_box[1] + window_box[3]) / 2),
    )
    ratio = max(box[2] - box[0], box[3] - box[1]) / (side * object_to_window)
    off_scale = max(ratio, 1 / ratio)
    if off_center <= positive[0] * side and off_scale <= positive[1]:
        return "positive"
    if off_center >= negative[0] * side or off_scale >= negative[1]:
        return "negative"
    return "ignored"


def value_at(values: Tensor, window_box: list[float], x: float, y: float, size: tuple[int, int] | None = None) -> float:
    """A window's value at a point of the image, bilinearly between the centres of cells; 0 outside the window.

    The first cell inside the image is extended to its border; so is the last, of which the image of a given
    ``size``, (width, height), holds 0.55 or more.
    """
    m = values.shape[0]
    cell_x, cell_y = (window_box[2] - window_box[0]) / m, (window_box[3] - window_box[1]) / m
    if not (window_box[0] <= x < window_box[2] and window_box[1] <= y < window_box[3]):
        return 0.0
    last_u = last_v = m - 1
    if size is not None:
        last_u = max([c for c in range(m) if window_box[0] + (c + 0.55) * cell_x <= size[0]], default=0)
        last_v = max([c for c in range(m) if window_box[1] + (c + 0.55) * cell_y <= size[1]], default=0)
    first_u, first_v = max(0.0, -window_box[0] / cell_x), max(0.0, -window_box[1] / cell_y)
    u = min(max((x - window_box[0]) / cell_x - 0.5, first_u), max(last_u, first_u))
    v = min(max((y - window_box[1]) / cell_y - 0.5, first_v), max(last_v, first_v))
    i, j = int(v), int(u)
    fv, fu = v - i, u - j
    below, behind = min(i + 1, m - 1), min(j + 1, m - 1)
    upper = values[i, j] * (1 - fu) + values[i, behind] * fu
    lower = values[below, j] * (1 - fu) + values[below, behind] * fu
    return float(upper * (1 - fv) + lower * fv)


def paste(mask_logits: Tensor, window_box: list[float], threshold_logit: float, height: int, width: int) -> Tensor:
    """The window's value at every pixel centre of the image, thresholded; nothing outside the window."""
    above = mask_logits - threshold_logit
    mask = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            mask[y, x] = value_at(above, window_box, x + 0.5, y + 0.5, (width, height)) > 0
    return mask


def non_maximum_suppression(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """Keep the best, drop what overlaps it by more than the threshold, go on."""
    return greedy_suppression([[box_iou(a, b) for b in boxes] for a in boxes], scores, threshold)


def greedy_suppression(ious: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """The same, of things whose overlaps are known."""
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if ious[best][i] <= threshold]
    return kept


def soft_suppression(boxes: list[list[float]], scores: list[float], threshold: float) -> list[tuple[int, float]]:
    """Index and score of each box, best first: a box taken costs every other one that it overlaps."""
    left, taken = dict(enumerate(scores)), []
    while left:
        best = max(left, key=lambda index: left[index])
        taken.append((best, left.pop(best)))
        for index in left:
            iou = box_iou(boxes[best], boxes[index])
            left[index] *= (1 - iou) / (1 - threshold) if iou > threshold else 1
    return taken


def box_iou(a: list[float], b: list[float]) -> float:
    """IoU of two boxes, xyxy."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


def mask_iou(a: Tensor, b: Tensor) -> float:
    """IoU of two masks of the same image, counted in pixels."""
    in_a, in_b = ({(y, x) for y, x in mask.nonzero().tolist()} for mask in (a, b))
    return len(in_a & in_b) / len(in_a | in_b) if in_a or in_b else 0.0


def assigned_ious(iou: list[list[float]], limit: int) -> list[float]:
    """Hosang's matching among the first proposals: every pair sorted by IoU, taken where both are still free.

    ``iou[n][g]``; equal IoU: the first instance goes first, then the first proposal.
    """
    pairs = [(-value, g, n) for n, row in enumerate(iou[:limit]) for g, value in enumerate(row)]
    assigned = [0.0] * (len(iou[0]) if iou else 0)
    free_instances, free_proposals = set(range(len(assigned))), set(range(limit))
    for negative, g, n in sorted(pairs):
        if g in free_instances and n in free_proposals:
            assigned[g] = -negative
            free_instances.remove(g)
            free_proposals.remove(n)
    return assigned


def region_average_precision(
    instances: dict[int, list[set[tuple[int, int]]]],
    results: list[tuple[int, float, set[tuple[int, int]]]],
    threshold: float,
    variant: str,
) -> float:
    """AP^r of one category from the definition: pixel sets, one result after the other, precision by hand.

    ``instances`` by image; ``results`` are (image, score, pixels), without equal scores.
    """
    total = sum(len(masks) for masks in instances.values())
    if not total:
        return math.nan
    found: list[tuple[int, int]] = []
    points = []  # (recall, precision) after each result
    for rank, (image, _, pixels) in enumerate(sorted(results, key=lambda result: -result[1]), start=1):
        best, best_iou = None, 0.0
        for index, mask in enumerate(instances.get(image, [])):
            iou = len(mask & pixels) / len(mask | pixels)
            if iou > best_iou:
                best, best_iou = (image, index), iou
        if best is not None and best_iou >= threshold and best not in found:
            found.append(best)
        points.append((len(found), len(found) / rank))
    if variant == "11-point":
        return sum(max((p for n, p in points if n * 10 >= tenth * total), default=0.0) for tenth in range(11)) / 11
    return sum(max((p for n, p in points if n >= count), default=0.0) for count in range(1, total + 1)) / total


def match_objects(objects: list[set], instances: list[set], crowds: list[set], threshold: float) -> list[int | str]:
    """COCO's matching of one image, pixel by pixel: the instance of each object, or "wrong", or "crowd".

    Sets of pixels, the objects from the best score down; of equal IoU the last instance is taken.
    """
    free = dict(enumerate(instances))
    matched: list[int | str] = []
    for pixels in objects:
        best, best_iou = None, threshold
        for index, mask in free.items():
            iou = len(mask & pixels) / len(mask | pixels) if mask | pixels else 0.0
            if iou >= best_iou:
                best, best_iou = index, iou
        if best is not None:
            del free[best]
            matched.append(best)
        else:
            on_crowd = any(pixels and len(pixels & crowd) / len(pixels) >= threshold for crowd in crowds)
            matched.append("crowd" if on_crowd else "wrong")
    return matched


def count_objects(
    images: list[tuple[list[tuple[float, set]], list[set], list[set]]], score: float, threshold: float
) -> dict[str, float]:
    """Counts over images of the objects that score this or more, matched from the start for this score alone.

    An image is its objects (score, pixels) from the best score down, its instances and its crowds.
    """
    right = wrong = missed = error = 0
    for objects, instances, crowds in images:
        matched = match_objects([pixels for own, pixels in objects if own >= score], instances, crowds, threshold)
        hits = sum(isinstance(found, int) for found in matched)
        right += hits
        wrong += matched.count("wrong")
        missed += len(instances) - hits
        error += abs(hits + matched.count("wrong") - len(instances))
    return {"right": right, "wrong": wrong, "missed": missed, "count_error": error / len(images)}


def calibration_error(scores: list[float], right: list[bool]) -> float:
    """Expected calibration error from its definition: ten bins, the last of which has its upper end."""
    total = 0.0
    for tenth in range(10):
        own = [
            (s, r) for s, r in zip(scores, right, strict=True) if tenth <= 10 * s < tenth + 1 or (s == 1 and tenth == 9)
        ]
        if own:
            confidence, accuracy = (sum(column) / len(own) for column in zip(*own, strict=True))
            total += len(own) / len(scores) * abs(accuracy - confidence)
    return total


def boundary(pixels: set[tuple[int, int]], distance: int) -> set[tuple[int, int]]:
    """Pixels (y, x) of a mask that see a pixel outside of it within some rows and columns."""
    steps = range(-distance, distance + 1)
    return {(y, x) for y, x in pixels if any((y + dy, x + dx) not in pixels for dy in steps for dx in steps)}


def roi_warp(features: Tensor, box: list[float], stride: int, grid: int) -> Tensor:
    """Features [c, h, w] at the centre of each of grid x grid cells of a box, bilinearly, beyond the rim as on it."""
    channels, height, width = features.shape
    warped = torch.zeros(channels, grid, grid)
    for i in range(grid):
        for j in range(grid):
            x = (box[0] + (box[2] - box[0]) * (j + 0.5) / grid) / stride - 0.5
            y = (box[1] + (box[3] - box[1]) * (i + 0.5) / grid) / stride - 0.5
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            u, v = x - left, y - top
            upper = features[:, top, left] * (1 - u) + features[:, top, left + 1] * u
            lower = features[:, top + 1, left] * (1 - u) + features[:, top + 1, left + 1] * u
            warped[:, i, j] = upper * (1 - v) + lower * v
    return warped


def read_counts(code: bytes) -> list[int] | None:
    """Runs of a compressed RLE, character by character (maskApi.c, rleFrString); None where the code is damaged."""
    runs: list[int] = []
    position = 0
    while position < len(code):
        value, shift, more = 0, 0, True
        while more:
            if position == len(code) or not 0 <= code[position] - 48 < 64:
                return None
            digit = code[position] - 48
            value |= (digit & 31) << shift
            more = bool(digit & 32)
            shift += 5
            position += 1
            if not more and digit & 16:
                value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return runs


def decode_brush(code: list[int], height: int, width: int) -> np.ndarray:
    """RGBA pixels of a code, bit by bit, as thi.ng's rle-pack describes it."""
    bits = "".join(f"{byte:08b}" for byte in code)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    count, value_bits = read(32), read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated = read(1)
        length = 1 + read(length_bits[read(2)])
        values += [read(value_bits)] * length if repeated else [read(value_bits) for _ in range(length)]
    assert len(values) == count
    assert len(bits) - place < 8
    return np.array(values).reshape(height, width, 4)


def polygon(points_xy: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pixel's centre is inside a polygon, by the even-odd rule, and its distance to the outline."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside, distance = np.zeros((height, width), dtype=bool), np.full((height, width), np.inf)
    for (x0, y0), (x1, y1) in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        crosses = (y0 <= y) != (y1 <= y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, 1, y1 - y0))
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return inside, distance


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, degrees: float, height: int, width: int
) -> np.ndarray:
    """Of each pixel's centre, how far it is from the ellipse's centre, where the outline is at 1."""
    distance = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            turned = complex(j + 0.5 - x, i + 0.5 - y) * np.exp(-1j * math.radians(degrees))
            distance[i, j] = math.hypot(turned.real / radius_x, turned.imag / radius_y)
    return distance


def objects_among(masks: np.ndarray, max_iou: float, max_filled: float, max_inside: int, inside: float) -> list[int]:
    """Indices of masks [n, h, w], best first, that are no duplicate and no clump of better ones; pixel by pixel."""
    kept: list[int] = []
    for index, mask in enumerate(masks):
        pixels = {(y, x) for y, x in zip(*np.nonzero(mask), strict=True)}
        duplicate, filled, parts = False, 0, 0
        for other in kept:
            theirs = {(y, x) for y, x in zip(*np.nonzero(masks[other]), strict=True)}
            shared = len(pixels & theirs)
            duplicate |= shared > max_iou * len(pixels | theirs)
            if shared > inside * len(theirs):
                filled += shared
                parts += 1
        if not duplicate and filled <= max_filled * len(pixels) and parts <= max_inside:
            kept.append(index)
    return kept


def scores_that_count(
    scores: list[float], areas: list[int], threshold: float, alike: float, many: int, within: float
) -> list[float]:
    """Scores as they count in an image: more where ``many`` objects are sure, and half of these alike in size.

    There ``alike`` times the median score of the sure ones counts as the threshold does, if it is less.
    """

    def middle(values: list[float]) -> float:
        ordered = sorted(values)
        return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2

    sizes = [math.log(area) for score, area in zip(scores, areas, strict=True) if score >= threshold]
    if len(sizes) < many or middle([abs(size - middle(sizes)) for size in sizes]) > math.log(within):
        return scores
    enough = alike * middle([score for score in scores if score >= threshold])
    return [min(score * threshold / enough, 1.0) for score in scores] if enough < threshold else scores


def filled_and_without_specks(mask: np.ndarray, smallest_hole: float, smallest_part: float) -> np.ndarray:
    """Flood fill from every pixel: small holes become the mask's, small parts go."""
    height, width = mask.shape

    def flood(start: tuple[int, int], of: np.ndarray, corners: bool) -> set[tuple[int, int]]:
        seen, waiting = {start}, [start]
        while waiting:
            y, x = waiting.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near = (y + dy, x + dx)
                    inside = 0 <= near[0] < height and 0 <= near[1] < width
                    if inside and (corners or dy == 0 or dx == 0) and of[near] and near not in seen:
                        seen.add(near)
                        waiting.append(near)
        return seen

    filled = mask.copy()
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                hole = flood((y, x), ~mask, corners=False)
                open_to_the_border = any(i in (0, height - 1) or j in (0, width - 1) for i, j in hole)
                filled[y, x] = not open_to_the_border and len(hole) < smallest_hole * mask.sum()
    parts = {(y, x): flood((y, x), filled, corners=True) for y in range(height) for x in range(width) if filled[y, x]}
    largest = max((len(part) for part in parts.values()), default=0)
    kept = np.zeros_like(mask)
    for place, part in parts.items():
        kept[place] = len(part) >= smallest_part * largest
    return kept


def connected_parts(mask: np.ndarray) -> np.ndarray:
    """Number of each pixel's part, in the order of their first pixels, row by row, found by walking to neighbours."""
    height, width = mask.shape
    parts = np.zeros((height, width), dtype=int)
    count = 0
    for y, x in np.argwhere(mask).tolist():
        if parts[y, x]:
            continue
        count += 1
        waiting = [(y, x)]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < height and 0 <= column < width
            if inside and mask[row, column] and not parts[row, column]:
                parts[row, column] = count
                waiting += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return parts


def blended(canvas: np.ndarray, image: np.ndarray, colour: list[int], tint: float, opacity: np.ndarray) -> np.ndarray:
    """A picture, by pixel and channel: the tinted image laid over the canvas with the opacity of each pixel.

    Args:
        canvas: and image, uint8 [h, w, 3].
        colour: three numbers.
        tint: share of the colour in the image.
        opacity: [h, w].
    """
    picture = canvas.copy()
    for y, x, channel in np.ndindex(canvas.shape):
        tinted = (1 - tint) * float(image[y, x, channel]) + tint * colour[channel]
        below = float(canvas[y, x, channel])
        picture[y, x, channel] = round(below + float(opacity[y, x]) * (tinted - below))
    return picture
