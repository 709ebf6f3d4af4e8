"""``doctor``: what it says of a machine, and of one on which something is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from instancefcn.apps import doctor
from instancefcn.inference import checkpoint, self_test
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test passes, without a network."""
    monkeypatch.setattr(self_test, "run_self_test", lambda _: self_test.SelfTest(2.0, 1.0, [0.9, 0.95, 0.9, 0.85]))


def as_json(command: Callable[..., Any], *arguments: Any, code: int = 0) -> dict[str, Any]:
    done = command("doctor", *arguments, "--json")
    assert done.exit_code == code, done.output
    table = json.loads(done.stdout)
    assert table["ok"] == (code == 0) == (not table["wrong"])
    return table


def mends(table: dict[str, Any]) -> str:
    return " | ".join(f"{fault['what']}: {fault['mend']}" for fault in table["wrong"])


def test_a_sound_machine(command: Callable[..., Any]) -> None:
    done = command("doctor")
    assert done.exit_code == 0, done.output
    for word in ("python 3.", "torch 2.", "cores ", "devices ", "lite.safetensors", "animals.safetensors"):
        assert word in done.stdout
    assert "cpu: 4 of 4 shapes found" in done.stdout
    assert "all is well" in done.stdout


@pytest.mark.usefixtures("quick")
def test_json_has_all_of_it(command: Callable[..., Any]) -> None:
    table = as_json(command, SHIPPED_CHECKPOINT)
    assert table["versions"]["numpy"] == metadata.version("numpy")
    assert table["cpu"]["cores"] >= table["cpu"]["usable"] >= 1
    assert table["devices"][0] == {"device": "cpu"}
    paths = [about["path"] for about in table["checkpoints"] if about["loads"]]
    assert [Path(path).name for path in paths] == ["lite.safetensors", "animals.safetensors", "lite.safetensors"]
    assert [about["kind"] for about in table["checkpoints"]][:2] == ["proposal network", "classifier"]
    first = table["self_tests"][0]
    assert (first["device"], first["passed"], first["seconds"], first["found"]) == ("cpu", True, 1.0, 4)


@pytest.mark.usefixtures("quick")
def test_a_broken_checkpoint_is_named(command: Callable[..., Any], tmp_path: Path) -> None:
    cut, missing = tmp_path / "cut.safetensors", tmp_path / "missing.safetensors"
    cut.write_bytes(SHIPPED_CHECKPOINT.read_bytes()[:5000])
    table = as_json(command, cut, missing, code=1)
    assert [about["loads"] for about in table["checkpoints"]] == [False, False, True, True]
    assert f"{cut}: not a safetensors file" in mends(table)
    assert f"{missing}: no such file" in mends(table)
    done = command("doctor", cut)
    assert done.exit_code == 1
    assert f"wrong: {cut}" in done.stderr
    assert "\n  mend: " in done.stderr
    assert "all is well" not in done.stdout


def test_a_broken_installation_is_told(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "lite.safetensors"
    broken.write_bytes(b"no weights")
    monkeypatch.setattr(checkpoint, "SHIPPED_CHECKPOINT", broken)
    table = as_json(command, code=1)
    assert f"{broken}: not a safetensors file" in mends(table)
    assert doctor.REINSTALL in mends(table)
    assert table["self_tests"] == []
    broken.unlink()
    assert f"{broken}: not there: {doctor.REINSTALL}" in mends(as_json(command, code=1))


def test_a_self_test_that_fails_is_told(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "run_self_test", lambda _: self_test.SelfTest(2.0, 1.0, [0.9, 0.1, 0.9, 0.85]))
    assert "proposing on cpu finds 3 of 4 shapes" in mends(as_json(command, code=1))

    def fail(_: Any) -> None:
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(self_test, "run_self_test", fail)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    table = as_json(command, code=1)
    assert "proposing on cpu fails: RuntimeError: illegal instruction" in mends(table)
    assert [one["device"] for one in table["self_tests"]] == ["cpu", "mps"]
    assert "propose with --device cpu" in table["wrong"][1]["mend"]


@pytest.mark.usefixtures("quick")
def test_packages_are_compared_with_what_is_needed(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"instancefcn": "0.1.0", "torch": "2.10.0+cpu", "numpy": "1.26.4"}
    needs = ["torch>=2.9", "numpy>=2.0", "rich>=13.9", 'onnx>=1.18; extra == "export"']
    needs += ['ray[data]>=2.55; extra == "ray"', 'ruff>=0.12; extra == "dev"']

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    table = as_json(command, code=1)
    assert table["versions"] | {"python": 0, "platform": 0} == there | {"rich": None, "onnx": None, "ray": None} | {
        "python": 0,
        "platform": 0,
    }
    assert [fault["mend"] for fault in table["wrong"]] == ["pip install 'numpy>=2.0'", "pip install 'rich>=13.9'"]
    assert "without onnx: pip install 'instancefcn[export]'" in command("doctor").stdout
    del there["instancefcn"]
    assert "is not installed as a package" in mends(as_json(command, code=1))
