from __future__ import annotations

import pytest
import torch

from instancefcn.devices import choose_device, told_as_memory_error


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == expected


def test_a_device_that_is_not_there_is_refused_in_words() -> None:
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device 'cuda:7' can't be used: .*write auto or cpu"):
        choose_device("cuda:7")
    with pytest.raises(ValueError, match=r"no device 'gpu': give auto, cpu, cuda, cuda:1 or mps$"):
        choose_device("gpu")


def test_too_little_memory_is_told_alike_by_every_device() -> None:
    def fail(message: str) -> None:
        raise RuntimeError(message)

    for ask in (
        lambda: torch.empty(1 << 60, dtype=torch.uint8),  # as a processor says it
        lambda: fail("could not create a primitive descriptor"),  # as oneDNN does
        lambda: fail("could not create a memory object"),
    ):
        with pytest.raises(MemoryError, match="not enough memory for this image"), told_as_memory_error():
            ask()
    with pytest.raises(RuntimeError, match="a bug"), told_as_memory_error():
        fail("a bug")
