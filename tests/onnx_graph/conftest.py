"""Graphs of small networks, exported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from inference.scenes import plain
from instancefcn.inference.config import InferenceConfig
from instancefcn.model.config import NetworkConfig
from instancefcn.objects import ObjectRule
from instancefcn.onnx_graph import build
from instancefcn.onnx_graph.network import network_graph
from instancefcn.runtime import OnnxProposer
from onnx_graph.small import RULE, Exported, random_network

PYRAMID = InferenceConfig(shorter_sides=(64.0,), overview=40.0, longest_side=120.0, candidates=60, nms_candidates=150)


@pytest.fixture(scope="session")
def pyramid() -> Exported:
    """The ``lite`` preset's kind of network: three levels, three window sizes, two densities."""
    config = NetworkConfig(channels=16, k=3, window_sizes=(7,), finest_window_sizes=(4,), blocks=1)
    network = random_network(config, (2, 4, 8))
    return Exported(network, network_graph(network, build.OPSET), PYRAMID)


@pytest.fixture(scope="session")
def single() -> Exported:
    """The ``paper`` preset's kind of network, at several sizes, two of which are one for long images."""
    config = NetworkConfig(kind="single", channels=16, k=3, window_sizes=(9,), finest_window_sizes=())
    network = random_network(config, (8,))
    sides = plain(shorter_sides=(48.0, 72.0, 90.0), longest_side=120.0, candidates=60, nms_candidates=150)
    return Exported(network, network_graph(network, build.OPSET), sides)


@pytest.fixture
def proposer_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., OnnxProposer]:
    """Build the graph of an exported network, write it, and open it; the keywords are ``build_graph``'s."""

    def build_and_open(
        exported: Exported, max_proposals: int = 30, rule: ObjectRule = RULE, **keywords: object
    ) -> OnnxProposer:
        monkeypatch.setattr(build, "network_graph", lambda network, opset: exported.graph)
        model = build.build_graph(exported.network, exported.config, max_proposals, rule=rule, **keywords)  # pyright: ignore[reportArgumentType]
        onnx.save(model, tmp_path / "graph.onnx")
        return OnnxProposer(tmp_path / "graph.onnx", threads=1)

    return build_and_open
