"""From mask logits in windows' frames to masks in the image's frame, in the graph; as ``inference.pasting``."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.geometry.boxes import OVER_HALF
from instancefcn.onnx_graph.loops import loop
from instancefcn.onnx_graph.resizing import Size
from instancefcn.onnx_graph.window_masks import GraphMasks


def paste(op: OpBuilder, masks: GraphMasks, size: Size, threshold: float) -> tuple[ir.Value, ir.Value]:
    """Resize mask logits to their windows' boxes in the image, bilinearly, and threshold them.

    One mask after another, each within its tight box and a cell of margin: the weights of a bilinear interpolation are
    those of the rows times those of the columns, so a mask is two products of matrices.

    Args:
        size: of the image.

    Returns:
        Masks, bool [n, h, w], and tight boxes, xyxy, float [n, 4], empty where a mask contains no pixel's centre.
    """
    starts_xy, ends_xy = op.Slice(masks.window_boxes, [0], [2], [1]), op.Slice(masks.window_boxes, [2], [4], [1])
    sides = op.Cast(op.Unsqueeze(masks.sides, [1]), to=ir.DataType.FLOAT)
    cells = op.Div(op.Sub(ends_xy, starts_xy), sides)  # [n, 2], the size of a cell in x and y
    border = op.Concat(size.width, size.height, axis=0)
    tight_starts, tight_ends = op.Slice(masks.tight_boxes, [0], [2], [1]), op.Slice(masks.tight_boxes, [2], [4], [1])
    first, end = (
        op.Max(op.Min(op.Cast(op.Ceil(op.Sub(edge, 0.5)), to=ir.DataType.INT64), border), [0])
        for edge in (
            op.Max(op.Sub(tight_starts, cells), starts_xy),
            op.Min(op.Add(tight_ends, cells), ends_xy),
        )
    )
    # The first and the last cell inside the image are extended to its borders.
    lowest = op.Max(op.Round(op.Neg(op.Div(starts_xy, cells))), 0.0)
    reach = op.Div(op.Sub(op.Cast(border, to=ir.DataType.FLOAT), starts_xy), cells)  # of the image, in cells
    inside = op.Round(op.Sub(reach, OVER_HALF))  # as ``last_cell_inside``, plus one
    highest = op.Max(op.Sub(op.Min(inside, sides), 1.0), lowest)

    def step(body: OpBuilder, index: ir.Value) -> list[ir.Value]:
        index = body.Unsqueeze(index, [0])
        side, start = body.Gather(masks.sides, index), body.Gather(masks.starts, index)
        logits = body.Slice(masks.mask_logits, start, body.Add(start, body.Mul(side, side)), [0])
        logits = body.Reshape(logits, body.Concat(side, side, axis=0))
        (of_columns, column_range), (of_rows, row_range) = (
            _weights(body, axis, index, side, (first, end, starts_xy, cells, lowest, highest)) for axis in (0, 1)
        )
        values = body.MatMul(body.MatMul(of_rows, logits), body.Transpose(of_columns, perm=[1, 0]))
        mask = body.Greater(values, threshold)
        # At least one pixel, so that there is a maximum.
        whole = body.Pad(
            body.Cast(mask, to=ir.DataType.UINT8),
            body.Concat(row_range[0], column_range[0], body.Sub(size.height, row_range[1]),
                        body.Sub(size.width, column_range[1]), axis=0),
        )  # fmt: skip
        edges = []
        for axis in (0, 1):
            covered = body.ReduceMax(whole, [axis], keepdims=0)
            first_covered = body.ArgMax(covered, axis=0, keepdims=1)
            last_covered = body.ArgMax(covered, axis=0, keepdims=1, select_last_index=1)
            found = body.Cast(body.ReduceMax(covered, [0], keepdims=1), to=ir.DataType.INT64)
            edges.append((body.Mul(first_covered, found), body.Mul(body.Add(last_covered, [1]), found)))
        (left, right), (top, bottom) = edges
        box = body.Cast(body.Concat(left, top, right, bottom, axis=0), to=ir.DataType.FLOAT)
        return [body.Cast(whole, to=ir.DataType.BOOL), box]

    number = op.Shape(masks.sides)
    gathered = [(ir.DataType.BOOL, ["pasted_height", "pasted_width"]), (ir.DataType.FLOAT, [4])]
    pasted, boxes = loop(op, "paste", step, number, gathered=gathered)
    # A loop of no rounds does not know these shapes.
    pasted = op.Reshape(pasted, op.Concat(number, *size.sides, axis=0), allowzero=1)
    return pasted, op.Reshape(boxes, op.Concat(number, [4], axis=0), allowzero=1)


def _weights(
    body: OpBuilder, axis: int, index: ir.Value, side: ir.Value, of_all: tuple[ir.Value, ...]
) -> tuple[ir.Value, tuple[ir.Value, ir.Value]]:
    """Weights [pixels, cells] of a mask's cells at the centres of pixels along an axis, and the range of the pixels."""
    of_one = (body.Gather(body.Gather(values, index), [axis], axis=1) for values in of_all)
    first, end, window, cell, lowest, highest = (body.Reshape(value, [1]) for value in of_one)
    end = body.Max(first, end)
    pixels = body.Cast(body.Range(body.Squeeze(first), body.Squeeze(end), 1), to=ir.DataType.FLOAT)
    places = body.Sub(body.Div(body.Sub(body.Add(pixels, 0.5), window), cell), 0.5)
    places = body.Min(body.Max(places, lowest), highest)
    cells = body.Cast(body.Range(0, body.Squeeze(side), 1), to=ir.DataType.FLOAT)
    distance = body.Abs(body.Sub(body.Unsqueeze(places, [1]), body.Unsqueeze(cells, [0])))
    return body.Max(body.Sub(1.0, distance), 0.0), (first, end)
