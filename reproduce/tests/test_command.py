"""``python -m reproduce``, as a person runs it from a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "reproduce", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_experiment() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    for name in ("table2", "table4", "sizes", "all", "ablation"):
        assert f"python -m reproduce {name} --" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--scale", "paper"], 1, "error: ablation is of the lite preset"),
        (["--minutes", "1", "--iterations", "1"], 2, "give --minutes or --iterations, not both"),
        (["--seed", "3"], 2, "--seed, --images and --rate go with --row"),
        (["--finished"], 2, "ablation is made as a whole: leave --finished out"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(options: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = run("ablation", "--data-root", tmp_path, "--out", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
