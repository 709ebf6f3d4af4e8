"""The soak of proposing, small: ``make soak`` runs it on 2,000 images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.soak_propose import soak


@pytest.mark.timeout(600)
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    lines = soak(tmp_path, 1, images=12, kills=2, options=("--max-proposals", "5", "--overlays", "--to", "cvat"))
    assert [line.startswith("killed after ") for line in lines] == [True, True, False]
