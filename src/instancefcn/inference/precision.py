"""Which arithmetic the network is computed in: what a short test on this processor says, and what was said before."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Literal

import torch

from instancefcn.model.network import Network
from instancefcn.user_cache import keep, kept

Precision = Literal["fp32", "bf16"]
SIDES = (480, 640)  # of the image of the test
ROUNDS = 4  # the first one warms up
WORTH = 0.9  # of fp32's time, at most: for less, nobody need have other numbers
_HARDWARE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # names of capabilities: Intel's and AMD's, then ARM's


def choose_precision(network: Network, device: torch.device) -> Precision:
    """bf16 where the processor has it and it is faster, else fp32.

    The network is timed both ways in turn, once, and the answer is kept in the user's cache folder for this processor,
    torch, number of threads and network: so a command that is repeated computes alike. Where nothing can be kept it is
    fp32, and so it is on GPUs, which were not tried.

    Args:
        network: in evaluation mode, on the device.
    """
    if device.type != "cpu" or not has_bf16():
        return "fp32"
    shapes = [[name, list(tensor.shape)] for name, tensor in network.state_dict().items()]
    facts = [dict(torch.cpu.get_capabilities()), torch.__version__, torch.get_num_threads(), shapes]
    name = f"precision-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if (before := _read(name)) is not None:
        return before
    seconds = time_both(network)
    faster = seconds["bf16"] <= WORTH * seconds["fp32"]
    answer = {"precision": "bf16" if faster else "fp32", "seconds": seconds}
    keep(name, json.dumps(answer).encode())
    return _read(name) or "fp32"


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 by itself."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in _HARDWARE)


@torch.inference_mode()
def time_both(network: Network) -> dict[str, float]:
    """Seconds of a pass in each arithmetic, the least of some, asked in turn."""
    height, width = (-(-side // network.size_multiple) * network.size_multiple for side in SIDES)
    images = torch.full((1, 3, height, width), 127.0).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(ROUNDS):
        for name, own in seconds.items():
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                network(images)
            own.append(time.perf_counter() - started)
    return {name: min(own[1:]) for name, own in seconds.items()}


def _read(name: str) -> Precision | None:
    content = kept(name)
    if content is None:
        return None
    precision = json.loads(content)["precision"]
    return "bf16" if precision == "bf16" else "fp32"
