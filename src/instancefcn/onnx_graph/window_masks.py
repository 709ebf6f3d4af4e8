"""Masks of windows before they are pasted, in the graph; as ``inference.window_masks``."""

from __future__ import annotations

from dataclasses import dataclass, fields

import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import STABILITY_OFFSET
from instancefcn.onnx_graph.assembling import assemble
from instancefcn.onnx_graph.windows import GraphWindows


@dataclass(frozen=True)
class GraphMasks:
    """Assembled masks; boxes are xyxy in the image's frame.

    Masks have different sides, so their logits lie one after another in one tensor: the mask of window i is the
    ``sides[i] ** 2`` logits from ``starts[i]`` on, row by row.
    """

    mask_logits: ir.Value  # [cells], float
    scores: ir.Value  # [n], float; -1 for those that do not count
    starts: ir.Value  # [n], int64
    sides: ir.Value  # [n], int64
    window_boxes: ir.Value  # [n, 4], float; may hang over the border
    tight_boxes: ir.Value  # [n, 4], float; around the cells above the threshold

    def chosen(self, op: OpBuilder, indices: ir.Value) -> GraphMasks:
        """Some of the masks, in the order asked for; the logits are shared, not copied."""
        names = [field.name for field in fields(self) if field.name != "mask_logits"]
        return GraphMasks(self.mask_logits, **{name: op.Gather(getattr(self, name), indices) for name in names})


def ranked_masks(op: OpBuilder, groups: list[GraphWindows], config: InferenceConfig) -> GraphMasks:
    """Assemble the masks of windows, measure them, and weight their scores by their stability."""
    parts = [_of_group(op, group, config) for group in groups]
    sides = op.Concat(*(part.sides for part in parts), axis=0)
    areas = op.Mul(sides, sides)
    return GraphMasks(
        op.Concat(*(part.mask_logits for part in parts), axis=0),
        op.Concat(*(part.scores for part in parts), axis=0),
        op.Sub(op.CumSum(areas, 0), areas),
        sides,
        op.Concat(*(part.window_boxes for part in parts), axis=0),
        op.Concat(*(part.tight_boxes for part in parts), axis=0),
    )


def _of_group(op: OpBuilder, windows: GraphWindows, config: InferenceConfig) -> GraphMasks:
    """The masks of windows of one size; their ``starts`` are left for the whole."""
    stride, m, density = windows.maps.window
    side, threshold = m * density, config.threshold_logit
    logits = assemble(op, windows, config.blend_tiles)

    def number_above(logit: float) -> ir.Value:
        above = op.Cast(op.Greater(logits, logit), to=ir.DataType.FLOAT)
        return op.ReduceSum(above, [1, 2], keepdims=0)

    stability = op.Div(
        number_above(threshold + STABILITY_OFFSET), op.Max(number_above(threshold - STABILITY_OFFSET), 1.0)
    )
    scores = windows.scores
    if config.stability_power:
        # Windows that do not count keep their score below 0.
        scores = op.Mul(scores, op.Pow(op.Max(stability, 1e-12), float(config.stability_power)))
    foreground = op.Greater(op.ReduceMax(logits, [1, 2], keepdims=0), threshold)
    scores = op.Where(foreground, scores, -1.0)

    corners = op.Concat(
        *(op.Unsqueeze(op.Sub(positions, [m // 2]), [1]) for positions in (windows.columns, windows.rows)), axis=1
    )
    spans = op.Concat(corners, op.Add(corners, [m]), axis=1)
    boxes = op.Div(op.Mul(op.Cast(spans, to=ir.DataType.FLOAT), float(stride)), windows.maps.scale_xyxy)
    cell = op.Div(float(stride / density), windows.maps.scale_xyxy)  # [4], its size in the image
    start = op.Gather(boxes, [0, 1, 0, 1], axis=1)
    tight = op.Add(start, op.Mul(_tight_cells(op, logits, threshold), cell))
    number = op.Shape(windows.scores)
    return GraphMasks(op.Reshape(logits, [-1]), scores, number, op.Expand([side], number), boxes, tight)


def _tight_cells(op: OpBuilder, logits: ir.Value, threshold: float) -> ir.Value:
    """Tight boxes of masks [n, side, side], xyxy in cells, float."""
    edges = []
    for axis in (1, 2):  # over rows: which columns have foreground; over columns: which rows
        any_above = op.Cast(op.Greater(op.ReduceMax(logits, [axis], keepdims=0), threshold), to=ir.DataType.INT32)
        first = op.ArgMax(any_above, axis=1, keepdims=1)
        last = op.ArgMax(any_above, axis=1, keepdims=1, select_last_index=1)
        edges.append((first, op.Add(last, [1])))
    (left, right), (top, bottom) = edges
    return op.Cast(op.Concat(left, top, right, bottom, axis=1), to=ir.DataType.FLOAT)
