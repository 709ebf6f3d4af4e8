"""``train`` at the command line: what is refused, what is said of the data, and a run that is stopped from outside."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instancefcn.inference.checkpoint import load_checkpoint
from labelled import coco_annotation, square, write_coco, write_image

RECIPE = Path(__file__).parent.parent / "tiny.toml"


def labelled(folder: Path, instances: int = 2, **fields: Any) -> str:
    """A spec of two images, with one instance each."""
    names = ("a.png", "b.png")
    for name in names:
        write_image(folder / "images" / name, 64, 80)
    images = [{"id": i, "file_name": name, "height": 64, "width": 80} for i, name in enumerate(names, 1)]
    shape = {"segmentation": [square(10, 10, 40)], "bbox": [10, 10, 40, 40], "area": 1600}
    return write_coco(
        folder, [coco_annotation(i, image_id=i, **shape, **fields) for i in range(1, instances + 1)], images
    )


def options(iterations: int = 2) -> list[Any]:
    return ["--recipe", RECIPE, "--init", "random", "--iterations", iterations, "--device", "cpu"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_ends_with_a_best(workers: int, tmp_path: Path, command: Callable[..., Any]) -> None:
    spec, out = labelled(tmp_path / "data"), tmp_path / "run"
    done = command("train", "--data", spec, "--out", out, "--workers", workers, *options())
    assert done.exit_code == 0, done.output
    assert f"checkpoint: {out / 'best.safetensors'}" in done.stdout
    load_checkpoint(out / "best.safetensors")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"instances": 0}, "nothing to learn: no instance is labelled in 2 images"),
        ({"iscrowd": 1}, "nothing to learn: all 2 instances are crowds (CVAT writes iscrowd 1 for every mask)"),
    ],
)
def test_nothing_to_learn_ends_at_once(
    data: dict[str, Any], message: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    done = command("train", "--data", labelled(tmp_path / "data", **data), "--out", tmp_path / "run", *options())
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_images_that_are_taken_as_background_are_told_of(tmp_path: Path, command: Callable[..., Any]) -> None:
    spec = labelled(tmp_path / "data", instances=1)
    done = command("train", "--data", spec, "--out", tmp_path / "run", *options())
    assert done.exit_code == 0, done.output
    told = "1 of 2 images have no object and are taken as background"
    assert told in done.stdout
    done = command("validate", "--data", spec)
    assert (done.exit_code, f"note: {told}" in done.stdout) == (0, True)


@pytest.mark.parametrize("data", [{"instances": 0}, {"iscrowd": 1}])
def test_validation_images_without_an_object_are_refused(
    data: dict[str, Any], tmp_path: Path, command: Callable[..., Any]
) -> None:
    spec, val = labelled(tmp_path / "data"), labelled(tmp_path / "val", **data)
    done = command("train", "--data", spec, "--val", val, "--out", tmp_path / "run", *options())
    assert done.exit_code == 1
    assert f"{val}: no labelled object to choose the best checkpoint by" in done.stderr
    assert "checkpoint: " not in done.stdout


def test_problems_of_validation_images_are_told_of(tmp_path: Path, command: Callable[..., Any]) -> None:
    spec, val = labelled(tmp_path / "data"), labelled(tmp_path / "val")
    (tmp_path / "val" / "images" / "b.png").unlink()
    done = command("train", "--data", spec, "--val", val, "--out", tmp_path / "run", *options())
    assert done.exit_code == 0, done.output
    assert f"{spec}: 2 images, 2 instances" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(val)]
    assert line.startswith(f"{val}: 1 images, 1 instances")
    assert line.endswith("; 1 problems skipped (see `instancefcn validate`)")


def test_resuming_with_other_data_names_what_differs(tmp_path: Path, command: Callable[..., Any]) -> None:
    spec, out = labelled(tmp_path / "data"), tmp_path / "run"
    run = ("train", "--data", spec, "--out", out, "--resume", *options(1))
    assert command(*run).exit_code == 0
    (tmp_path / "data" / "images" / "b.png").unlink()
    run = ("train", "--data", spec, "--out", out, "--resume", *options(2))
    done = command(*run)
    assert done.exit_code == 1
    assert f"--data {spec}: 1 image (b.png) gone" in done.stderr
    done = command(*run, "--changed-data")
    assert done.exit_code == 0, done.output
    assert "warning: the run in " in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_processes_saves_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    spec, out = labelled(tmp_path / "data"), tmp_path / "a run"
    words = ["train", "--data", spec, "--out", str(out), "--workers", "1", *map(str, options(10**6))]
    with subprocess.Popen(
        [sys.executable, "-m", "instancefcn", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        while process.poll() is None and "loss" not in _text(out / "metrics.jsonl"):
            time.sleep(0.02)
        os.killpg(process.pid, number)  # as a terminal and a batch system do: those that load images get it, too
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    name = signal.Signals(number).name
    where = rf"stopped by {name}: training is saved after iteration (\d+) in {out}\n"
    found = re.search(rf"{where}go on with: (.*)\n", stderr)
    assert found is not None, stderr
    assert load_checkpoint(out / "best.safetensors").training["iteration"] == int(found[1]) > 0
    assert shlex.split(found[2]) == ["python", "-m", "instancefcn", *words, "--resume"]
    assert not list(out.glob(".*"))  # no lock, no temporary file


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
