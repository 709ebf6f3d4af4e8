"""How long a method takes to propose in an image, kept beside its recall."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from instancefcn.config import from_table
from instancefcn.files import read_json, write_whole


@dataclass(frozen=True)
class Speed:
    """Seconds to propose in each image, and what they were measured on."""

    device: str = ""
    seconds: tuple[float, ...] = ()

    def median(self) -> float:
        """Over images, so that a first one, which compiles and warms up, counts as any other."""
        return float(np.median(self.seconds))


class Timed:
    """A function that proposes, and the seconds of its calls since the last ``take``."""

    def __init__(self, propose: Any) -> None:
        self.propose, self.seconds = propose, list[float]()

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], image_id: int) -> list[dict[str, Any]]:
        started = time.perf_counter()
        results = self.propose(image, image_id)
        self.seconds.append(time.perf_counter() - started)
        return results

    def take(self) -> list[float]:
        """The seconds, which are then forgotten."""
        taken, self.seconds = self.seconds, []
        return taken


def save_speed(speed: Speed, path: Path) -> None:
    """Write as JSON."""
    rounded = [float(f"{value:.4g}") for value in speed.seconds]
    write_whole(path, json.dumps(asdict(speed) | {"seconds": rounded}))


def load_speed(path: Path) -> Speed | None:
    """Inverse of ``save_speed``; None where the time was not measured, as in an earlier version."""
    return from_table(Speed, read_json(path), str(path)) if path.exists() else None


def device_name(device: torch.device) -> str:
    """The graphics card, or the processor and the threads that are used of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, threads: {torch.get_num_threads()}"


def processor() -> str:
    """The model of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
