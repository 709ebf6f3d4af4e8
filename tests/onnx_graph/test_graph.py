from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from instancefcn.geometry.rle import ious
from instancefcn.onnx_graph import build
from instancefcn.proposals import Proposals
from instancefcn.runtime import OnnxProposer
from onnx_graph.small import Exported, picture

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(64, 80), (77, 131), (53, 33)]  # as it is; odd, and shortened for its longer side; odd, and enlarged
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


@pytest.mark.parametrize("size", [*SIZES, (40, 121)])
def test_the_papers_preset_proposes_as_torch_does(
    single: Exported, proposer_of: ProposerOf, size: tuple[int, int]
) -> None:
    image = picture(*size)
    assert_alike(proposer_of(single)(image), single.proposer()(image, max_proposals=30))
