"""Inputs that go wrong, one folder each in ``../shared/cases``, with the right behaviour by the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from instancefcn.data.images import read_image
from instancefcn.data.open import open_source
from instancefcn.geometry.rle import areas
from memory import megabytes_for

CASES = ROOT.parent / "shared" / "cases"
TRAIN = "coco:train.json,images"
BALL, BOX = 2242, 2880  # pixels of the two objects in each image of the COCO cases
BOTH = [[BALL, BOX], [BALL, BOX]]

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the case's folder, which is the current one."""
    folder = tmp_path / request.param
    shutil.copytree(CASES / request.param, folder)
    monkeypatch.chdir(folder)
    return folder


def of_case(name: str) -> pytest.MarkDecorator:
    """Run a test in a case's folder."""
    return pytest.mark.parametrize("case", [name], indirect=True)


def areas_of(spec: str) -> list[list[int]]:
    """The areas of the instances of each image."""
    source = open_source(spec)
    return [[round(area) for area in areas(source.labels(index).instances.rles)] for index in range(len(source))]


def said(text: str) -> str:
    """What a command printed, on one line."""
    return " ".join(text.split())


# What is sound is read, whatever is written beside it.


@pytest.mark.parametrize(
    ("case", "spec", "expected"),
    [
        ("coco-annotation-without-id", TRAIN, BOTH),
        ("coco-bbox-zero-good-polygon", TRAIN, BOTH),
        ("coco-flat-polygon", TRAIN, BOTH),
        ("coco-iscrowd-text", TRAIN, BOTH),
        ("coco-no-width-height", TRAIN, BOTH),
        ("coco-windows-backslash", TRAIN, BOTH),
        ("labelme-image-data-newlines", "labelme:in", [[BALL, BOX]]),
        ("labels-subfolders", "labels:in", [[2341, 2989]]),
        ("voc-crlf-and-bom", "voc:VOC,train", [[2341, 2989]]),
    ],
    indirect=["case"],
)
def test_reads(case: Path, spec: str, expected: list[list[int]], command: Callable[..., Any]) -> None:
    assert areas_of(spec) == expected
    checked = command("validate", "--data", spec)
    assert f"{sum(map(len, expected))} instances" in said(checked.output)


@pytest.mark.parametrize(
    ("case", "spec", "words"),
    [
        ("coco-duplicate-category-ids", TRAIN, ["ball", "box", "id 1"]),
        ("coco-duplicate-file-name", TRAIN, ["im1.png", "images 1 and 2"]),
        ("coco-iscrowd-true-everywhere-cvat", TRAIN, ["all 4 instances", "crowd", "CVAT"]),
        ("labelme-mask-null", "labelme:in", ["mask is missing"]),
        ("labelme-mask-size-disagrees", "labelme:in", ["50 x 50", "80 x 80"]),
        ("labels-binary-0-255", "labels:in", ["foreground mask", "--split-parts"]),
        ("labels-mask-jpeg", "labels:in", ["JPEG", "PNG"]),
        ("voc-split-with-spaces-in-name", "voc:VOC,train", ["my photo.jpg", "my photo.png: no such file"]),
    ],
    indirect=["case"],
)
def test_flags(case: Path, spec: str, words: list[str], command: Callable[..., Any]) -> None:
    checked = command("validate", "--data", spec)
    assert checked.exit_code == 1
    for word in words:
        assert word in said(checked.output)


@of_case("coco-iscrowd-true-everywhere-cvat")
def test_training_on_crowds_alone_is_refused(case: Path, command: Callable[..., Any]) -> None:
    done = command("train", "--data", TRAIN, "--out", "run", "--iterations", 2)
    assert done.exit_code == 1
    assert "CVAT" in said(done.output)
    assert not list(case.glob("run/*.safetensors"))


@of_case("coco-no-width-height")
def test_proposing_and_evaluating_need_no_sizes(
    case: Path, command: Callable[..., Any], asked_for: dict[str, Any]
) -> None:
    done = command("propose", "images", "--annotations", "train.json", "--out", "p")
    assert done.exit_code == 0, done.output
    done = command("evaluate", "p/proposals.json", "--annotations", "train.json", "--out", "report")
    assert done.exit_code == 0, done.output


@of_case("eval-gt-one-empty-segm")
def test_an_empty_segmentation_is_named_by_place_and_id(case: Path, command: Callable[..., Any]) -> None:
    done = command("evaluate", "r.json", "--annotations", "gt.json", "--out", "rep")
    words = said(done.output)
    assert done.exit_code == 1
    assert "annotations[4]" in words
    assert "99" in words
    assert "instancefcn convert" in words
    assert "iou=" not in words


@of_case("labels-binary-0-255")
def test_connected_parts_become_instances_where_asked(case: Path, command: Callable[..., Any]) -> None:
    done = command("validate", "--data", "labels:in", "--split-parts")
    assert done.exit_code == 0, done.output
    assert "2 instances" in said(done.output)


@of_case("labelme-imagepath-windows-absolute")
def test_converting_counts_what_is_left_out(case: Path, command: Callable[..., Any]) -> None:
    done = command("convert", "--data", "labelme:in", "--to", "coco", "--out", "c.json")
    if done.exit_code:  # nothing was left
        assert "left out" in said(done.output)
        assert not Path("c.json").exists()
    else:  # the image beside the file was found by its name
        assert len(json.loads(Path("c.json").read_text())["images"]) == 1


# Images.


@of_case("api-path")
def test_a_path_is_refused_in_words_or_read(case: Path) -> None:
    from instancefcn import Proposer

    with pytest.raises((TypeError, FileNotFoundError, ValueError), match=r"a\.jpg|str"):
        Proposer.from_checkpoint()("a.jpg")  # type: ignore[arg-type]


@of_case("folder-with-heic-avif")
def test_files_left_out_are_listed(case: Path, command: Callable[..., Any], asked_for: dict[str, Any]) -> None:
    """The HEIC is a header alone, so it is named whether pillow-heif is installed or not."""
    done = command("propose", ".", "--out", "o")
    errors = Path("o/errors.jsonl")
    told = said(done.output) + (errors.read_text() if errors.exists() else "")
    proposed = {entry["image_id"] for entry in json.loads(Path("o/proposals.json").read_text())}
    assert "photo.heic" in told or ".heic" in told
    assert len(proposed) == 2 or ".avif" in told


@of_case("image-float-rgb-tif")
def test_a_tiff_that_cannot_be_read_says_why(case: Path) -> None:
    with pytest.raises(ValueError, match=r"float-rgb\.tif.*8 or 16 bits"):
        read_image(Path("float-rgb.tif"))


@of_case("image-nir-as-alpha")
def test_an_alpha_that_leaves_nothing_is_warned_of(
    case: Path, command: Callable[..., Any], asked_for: dict[str, Any]
) -> None:
    done = command("propose", "rgbnir.tif", "--out", "o")
    assert "rgbnir.tif" in said(done.output)
    assert "transparent" in said(done.output)


@of_case("image-rgb16")
@pytest.mark.parametrize("name", ["rgb16.png", "rgb16.tif"])
def test_colour_of_16_bits_is_stretched(case: Path, name: str) -> None:
    image = read_image(Path(name))
    assert image.max() == 255
    assert image.mean() > 60


@of_case("overlay-99-megapixels")
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_overlays_and_label_maps_of_12_megapixels(case: Path) -> None:
    """An eighth of the case, as a test must be quick: the share of the image is the same."""
    for name, height, width in (("12mp", 3000, 4000), ("small", 300, 400)):
        Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(f"{name}.jpg")

    everything = ("--overlays", "--to", "labels")
    setup = f"""
from instancefcn.apps.cli import app
def propose(*words):
    app(["propose", *words], standalone_mode=False)
propose("small.jpg", "--out", "small", *{everything})  # loops may be compiled, which takes memory of its own
propose("12mp.jpg", "--out", "plain")
"""
    more = megabytes_for(f'propose("12mp.jpg", "--out", "drawn", *{everything})', setup=setup)
    assert list(case.glob("drawn/overlays/*"))
    assert more * 2**20 < 1e9 / 8


# Stops. Faults of these kinds in detail: tests/training, tests/test_run_folder.py.


def start_training(*more: str) -> subprocess.Popen[str]:
    """A training on two small images of a case, in a process of its own."""
    arguments = ["train", "--data", TRAIN, "--out", "run", "--workers", "0", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "instancefcn", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@of_case("coco-bbox-zero-good-polygon")
@pytest.mark.timeout(300)
def test_a_stopped_training_saves_and_says_how_to_go_on(case: Path, command: Callable[..., Any]) -> None:
    """The cases ``train-ctrl-c`` and ``resume-other-data``."""
    training = start_training("--iterations", "1000")
    deadline = time.monotonic() + 120
    log = Path("run/metrics.jsonl")
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.2)
    training.send_signal(signal.SIGINT)
    output, _ = training.communicate(timeout=120)
    assert training.returncode == 130, output
    assert "--resume" in said(output)
    assert {path.name for path in Path("run").iterdir()} >= {"best.safetensors", "last.safetensors", "last.state"}

    shutil.copytree("images", "other")
    table = json.loads(Path("train.json").read_text())
    table["annotations"] = table["annotations"][:3]
    Path("other.json").write_text(json.dumps(table))
    done = command("train", "--data", "coco:other.json,other", "--out", "run", "--resume", "--iterations", 4)
    assert "other data" in said(done.output)
