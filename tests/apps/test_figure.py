"""``figure``: each command writes its picture, and says what is wrong with its input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelled import annotation, coco, rectangle_rle, result


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Three photographs: two objects of which one is found, one that is missed, none."""
    (tmp_path / "images").mkdir()
    for name in "abc":
        pixels = np.random.default_rng(ord(name)).integers(0, 200, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    first, second = rectangle_rle(48, 64, 4, 4, 24, 24), rectangle_rle(48, 64, 20, 40, 30, 60)
    labels = coco(dict.fromkeys((1, 2, 3), (48, 64)), [annotation(i, *of) for i, of in
        enumerate([(1, first), (1, second), (2, first)], start=1)])  # fmt: skip
    for image, name in zip(labels["images"], "abc", strict=True):
        image["file_name"] = f"{name}.png"
    (tmp_path / "coco.json").write_text(json.dumps(labels))
    (tmp_path / "one.json").write_text(json.dumps([result(1, first, 0.5)]))
    (tmp_path / "none.json").write_text("[]")
    return tmp_path


def has_red(path: Path) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return bool(((pixels[..., 0] > 200) & (pixels[..., 1:] < 40).all(-1)).any())


def test_proposals(scene: Path, command: Callable[..., Any]) -> None:
    arguments = ["--annotations", scene / "coco.json", "--images", scene / "images"]
    done = command("figure", "proposals", scene / "one.json", scene / "none.json", *arguments, "--out", scene / "out")
    assert done.exit_code == 0, done.output
    assert "one: 1 of 3 objects found, 2 missed" in done.stdout
    assert "none: 0 of 3 objects found, 3 missed" in done.stdout
    assert sorted(path.name for path in (scene / "out").iterdir()) == ["a.png", "b.png"]  # c has no object
    assert has_red(scene / "out" / "a.png")
    first = (scene / "out" / "a.png").read_bytes()
    done = command(
        "figure", "proposals", scene / "one.json", scene / "none.json", *arguments, "--out", scene / "again",
        "--max-images", 1,
    )  # fmt: skip
    assert [path.name for path in (scene / "again").iterdir()] == ["a.png"]
    assert (scene / "again" / "a.png").read_bytes() == first


@pytest.mark.parametrize("kind", ["recall", "proposals"])
def test_annotations_are_read_as_evaluate_reads_them(kind: str, scene: Path, command: Callable[..., Any]) -> None:
    """Without sizes, which the results say, and with every instance a crowd, as CVAT marks masks."""
    found = rectangle_rle(48, 64, 4, 4, 24, 24)
    (scene / "all.json").write_text(json.dumps([result(image, found, 0.5) for image in (1, 2)]))
    table = json.loads((scene / "coco.json").read_text())
    for image in table["images"]:
        del image["height"], image["width"]
    for one in table["annotations"]:
        one["iscrowd"] = 1
    (scene / "cvat.json").write_text(json.dumps(table))
    more = (
        ["--out", scene / "recall.png"] if kind == "recall" else ["--images", scene / "images", "--out", scene / "out"]
    )
    arguments = ["figure", kind, scene / "all.json", "--annotations", scene / "cvat.json", *more]
    refused = command(*arguments)
    assert refused.exit_code == 1
    assert "all 3 instances are crowds" in refused.stderr
    assert command(*arguments, "--crowds-of-one-part").exit_code == 0
    (scene / "images.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "b.png"}], "annotations": []}))
    other = command(*arguments, "--crowds-of-one-part")
    assert other.exit_code == 1
    assert "image 1 is 'b.png'" in other.stderr


def test_an_unreadable_photograph_is_named_and_the_rest_goes_on(scene: Path, command: Callable[..., Any]) -> None:
    (scene / "images" / "a.png").write_text("no image")
    arguments = ["--annotations", scene / "coco.json", "--images", scene / "images", "--out", scene / "out"]
    done = command("figure", "proposals", scene / "one.json", *arguments)
    assert done.exit_code == 1
    assert "a.png" in done.stderr
    assert [path.name for path in (scene / "out").iterdir()] == ["b.png"]


def test_proposals_without_any_object_are_refused(scene: Path, command: Callable[..., Any]) -> None:
    labels = json.loads((scene / "coco.json").read_text()) | {"annotations": []}
    (scene / "coco.json").write_text(json.dumps(labels))
    arguments = ["--annotations", scene / "coco.json", "--images", scene / "images", "--out", scene / "out"]
    done = command("figure", "proposals", scene / "none.json", *arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "no image has a labelled object" in done.stderr


def test_a_photograph_is_not_written_over(scene: Path, command: Callable[..., Any]) -> None:
    arguments = ["--annotations", scene / "coco.json", "--images", scene / "images", "--out", scene / "images"]
    before = (scene / "images" / "a.png").read_bytes()
    for done in (
        command("figure", "proposals", scene / "one.json", *arguments),
        command("figure", "score-maps", scene / "images" / "a.png", "--out", scene / "images" / "a.png"),
    ):
        assert done.exit_code == 2
        assert "write over an input" in done.stderr
    assert (scene / "images" / "a.png").read_bytes() == before


@pytest.mark.parametrize(("name", "start"), [("recall.png", b"\x89PNG"), ("recall.SVG", b"<?xml")])
def test_recall(name: str, start: bytes, scene: Path, command: Callable[..., Any]) -> None:
    out, again = scene / "deep" / name, scene / "again" / name
    for target in (out, again):
        arguments = ["--annotations", scene / "coco.json", "--out", target]
        done = command("figure", "recall", scene / "one.json", scene / "none.json", *arguments)
        assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(start)
    assert out.read_bytes() == again.read_bytes()


def test_score_maps_are_written_as_their_suffix_says(scene: Path, command: Callable[..., Any]) -> None:
    targets = [scene / "sheet.svg", scene / "again.SVG"]
    for out in targets:
        done = command("figure", "score-maps", scene / "images" / "a.png", "--windows", 2, "--out", out)
        assert done.exit_code == 0, done.output
        assert out.read_bytes().startswith(b"<?xml")
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_score_maps(scene: Path, command: Callable[..., Any]) -> None:
    out = scene / "deep" / "sheet.png"
    done = command("figure", "score-maps", scene / "images" / "a.png", "--window", 20, "--windows", 2, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out) in done.stdout
    sides = [int(side) for side in done.stdout.splitlines()[0].partition(": ")[2].split(", ")]
    assert sides == sorted(sides)
    nearest = min(sides, key=lambda side: abs(np.log(side / 20)))
    assert f"windows of {nearest} pixels" in done.stdout
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 1000


@pytest.mark.parametrize(
    "arguments",
    [
        ["recall", "coco.json", "--annotations", "coco.json", "--out", "recall.jpg"],
        ["recall", *["none.json"] * 9, "--annotations", "coco.json", "--out", "recall.png"],
        ["recall", "missing.json", "--annotations", "coco.json", "--out", "recall.png"],
        ["proposals", "none.json", "--annotations", "coco.json", "--out", "out"],
        ["score-maps", "missing.png", "--out", "out.png"],
        ["score-maps", "images/a.png", "--out", "out.png", "--windows", "0"],
        ["score-maps", "images/a.png", "--out", "out.jpg"],
        ["training", "images", "--out", "course.jpg"],
        ["training", "missing", "--out", "course.png"],
        ["frobnicate"],
    ],
)
def test_wrong_usage(
    arguments: list[str], scene: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene)
    done = command("figure", *arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize(("name", "start"), [("course.png", b"\x89PNG"), ("course.SVG", b"<?xml")])
def test_training(name: str, start: bytes, tmp_path: Path, command: Callable[..., Any]) -> None:
    line = {"iteration": 1, "seconds": 90.0, "loss_mask": 0.5, "loss_dice": 0.25, "learning_rate": 0.1}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line | {"iteration": 20}))
    for run, out in ((tmp_path / "run", "a"), (tmp_path / "run" / "metrics.jsonl", "b")):
        done = command("figure", "training", run, "--out", tmp_path / out / name)
        assert done.exit_code == 0, done.output
        assert "20 iterations" in done.stdout
    assert (tmp_path / "a" / name).read_bytes().startswith(start)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    done = command("figure", "training", tmp_path, "--out", tmp_path / name)
    assert (done.exit_code, "give a folder that `train` wrote to" in done.stderr) == (1, True)


@pytest.mark.parametrize("name", ["score-maps", "recall", "proposals", "training"])
def test_help_teaches_by_example(name: str, command: Callable[..., Any]) -> None:
    done = command("figure", name, "--help")
    assert done.exit_code == 0
    assert f"\n instancefcn figure {name} " in done.stdout
    assert f"instancefcn figure {name} " in command("figure", "--help").stdout
    assert "[bold]" not in done.stdout
