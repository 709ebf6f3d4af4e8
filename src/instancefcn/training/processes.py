"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from instancefcn.devices import choose_device
from instancefcn.training.optimization import OptimizationConfig

T = TypeVar("T")
RESTARTS = "TORCHELASTIC_RESTART_COUNT"  # torchrun's
KILLED_LOADER = r"DataLoader worker \(pid.*\) (is killed|exited unexpectedly)"  # torch's


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
    if was_restarted() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _meet_again("nccl" if chosen.type == "cuda" else "gloo")
    fabric.launch()
    return fabric


def is_first() -> bool:
    """Whether this process is the one that writes and prints; known before ``launch``."""
    return os.environ.get("RANK", "0") == "0"


def was_restarted() -> bool:
    """Whether torchrun started the processes again, after one had ended (``--max-restarts``)."""
    return int(os.environ.get(RESTARTS, "0")) > 0


def _meet_again(backend: str) -> None:
    """Let processes that torchrun started again find each other.

    Its store of addresses is still that of the processes before, which would be looked for in vain.
    """
    rank, processes, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    store = torch.distributed.TCPStore(os.environ["MASTER_ADDR"], port, processes, is_master=False)  # pyright: ignore[reportPrivateImportUsage]
    again = torch.distributed.PrefixStore(f"restart-{os.environ[RESTARTS]}", store)  # pyright: ignore[reportPrivateImportUsage]
    torch.distributed.init_process_group(backend, store=again, rank=rank, world_size=processes)


def images_of_pass(fabric: Fabric, config: OptimizationConfig) -> int:
    """Images that each process passes through the network at once.

    Raises:
        ValueError: the images of a step can't be divided so.
    """
    passes = fabric.world_size * config.accumulate
    if config.batch_size % passes:
        raise ValueError(
            f"optimization.batch_size is {config.batch_size}, which {fabric.world_size} processes with "
            f"{config.accumulate} passes each (optimization.accumulate) do not divide: make it a multiple of {passes}"
        )
    return config.batch_size // passes


def add_up(fabric: Fabric, numbers: Sequence[float]) -> list[float]:
    """Sums of numbers over all processes."""
    if fabric.world_size == 1:
        return list(numbers)
    sums = fabric.all_reduce(fabric.to_device(torch.tensor(numbers, dtype=torch.float64)), reduce_op="sum")
    assert isinstance(sums, torch.Tensor)
    return sums.tolist()


def gather(fabric: Fabric, items: list[T]) -> list[T]:
    """The items of all processes, in each of them."""
    if fabric.world_size == 1:
        return items
    parts: list[list[T] | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part or ()]


@contextmanager
def naming_a_lost_process(fabric: Fabric, kept: Callable[[], str]) -> Iterator[None]:
    """Say in plain words that another process has ended, of which the libraries below say "connection closed".

    Args:
        kept: says where training can go on from.

    Raises:
        ValueError: another process has ended, or one that loads images was killed.
    """
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        if isinstance(error, ConnectionError) or re.match(KILLED_LOADER, str(error)):
            raise ValueError(
                f"a process that loads images was killed, for want of memory perhaps: try fewer --workers; {kept()}"
            ) from error
        lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if fabric.world_size == 1 or not lost:
            raise
        raise ValueError(f"another process of this training has ended, so this one ends, too; {kept()}") from error
