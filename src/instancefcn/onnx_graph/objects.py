"""Which candidates are one object each, in the graph; as ``instancefcn.objects``."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.objects import INSIDE, LIKE_SIZE, MANY_ALIKE, ObjectRule
from instancefcn.onnx_graph.loops import loop
from instancefcn.onnx_graph.pasting import paste
from instancefcn.onnx_graph.resizing import Size
from instancefcn.onnx_graph.window_masks import GraphMasks

RASTER = 2.0**17  # pixels in which masks are compared, at most: an image of more is compared at a smaller size


def choose_objects(
    op: OpBuilder, masks: GraphMasks, scores: ir.Value, size: Size, rule: ObjectRule, threshold: float
) -> tuple[GraphMasks, ir.Value]:
    """The objects among candidates, best first, and their chances.

    Args:
        scores: of the candidates, [n], best first.
        size: of the image.
        threshold: as in ``pasting.paste``.
    """
    enough = op.GreaterOrEqual(scores, float(rule.lowest_of_any_image(None)))
    likely = op.Squeeze(op.NonZero(enough), [0])
    masks, scores = masks.chosen(op, likely), op.Gather(scores, likely)
    shared, areas = _overlaps(op, masks, size, threshold)
    kept = op.Squeeze(op.NonZero(_kept(op, shared, areas, rule)), [0])
    eased = _eased(op, op.Gather(scores, kept), op.Gather(areas, kept), rule)
    objects = op.Squeeze(op.NonZero(op.GreaterOrEqual(eased, rule.threshold)), [0])
    return masks.chosen(op, op.Gather(kept, objects)), _chances(op, op.Gather(eased, objects), rule)


def _overlaps(op: OpBuilder, masks: GraphMasks, size: Size, threshold: float) -> tuple[ir.Value, ir.Value]:
    """Pixels that masks share, [n, n], and their areas, [n], on a raster that may be coarser than the image."""
    height, width = (op.Cast(side, to=ir.DataType.FLOAT) for side in size.sides)
    factor = op.Min(op.Sqrt(op.Div(RASTER, op.Mul(height, width))), 1.0)
    raster = Size(
        *(op.Max(op.Cast(op.Floor(op.Mul(side, factor)), to=ir.DataType.INT64), [1]) for side in (height, width))
    )
    scales = (
        op.Div(op.Cast(small, to=ir.DataType.FLOAT), whole)
        for small, whole in ((raster.width, width), (raster.height, height))
    )
    scale = op.Concat(*scales, axis=0)
    scale = op.Concat(scale, scale, axis=0)
    there = replace(masks, window_boxes=op.Mul(masks.window_boxes, scale), tight_boxes=op.Mul(masks.tight_boxes, scale))
    pasted, _ = paste(op, there, raster, threshold)
    pixels = op.Mul(raster.height, raster.width)
    flat = op.Reshape(
        op.Cast(pasted, to=ir.DataType.FLOAT), op.Concat(op.Shape(masks.sides), pixels, axis=0), allowzero=1
    )
    return op.MatMul(flat, op.Transpose(flat, perm=[1, 0])), op.ReduceSum(flat, [1], keepdims=0)


def _kept(op: OpBuilder, shared: ir.Value, areas: ir.Value, rule: ObjectRule) -> ir.Value:
    """Whether each mask is kept, [n]: no duplicate of a better object, and no clump of several."""
    number = op.Shape(areas)
    indices = op.Range(0, op.Squeeze(number), 1)
    unions = op.Sub(op.Add(op.Unsqueeze(areas, [0]), op.Unsqueeze(areas, [1])), shared)
    same = op.Greater(shared, op.Mul(op.Max(unions, 1.0), float(rule.max_iou)))  # [n, n]
    inside = op.Greater(shared, op.Mul(op.Unsqueeze(areas, [0]), INSIDE))  # the second in the first
    filled = op.Where(inside, shared, 0.0)

    def step(body: OpBuilder, index: ir.Value, kept: ir.Value) -> list[ir.Value]:
        place = body.Unsqueeze(index, [0])
        duplicate = body.Cast(body.And(body.Squeeze(body.Gather(same, place), [0]), kept), to=ir.DataType.FLOAT)
        clumped = body.Mul(body.Squeeze(body.Gather(filled, place), [0]), body.Cast(kept, to=ir.DataType.FLOAT))
        new = body.Equal(body.ReduceSum(duplicate, [0], keepdims=1), 0.0)
        most = body.Mul(body.Gather(areas, place), float(rule.max_filled))
        whole = body.LessOrEqual(body.ReduceSum(clumped, [0], keepdims=1), most)
        parts = body.ReduceSum(body.Cast(body.Greater(clumped, 0.0), to=ir.DataType.FLOAT), [0], keepdims=1)
        few = body.LessOrEqual(parts, float(rule.max_inside))
        own = body.Equal(indices, place)
        return [body.Or(kept, body.And(own, body.And(new, body.And(whole, few))))]

    (kept,) = loop(op, "choose_objects", step, number, op.Less(indices, 0), ir.DataType.BOOL)
    return kept


def _eased(op: OpBuilder, scores: ir.Value, areas: ir.Value, rule: ObjectRule) -> ir.Value:
    """Scores of objects as they count in the image, as ``ObjectRule.easing`` says."""
    if rule.alike == 1 or rule.threshold == 0:
        return scores
    sure = op.GreaterOrEqual(scores, rule.threshold)
    number = op.ReduceSum(op.Cast(sure, to=ir.DataType.INT64), [0], keepdims=1)
    sizes = op.Log(areas)
    away = op.Abs(op.Sub(sizes, _median(op, sizes, sure, number)))
    many = op.GreaterOrEqual(number, MANY_ALIKE)
    alike = op.LessOrEqual(_median(op, away, sure, number), float(np.log(LIKE_SIZE)))
    enough = op.Min(op.Mul(_median(op, scores, sure, number), rule.alike), rule.threshold)
    easing = op.Where(op.And(many, alike), op.Div(enough, rule.threshold), 1.0)
    return op.Min(op.Div(scores, easing), 1.0)


def _median(op: OpBuilder, values: ir.Value, chosen: ir.Value, number: ir.Value) -> ir.Value:
    """The median of the chosen values, whose number is given, [1]; infinite where there is none."""
    padded = op.Concat(op.Where(chosen, values, np.inf), [np.inf], axis=0)
    ascending, _ = op.TopK(padded, op.Shape(padded), largest=0, _outputs=2)
    middle = [op.Div(op.Max(op.Sub(number, one), [0]), [2]) for one in ([1], [0])]
    low, high = (op.Gather(ascending, place) for place in middle)
    return op.Mul(op.Add(low, high), 0.5)


def _chances(op: OpBuilder, scores: ir.Value, rule: ObjectRule) -> ir.Value:
    """As ``ObjectRule.chance``: what each piece between two knots adds up to a score."""
    if not rule.scores:
        return scores
    chances = op.Add(op.Mul(scores, 0.0), float(rule.chances[0]))
    for (left, low), (right, high) in pairwise(zip(rule.scores, rule.chances, strict=True)):
        if right > left and high > low:
            within = op.Sub(op.Min(op.Max(scores, float(left)), float(right)), float(left))
            chances = op.Add(chances, op.Mul(within, float((high - low) / (right - left))))
    return chances
