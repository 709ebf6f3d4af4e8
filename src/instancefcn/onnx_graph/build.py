"""The whole graph: from the pixels of an image to its proposals."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import GraphBuilder, OpBuilder

from instancefcn.inference.config import InferenceConfig
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule
from instancefcn.onnx_graph.network import insert, network_graph
from instancefcn.onnx_graph.objects import choose_objects
from instancefcn.onnx_graph.pasting import paste
from instancefcn.onnx_graph.resizing import Size, network_input, resized_size
from instancefcn.onnx_graph.suppression import suppress
from instancefcn.onnx_graph.window_masks import GraphMasks, ranked_masks
from instancefcn.onnx_graph.windows import GraphMaps, GraphWindows, best_windows, keep_best
from instancefcn.runtime import FORMAT, METADATA

OPSET = 18  # the first whose Resize has antialiasing
IR_VERSION = 9


def build_graph(
    network: Network,
    config: InferenceConfig,
    max_proposals: int = 100,
    *,
    rule: ObjectRule | None = None,
    objects: bool = False,
    windows: bool = False,
) -> onnx.ModelProto:
    """One graph that proposes on an image of any size, of ONNX's standard operators alone.

    Its input is ``image``, uint8 [height, width, 3], RGB. Its outputs, best first, are ``masks``, bool [n, height,
    width], ``boxes``, float [n, 4], tight around them, xyxy, half-open pixels, and ``scores``, float [n].

    It proposes as ``Proposer`` does with ``without_left_out(config)``.

    Args:
        network: in evaluation mode.
        max_proposals: n at most.
        rule: how candidates become objects; the graph carries it.
        objects: choose objects; their scores are chances. Masks are not cleaned.
        windows: masks in the frames of their windows: instead of ``masks``, ``window_masks``, float [n, s, s], logits;
            those of mask i are its first ``sides[i]`` rows and columns, and span ``window_boxes[i]``, xyxy. ``boxes``
            are then tight around cells. Nothing is as large as the image.

    Raises:
        ValueError: ``max_proposals`` is below 1, or there is no rule to choose objects by.
    """
    if max_proposals < 1:
        raise ValueError(f"max_proposals must be 1 or more, not {max_proposals}")
    if objects and rule is None:
        raise ValueError(
            "this checkpoint has no rule that makes objects of candidates: export candidates, or train anew"
        )
    config = without_left_out(config)
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="instancefcn")
    builder = GraphBuilder(graph)
    op = builder.op
    pixels = builder.input("image", ir.DataType.UINT8, ["height", "width", 3])
    size = Size.of(op, pixels)

    groups = [best_windows(op, maps, config) for maps in _score_maps(builder, pixels, size, network, config)]
    masks = ranked_masks(op, keep_best(op, groups, config.nms_candidates), config)
    masks, scores = suppress(op, masks, size, config, max_proposals)
    if objects:
        assert rule is not None
        masks, scores = choose_objects(op, masks, scores, size, rule, config.threshold_logit)
    if windows:
        outputs = _window_outputs(op, masks, size, groups) | {"scores": scores}
    else:
        pasted, boxes = paste(op, masks, size, config.threshold_logit)
        covering = op.Squeeze(op.Less(op.Slice(boxes, [0], [1], [1]), op.Slice(boxes, [2], [3], [1])), [1])
        outputs = {"masks": pasted, "boxes": boxes, "scores": scores}
        outputs = {name: op.Compress(values, covering, axis=0) for name, values in outputs.items()}
    for name, values in outputs.items():
        builder.add_output(op.Identity(values), name)

    whole = ir.Model(graph, ir_version=IR_VERSION, producer_name="instancefcn")
    RemoveUnusedNodesPass()(whole)  # of the overview, what small windows alone need
    model = ir.to_proto(whole)
    about = {
        "format": FORMAT,
        "objects": objects,
        "threshold_logit": config.threshold_logit,
        "max_proposals": max_proposals,
        "rule": None if rule is None else asdict(rule),
    }
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    onnx.checker.check_model(model, full_check=True)
    return model


def without_left_out(config: InferenceConfig) -> InferenceConfig:
    """How to propose without what the graph leaves out: voting and tiles."""
    return replace(config, vote_threshold=0.0, tiles=False)


def left_out(config: InferenceConfig) -> list[str]:
    """What ``config`` asks for, and the graph does not do."""
    return [name for name, asked in (("voting", config.vote_threshold > 0), ("tiles", config.tiles)) if asked]


def _score_maps(
    builder: GraphBuilder, pixels: ir.Value, size: Size, network: Network, config: InferenceConfig
) -> list[GraphMaps]:
    """The network's output for each size that the image is resized to; of the overview, large windows alone."""
    op, body = builder.op, network_graph(network, OPSET)
    each = len(body.outputs) // len(network.window_sizes)
    found: list[GraphMaps] = []
    sizes: list[Size] = []
    sides, factors = config.image_scales or config.shorter_sides, bool(config.image_scales)
    passes = [(side, factors, network.window_sizes) for side in sides]
    if large := [window for window in network.window_sizes if window.side >= config.overview_window]:
        passes.append((config.overview, False, large))
    for side, factor, wanted in passes:
        resized = resized_size(op, size, side, config.longest_side, factor=factor)
        images = network_input(op, pixels, resized, network.size_multiple)
        outputs = insert(builder, body, f"pass_{len(sizes)}", images)
        scales = [
            op.Div(*(op.Cast(length, to=ir.DataType.FLOAT) for length in pair))
            for pair in ((resized.width, size.width), (resized.height, size.height))
        ]
        scale_xyxy, fresh = op.Concat(*scales, *scales, axis=0), _is_fresh(op, resized, sizes)
        for index, window in enumerate(network.window_sizes):
            if window not in wanted:
                continue
            instance, objectness, *quality = outputs[index * each : (index + 1) * each]
            channels = body.outputs[index * each].shape
            assert channels is not None
            k = math.isqrt(int(channels[1]))  # pyright: ignore[reportArgumentType]
            found.append(
                GraphMaps(instance, objectness, next(iter(quality), None), window, k, resized, scale_xyxy, fresh)
            )
        sizes.append(resized)
    return found


def _is_fresh(op: OpBuilder, size: Size, earlier: list[Size]) -> ir.Value | None:
    """Whether no earlier size is the same; None where there is none."""
    fresh = None
    for other in earlier:
        differs = op.Not(op.And(op.Equal(size.height, other.height), op.Equal(size.width, other.width)))
        fresh = differs if fresh is None else op.And(fresh, differs)
    return fresh


def _window_outputs(op: OpBuilder, masks: GraphMasks, size: Size, groups: list[GraphWindows]) -> dict[str, ir.Value]:
    """Masks in the frames of their windows, and tight boxes within the image."""
    largest = max(group.maps.window.m * group.maps.window.density for group in groups)
    offsets = op.Constant(value=ir.tensor(np.arange(largest)))
    inside = op.Min(offsets, op.Sub(op.Unsqueeze(masks.sides, [1]), [1]))  # [n, s]
    rows = op.Mul(inside, op.Unsqueeze(masks.sides, [1]))
    places = op.Add(op.Unsqueeze(rows, [2]), op.Unsqueeze(inside, [1]))
    border = op.Cast(op.Concat(size.width, size.height, size.width, size.height, axis=0), to=ir.DataType.FLOAT)
    return {
        "window_masks": op.Gather(masks.mask_logits, op.Add(places, op.Unsqueeze(masks.starts, [1, 2]))),
        "sides": masks.sides,
        "window_boxes": masks.window_boxes,
        "boxes": op.Min(op.Max(masks.tight_boxes, 0.0), border),
    }
