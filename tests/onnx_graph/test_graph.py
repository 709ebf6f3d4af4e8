from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnxscript import GraphBuilder

from instancefcn.geometry.rle import ious
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.suppression import suppress
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.onnx_graph import build
from instancefcn.onnx_graph.build import build_graph, left_out
from instancefcn.onnx_graph.resizing import Size
from instancefcn.onnx_graph.suppression import suppress as suppress_in_graph
from instancefcn.onnx_graph.window_masks import GraphMasks
from instancefcn.proposals import Proposals
from instancefcn.runtime import OnnxProposer
from onnx_graph.small import RULE, Exported, picture

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(64, 71), (77, 131), (53, 33)]  # as it is; odd, and shortened for its longer side; odd, and enlarged
ProposerOf = Callable[..., OnnxProposer]


def assert_alike(found: Proposals, expected: Proposals, least: float = 0.9) -> None:
    """The same masks in nearly the same order, with nearly the same boxes and scores.

    Resizing may differ by a level of a pixel, so near ties may change places.
    """
    assert (found.height, found.width) == (expected.height, expected.width)
    assert abs(len(found) - len(expected)) <= 1
    overlaps = ious(expected.rles, found.rles)
    twins = overlaps.argmax(1)
    same = overlaps.max(1) > 0.95
    assert same.mean() >= least, overlaps.max(1).round(2)
    assert np.abs(found.boxes_xyxy[twins] - expected.boxes_xyxy)[same].max() <= 1
    assert np.abs(found.scores[twins] - expected.scores)[same].max() < 0.01
    assert (np.diff(found.scores) <= 1e-6).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_exported_network_is_torchs(pyramid: Exported, size: tuple[int, int]) -> None:
    height, width = (-(-side // 16) * 16 for side in size)
    images = torch.from_numpy(picture(height, width)).permute(2, 0, 1)[None].float()
    session = onnxruntime.InferenceSession(onnx_bytes(pyramid))
    found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        expected = [
            value for maps in pyramid.network(images) for value in (maps.instance, maps.objectness, maps.quality)
        ]
    for values, by_torch in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, by_torch.numpy(), atol=1e-3, rtol=1e-4)


def onnx_bytes(exported: Exported) -> bytes:
    return ir.to_proto(ir.Model(exported.graph, ir_version=build.IR_VERSION)).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_the_graph_proposes_as_torch_does(pyramid: Exported, proposer_of: ProposerOf, size: tuple[int, int]) -> None:
    image = picture(*size)
    least = 1.0 if size == SIZES[0] else 0.9
    assert_alike(proposer_of(pyramid)(image), pyramid.proposer()(image, max_proposals=30), least)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (8, 25), (24, 8)])
def test_a_side_that_is_the_networks_multiple_has_one_position_of_the_coarsest_level(
    pyramid: Exported, proposer_of: ProposerOf, size: tuple[int, int], windows: bool
) -> None:
    assert pyramid.network.size_multiple == 8
    small = replace(pyramid, config=replace(pyramid.config, shorter_sides=(8.0,), overview=0.0))
    image = picture(*size)  # nothing is resized, and nothing is padded along that side
    assert_alike(proposer_of(small, windows=windows)(image), small.proposer()(image, max_proposals=30), least=1.0)


@pytest.mark.parametrize("size", [*SIZES, (40, 121)])
def test_the_papers_preset_proposes_as_torch_does(
    single: Exported, proposer_of: ProposerOf, size: tuple[int, int]
) -> None:
    image = picture(*size)
    assert_alike(proposer_of(single)(image), single.proposer()(image, max_proposals=30))


def test_a_size_that_comes_again_is_looked_at_once(single: Exported, proposer_of: ProposerOf) -> None:
    long = replace(single, config=replace(single.config, nms_candidates=45))
    image = picture(40, 121)  # its longer side makes one size of all three
    assert_alike(proposer_of(long)(image), long.proposer()(image, max_proposals=30))


@pytest.mark.parametrize("size", SIZES)
def test_objects_are_chosen_by_the_rule_of_proposals(
    pyramid: Exported, proposer_of: ProposerOf, size: tuple[int, int]
) -> None:
    image = picture(*size)
    expected = proposer_of(pyramid, max_proposals=150)(image).objects()
    found = proposer_of(pyramid, max_proposals=150, objects=True)(image)
    assert len(expected) > 5
    assert found.rles == expected.rles
    assert found.distinct
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize(("many", "within", "vouched"), [(5, 9.0, True), (500, 9.0, False), (5, 1.01, False)])
def test_objects_that_vouch_for_each_other_are_those_of_proposals(
    pyramid: Exported, proposer_of: ProposerOf, monkeypatch: pytest.MonkeyPatch, many: int, within: float, vouched: bool
) -> None:
    for module in ("instancefcn.objects", "instancefcn.onnx_graph.objects"):
        monkeypatch.setattr(f"{module}.MANY_ALIKE", many)
        monkeypatch.setattr(f"{module}.LIKE_SIZE", within)
    image = picture(*SIZES[0])
    candidates = proposer_of(pyramid, max_proposals=150)(image)
    rule = replace(RULE, threshold=float(np.median(candidates.scores)), alike=0.05)
    expected = replace(candidates, rule=rule).objects()
    assert (len(expected) > len(replace(candidates, rule=replace(rule, alike=1.0)).objects())) == vouched
    found = proposer_of(pyramid, max_proposals=150, rule=rule, objects=True)(image)
    assert found.rles == expected.rles
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_masks_are_compared_on_a_coarser_raster_where_the_image_is_large(
    pyramid: Exported, proposer_of: ProposerOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(77, 131)
    exact = proposer_of(pyramid, max_proposals=150, objects=True)(image)
    monkeypatch.setattr("instancefcn.onnx_graph.objects.RASTER", 77 * 131 / 4)
    coarse = proposer_of(pyramid, max_proposals=150, objects=True)(image)
    assert_alike(coarse, exact, least=0.7)


def test_operators_are_the_standard_ones(pyramid: Exported, proposer_of: ProposerOf, tmp_path: Path) -> None:
    for keywords in ({}, {"windows": True}, {"objects": True}):
        proposer_of(pyramid, **keywords)
        model = onnx.load(tmp_path / "graph.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", build.OPSET)]
        assert not model.functions
        assert {node.domain for node in nodes(model.graph)} == {""}
        # An activation in place, on a part of a map, would become a scatter, which copies the map.
        assert "ScatterND" not in {node.op_type for node in nodes(model.graph)}


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def test_at_most_as_many_as_asked_for(pyramid: Exported, proposer_of: ProposerOf) -> None:
    image = picture(64, 80)
    few, many = proposer_of(pyramid, 5)(image), proposer_of(pyramid, 30)(image)
    assert len(few) == 5
    assert few == many[:5]


def test_an_image_without_foreground_has_no_proposals(single: Exported, proposer_of: ProposerOf) -> None:
    never = replace(single, config=replace(single.config, mask_threshold=1 - 1e-12))
    for keywords in ({}, {"windows": True}, {"objects": True}):
        found = proposer_of(never, **keywords)(picture(48, 60))
        assert (len(found), found.boxes_xyxy.shape) == (0, (0, 4))


def test_what_is_left_out_is_named() -> None:
    assert left_out(InferenceConfig(vote_threshold=0.7, tiles=True)) == ["voting", "tiles"]
    assert left_out(InferenceConfig(vote_threshold=0.0)) == []


def test_objects_need_a_rule_and_proposals_a_number(single: Exported) -> None:
    with pytest.raises(ValueError, match="has no rule"):
        build_graph(single.network, single.config, objects=True)
    with pytest.raises(ValueError, match="max_proposals must be 1 or more"):
        build_graph(single.network, single.config, 0)


def test_windows_without_foreground_take_nobodys_place(single: Exported, proposer_of: ProposerOf) -> None:
    sure = replace(single, config=replace(single.config, mask_threshold=0.8))
    image = picture(48, 60)
    found = proposer_of(sure)(image)
    assert len(found) > 0
    assert_alike(found, sure.proposer()(image, max_proposals=30))


def test_windows_become_the_same_masks(pyramid: Exported, proposer_of: ProposerOf) -> None:
    image = picture(77, 131)
    whole, windows = proposer_of(pyramid)(image), proposer_of(pyramid, windows=True)(image)
    assert len(whole) == len(windows) > 10
    assert (whole.masks() != windows.masks()).sum() <= 1  # a pixel on the very threshold
    np.testing.assert_allclose(windows.scores, whole.scores)


@pytest.mark.parametrize("windows", [False, True])
def test_masks_between_the_centres_of_pixels_are_left_out(
    pyramid: Exported, proposer_of: ProposerOf, windows: bool
) -> None:
    found = proposer_of(pyramid, max_proposals=150, windows=windows)(picture(5, 6))  # a pixel has 13 of the network's
    assert 0 < len(found.rles) == len(found.scores)
    assert (found.areas > 0).all()


@pytest.mark.parametrize("soft", [0.0, 0.3])
def test_suppression_equals_the_one_in_torchs_path(soft: float) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-30, 100, (60, 2))
    windows = np.concatenate([corners, corners + rng.uniform(10, 60, (60, 1))], axis=1).astype(np.float32).astype(float)
    masks = WindowMasks.of(rng.random(60), np.full(60, 9, dtype=np.float32), np.ones(60, dtype=int), windows, 0.0)
    config = InferenceConfig(nms_threshold=0.5, soft_nms_threshold=soft)
    inside = masks.tight_boxes.clip(0, [90, 70, 90, 70])[:, 2:] > masks.tight_boxes.clip(0, [90, 70, 90, 70])[:, :2]
    there = masks[inside.all(1)]  # beyond the border there is nothing to paste
    assert len(there) < 60
    kept, scores = suppress(there, 70, 90, config, 20)

    graph = ir.Graph([], [], nodes=[], opset_imports={"": build.OPSET}, name="suppress")
    builder = GraphBuilder(graph)
    boxes = builder.input("boxes", ir.DataType.FLOAT, ["n", 4])
    ranks = builder.input("scores", ir.DataType.FLOAT, ["n"])
    starts = builder.op.Range(0, builder.op.Squeeze(builder.op.Shape(ranks)), 1)
    pixels = builder.input("image", ir.DataType.UINT8, ["h", "w", 3])
    size = Size.of(builder.op, pixels)
    chosen, softened = suppress_in_graph(
        builder.op, GraphMasks(ranks, ranks, starts, starts, boxes, boxes), size, config, 20
    )
    builder.add_output(chosen.starts, "chosen")
    builder.add_output(softened, "softened")
    model = ir.to_proto(ir.Model(graph, ir_version=build.IR_VERSION)).SerializeToString()
    fed = {
        "boxes": masks.tight_boxes.astype(np.float32),
        "scores": masks.scores.astype(np.float32),
        "image": np.zeros((70, 90, 3), dtype=np.uint8),
    }
    indices, found = (np.asarray(values) for values in onnxruntime.InferenceSession(model).run(None, fed))
    assert indices.tolist() == np.flatnonzero(inside.all(1))[kept[:20]].tolist()
    np.testing.assert_allclose(found, scores[:20], atol=1e-5)
