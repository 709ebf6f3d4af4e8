"""The soak of proposing, small: ``make soak`` runs it on 2,000 images."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "soak_propose.py"


@pytest.mark.timeout(600)
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("soak_propose", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    lines = tool.soak(tmp_path, 1, images=12, kills=2, options=("--max-proposals", "5", "--overlays", "--to", "cvat"))
    assert [line.startswith("killed after ") for line in lines] == [True, True, False]
