"""``instancefcn export`` of a small checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.scenes import plain
from instancefcn.geometry.rle import ious
from instancefcn.inference.checkpoint import Checkpoint, save_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.model.config import NetworkConfig
from instancefcn.runtime import OnnxProposer
from onnx_graph.small import RULE, picture, random_network

CONFIG = NetworkConfig(kind="single", channels=16, k=3, window_sizes=(9,), finest_window_sizes=())


def save_small(path: Path, **keys: Any) -> None:
    """A checkpoint of one of timm's trunks for tests."""
    config = replace(CONFIG, backbone="test_efficientnet")
    network = random_network(config)
    inference = plain(shorter_sides=(64.0,), candidates=50, nms_candidates=100, **keys)
    save_checkpoint(Checkpoint(config, inference, network.state_dict(), {}, RULE), path)


def test_the_file_proposes_as_the_checkpoint_does(
    tmp_path: Path, command: Callable[..., Any], one_thread: None
) -> None:
    save_small(tmp_path / "small.safetensors", vote_threshold=0.7)
    out = tmp_path / "deep" / "small.onnx"
    done = command("export", out, "--checkpoint", tmp_path / "small.safetensors", "--max-proposals", 12)
    assert done.exit_code == 0, done.output
    assert "opset 18" in done.stdout
    assert "left out: voting" in done.stdout

    proposer = Proposer.from_checkpoint(tmp_path / "small.safetensors", device="cpu")
    proposer.config = replace(proposer.config, vote_threshold=0.0)
    found, expected = OnnxProposer(out)(picture(64, 80)), proposer(picture(64, 80), max_proposals=12)
    assert len(found) == len(expected) == 12
    assert np.diag(ious(found.rles, expected.rles)).min() > 0.95
    assert OnnxProposer(out).rule == RULE


def test_another_ending_is_refused(tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("export", tmp_path / "small.pt")
    assert done.exit_code == 2
    assert "must end in .onnx" in done.output


def test_without_a_rule_there_are_no_objects(tmp_path: Path, command: Callable[..., Any]) -> None:
    config = replace(CONFIG, backbone="test_efficientnet")
    weights = random_network(config).state_dict()
    save_checkpoint(Checkpoint(config, plain(), weights, {}), tmp_path / "small.safetensors")
    done = command("export", tmp_path / "a.onnx", "--checkpoint", tmp_path / "small.safetensors", "--objects")
    assert done.exit_code == 1
    assert "has no rule" in done.stderr
    assert not (tmp_path / "a.onnx").exists()
