"""Instance assembling in the graph: one gather for each cell that a pixel is read from; as ``model.assembling``."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.model.assembling import OUTSIDE_LOGIT, cell_shares, cells
from instancefcn.onnx_graph.windows import GraphWindows


def assemble(op: OpBuilder, windows: GraphWindows, blend: bool) -> ir.Value:
    """Mask logits of windows, [n, side, side], where the side is in cells of the score maps.

    Args:
        blend: interpolate between the maps of the four nearest cells (``model.assembling.write_masks``).
    """
    maps, (_, m, density) = windows.maps, windows.maps.window
    k, side, between = maps.k, m * density, blend and maps.k > 1
    cell, share = cell_shares(side, k) if between else (cells(side, k).numpy(), np.zeros(side, dtype=np.float32))
    height, width = (op.Shape(maps.instance, start=axis, end=axis + 1) for axis in (2, 3))
    area = op.Mul(height, width)
    (rows, rows_inside), (columns, columns_inside) = (
        _places(op, position, length, m, density)
        for position, length in ((windows.rows, height), (windows.columns, width))
    )
    # A pixel's place in the maps is a part of its row plus a part of its column; both include the channel of the cell.
    by_row = op.Add(op.Mul(rows, width), op.Mul(area, _int64(op, cell * k)))
    by_column = op.Add(columns, op.Mul(area, _int64(op, cell)))
    place = op.Add(
        op.Cast(op.Unsqueeze(by_row, [2]), to=ir.DataType.INT32),
        op.Cast(op.Unsqueeze(by_column, [1]), to=ir.DataType.INT32),
    )
    flat = op.Reshape(maps.instance, [-1])

    def read(channels_further: int) -> ir.Value:
        start = op.Mul(area, [channels_further])
        return op.Gather(op.Slice(flat, start, [2**62], [0]) if channels_further else flat, place)

    logits = read(0)
    if between:
        across, down = (op.Constant(value=ir.tensor(of_axis)) for of_axis in (share[None, :], share[:, None]))
        logits = _mix(op, logits, read(1), across)
        logits = _mix(op, logits, _mix(op, read(k), read(k + 1), across), down)
    inside = op.And(op.Unsqueeze(rows_inside, [2]), op.Unsqueeze(columns_inside, [1]))
    return op.Where(inside, logits, float(OUTSIDE_LOGIT))


def _places(op: OpBuilder, position: ir.Value, length: ir.Value, m: int, density: int) -> tuple[ir.Value, ir.Value]:
    """Rows or columns of the score maps under windows, [n, side], moved to the border where they lie beyond it, and
    whether they lie within."""
    corner = op.Mul(op.Sub(position, [m // 2]), [density])
    places = op.Add(op.Unsqueeze(corner, [1]), _int64(op, np.arange(m * density)))
    last = op.Sub(length, [1])
    inside = op.And(op.GreaterOrEqual(places, [0]), op.LessOrEqual(places, last))
    return op.Max(op.Min(places, last), [0]), inside


def _mix(op: OpBuilder, before: ir.Value, behind: ir.Value, share: ir.Value) -> ir.Value:
    return op.Add(before, op.Mul(share, op.Sub(behind, before)))


def _int64(op: OpBuilder, values: np.ndarray) -> ir.Value:
    return op.Constant(value=ir.tensor(values.astype(np.int64)))
