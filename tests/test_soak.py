"""``make soak``, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import soak_train


def test_a_training_that_is_killed_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(soak_train, "AFTER", 0.3)
    monkeypatch.setattr(soak_train, "AT_START", 0.0)
    lines = soak_train.soak(tmp_path, seed=0, kills=2, iterations=12)
    assert "killed 2 times" in lines[0]
    assert lines[-1].endswith("bit for bit")
