"""The choice of arithmetic: by a test whose answer is kept, and fp32 wherever there is any doubt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instancefcn.inference import precision
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.precision import choose_precision, has_bf16, time_both
from instancefcn.inference.proposer import Proposer
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.network import Network

CPU = torch.device("cpu")


def tiny_network() -> Network:
    """A network that computes in a moment."""
    return build_network(NetworkConfig(channels=16)).eval()


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """A processor that has bf16, a folder to keep answers in, and what the test is to say; "tests" counts them."""
    seconds = {"fp32": 1.0, "bf16": 0.7, "tests": 0.0}

    def stand_in(network: object) -> dict[str, float]:
        seconds["tests"] += 1
        return {name: seconds[name] for name in ("fp32", "bf16")}

    monkeypatch.setenv("INSTANCEFCN_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    monkeypatch.setattr(precision, "time_both", stand_in)
    return seconds


@pytest.mark.parametrize(("seconds", "chosen"), [(0.7, "bf16"), (0.89, "bf16"), (0.91, "fp32"), (1.4, "fp32")])
def test_it_has_to_be_a_tenth_faster(seconds: float, chosen: str, timed: dict[str, float]) -> None:
    timed["bf16"] = seconds
    assert choose_precision(tiny_network(), CPU) == chosen
    timed["bf16"] = 2.1 - seconds  # another answer is not asked for
    assert choose_precision(tiny_network(), CPU) == chosen
    assert timed["tests"] == 1


def test_another_machine_or_network_is_asked_anew(timed: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    choose_precision(tiny_network(), CPU)
    timed["bf16"] = 1.2
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 99)
        assert choose_precision(tiny_network(), CPU) == "fp32"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "99")
        assert choose_precision(tiny_network(), CPU) == "fp32"
    with monkeypatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "another"})
        assert choose_precision(tiny_network(), CPU) == "fp32"
    assert choose_precision(build_network(NetworkConfig(channels=24)).eval(), CPU) == "fp32"
    assert choose_precision(tiny_network(), CPU) == "bf16"
    assert timed["tests"] == 5


def test_without_hardware_or_a_place_to_keep_the_answer_it_is_fp32(
    timed: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("INSTANCEFCN_CACHE", "")
        assert choose_precision(tiny_network(), CPU) == "fp32"
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    timed["tests"] = 0
    assert choose_precision(tiny_network(), CPU) == "fp32"
    assert timed["tests"] == 0


def test_what_processors_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, expected in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert has_bf16() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_bf16()


def test_a_proposer_says_what_it_came_to(timed: dict[str, float]) -> None:
    config = InferenceConfig(shorter_sides=(64.0,))
    assert Proposer(tiny_network(), config, device="cpu", precision="auto").precision == "bf16"
    assert Proposer(tiny_network(), config, device="cpu").precision == "fp32"


def test_both_are_timed() -> None:
    seconds = time_both(tiny_network())
    assert set(seconds) == {"fp32", "bf16"}
    assert min(seconds.values()) > 0
