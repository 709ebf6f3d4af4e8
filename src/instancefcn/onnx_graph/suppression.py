"""Suppression by tight boxes in the graph, hard and soft; as ``inference.suppression``."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.inference.config import InferenceConfig
from instancefcn.onnx_graph.loops import loop
from instancefcn.onnx_graph.resizing import Size
from instancefcn.onnx_graph.window_masks import GraphMasks


def suppress(
    op: OpBuilder, masks: GraphMasks, size: Size, config: InferenceConfig, wanted: int
) -> tuple[GraphMasks, ir.Value]:
    """The ``wanted`` best masks that survive, best first, and their scores.

    Args:
        size: of the image.
    """
    border = op.Cast(op.Concat(size.width, size.height, size.width, size.height, axis=0), to=ir.DataType.FLOAT)
    boxes = op.Min(op.Max(masks.tight_boxes, 0.0), border)
    left, top, right, bottom = op.Split(boxes, num_outputs=4, axis=1, _outputs=4)
    in_image = op.Squeeze(op.And(op.Less(left, right), op.Less(top, bottom)), [1])
    scores = op.Where(in_image, masks.scores, -1.0)
    most = config.nms_candidates if config.soft_nms_threshold else wanted
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, [0]), op.Unsqueeze(scores, [0, 1]), [most], [config.nms_threshold], [0.0]
    )
    kept = op.Gather(selected, 2, axis=1)
    if not config.soft_nms_threshold:
        return masks.chosen(op, kept), op.Gather(scores, kept)
    order, softened = _soft_nms(op, op.Gather(boxes, kept), op.Gather(scores, kept), config.soft_nms_threshold, wanted)
    return masks.chosen(op, op.Gather(kept, order)), softened


def _soft_nms(
    op: OpBuilder, boxes: ir.Value, scores: ir.Value, threshold: float, wanted: int
) -> tuple[ir.Value, ir.Value]:
    """Indices of the first ``wanted`` boxes by soft-NMS, best first, and their scores (``inference.suppression``)."""
    number = op.Shape(scores)
    columns = op.Transpose(boxes, perm=[1, 0])
    left, top, right, bottom = (op.Gather(columns, axis) for axis in range(4))
    areas = op.Mul(op.Sub(right, left), op.Sub(bottom, top))
    indices = op.Range(0, op.Squeeze(number), 1)

    def step(body: OpBuilder, _: ir.Value, waiting: ir.Value) -> list[ir.Value]:
        best = body.ArgMax(waiting, axis=0, keepdims=1)
        score = body.Gather(waiting, best)
        width, height = (
            body.Max(body.Sub(body.Min(end, body.Gather(end, best)), body.Max(start, body.Gather(start, best))), 0.0)
            for start, end in ((left, right), (top, bottom))
        )
        shared = body.Mul(width, height)
        ious = body.Div(shared, body.Sub(body.Add(areas, body.Gather(areas, best)), shared))
        factors = body.Div(body.Sub(1.0, ious), 1.0 - threshold)
        lowered = body.Where(body.Greater(ious, threshold), body.Mul(waiting, factors), waiting)
        # What is taken has a score below 0 from here on, and so has what does not count: times a factor it stays so.
        return [body.Where(body.Equal(indices, best), -1.0, lowered), best, score]

    gathered = [(ir.DataType.INT64, [1]), (ir.DataType.FLOAT, [1])]
    _, order, softened = loop(op, "soft_nms", step, op.Min(number, [wanted]), scores, gathered=gathered)
    return op.Reshape(order, [-1]), op.Reshape(softened, [-1])
