"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os

from lightning_fabric import Fabric

from instancefcn.devices import choose_device
from instancefcn.training.optimization import OptimizationConfig


def launch(device: str, config: OptimizationConfig) -> Fabric:
    """Join the other processes of torchrun, or set this one up to train alone on a device.

    Raises:
        ValueError: see ``choose_device``.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's
    chosen = choose_device(device)
    fabric = Fabric(
        accelerator=chosen.type,
        devices=processes if processes > 1 or chosen.index is None else [chosen.index],
        strategy="ddp" if processes > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def images_of_process(fabric: Fabric, config: OptimizationConfig) -> int:
    """Images that each process sees in one iteration."""
    return max(1, config.batch_size // fabric.world_size)
