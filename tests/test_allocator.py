"""What the allocator's setting does, in a process of its own: it cannot be undone."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from instancefcn import keep_freed_memory
from instancefcn.apps import cli

RESIDENT = """
import resource, torch
from instancefcn import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
torch.ones(40_000_000)  # more bytes than glibc keeps by itself
print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
def test_freed_memory_is_kept() -> None:
    def resident(kept: bool) -> int:
        code = RESIDENT.format(kept=kept)
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert resident(kept=True) > resident(kept=False) + 100e6


def test_the_command_line_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: calls.append("keep"))
    monkeypatch.setattr(cli, "app", lambda: calls.append("run"))
    cli.main()
    assert calls == ["keep", "run"]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
