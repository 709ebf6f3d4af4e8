"""The windows with the highest scores, in the graph; as ``inference.proposer.best_windows`` and ``keep_best``."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.inference.config import InferenceConfig
from instancefcn.onnx_graph.resizing import Size
from instancefcn.structures import WindowSize


@dataclass(frozen=True)
class GraphMaps:
    """``structures.ScoreMaps`` of one pass over an image, as values of a graph."""

    instance: ir.Value  # [1, k2, dh, dw]
    objectness: ir.Value  # [1, h, w]
    quality: ir.Value | None
    window: WindowSize
    k: int
    size: Size  # that the image was resized to, without padding
    scale_xyxy: ir.Value  # network pixels per image pixel [4], float
    fresh: ir.Value | None  # whether no pass before this one had the same size, bool [1]; None for the first pass


@dataclass(frozen=True)
class GraphWindows:
    """Windows of one ``GraphMaps``, best first."""

    maps: GraphMaps
    rows: ir.Value  # [n], int64
    columns: ir.Value  # [n], int64
    scores: ir.Value  # [n], float; -1 for those that do not count


def best_windows(op: OpBuilder, maps: GraphMaps, config: InferenceConfig) -> GraphWindows:
    """The windows of one ScoreMaps with the highest scores among those centred in the image."""
    scores = op.Sigmoid(maps.objectness)
    if maps.quality is not None and config.quality_power:
        scores = op.Mul(scores, op.Pow(op.Sigmoid(maps.quality), float(config.quality_power)))
    stride = maps.window.stride
    rows, columns = (op.Div(op.Add(side, [stride - 1]), [stride]) for side in maps.size.sides)
    inside = op.Slice(scores, [0, 0], op.Concat(rows, columns, axis=0), [1, 2])  # beyond it is padding
    flat = op.Reshape(inside, [-1])
    values, indices = op.TopK(flat, op.Min(op.Shape(flat), [config.candidates]), _outputs=2)
    if maps.fresh is not None:
        values = op.Where(maps.fresh, values, [-1.0])
    return GraphWindows(maps, op.Div(indices, columns), op.Mod(indices, columns), values)


def keep_best(op: OpBuilder, groups: list[GraphWindows], count: int) -> list[GraphWindows]:
    """The ``count`` windows with the highest scores of all groups; more where the last ones have one score."""
    scores = op.Concat(*(group.scores for group in groups), axis=0)
    best, _ = op.TopK(scores, op.Min(op.Shape(scores), [count]), _outputs=2)
    lowest = op.Slice(best, [-1], [2**31], [0])
    kept = []
    for group in groups:  # sorted, so those to keep are the first
        number = op.ReduceSum(op.Cast(op.GreaterOrEqual(group.scores, lowest), to=ir.DataType.INT64), keepdims=1)
        parts = (op.Slice(values, [0], number, [0]) for values in (group.rows, group.columns, group.scores))
        kept.append(GraphWindows(group.maps, *parts))
    return kept
