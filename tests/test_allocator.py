"""What the allocator's setting does, in a process of its own: it cannot be undone."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from instancefcn import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
torch.ones(40_000_000)  # more bytes than glibc keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(30_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
def test_freed_memory_is_used_again() -> None:
    def faults(kept: bool) -> int:
        code = FAULTS.format(kept=kept)
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert faults(kept=True) * 10 < faults(kept=False)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from instancefcn import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
