"""``python -m reproduce``, as a person runs it from a checkout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import steps
from reproduce import experiments
from reproduce.__main__ import app

ROOT = Path(__file__).parent.parent.parent


def test_help_names_every_experiment() -> None:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "reproduce", "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
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
    words = ["ablation", "--data-root", str(tmp_path), "--out", str(tmp_path / "out"), *options]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_one_line(number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "reproduce", lambda *_: os.kill(os.getpid(), number))
    ours = signal.signal(signal.SIGTERM, lambda *_: None)  # or the tests end
    done = CliRunner().invoke(app, ["table4", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")])
    signal.signal(signal.SIGTERM, ours)
    assert (done.exit_code, done.stderr) == (code, f"stopped by {signal.Signals(number).name}\n")


def test_a_signal_ends_the_measurement_of_steps_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "measure", lambda _: os.kill(os.getpid(), signal.SIGINT))
    done = CliRunner().invoke(steps.app, ["--data-root", "."])
    assert (done.exit_code, done.stderr) == (130, "stopped by SIGINT\n")
