"""``--json``: one object on stdout, the same way for all commands that print tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.apps.printing import print_json
from instancefcn.labelling import next_images
from labelled import annotation, coco, coco_annotation, rectangle_rle, result, write_coco, write_image


@pytest.fixture
def found(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command with ``--json``: its exit code, the object that it printed, and stderr."""

    def run(*arguments: Any) -> tuple[int, Any, str]:
        done = command(*arguments, "--json")
        return done.exit_code, json.loads(done.stdout), done.stderr

    return run


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A photograph with two objects, of which one is found; a second file finds both."""
    masks = [rectangle_rle(24, 32, 2, 2, 10, 10), rectangle_rle(24, 32, 12, 12, 22, 30)]
    table = coco({1: (24, 32)}, [annotation(i, 1, mask) for i, mask in enumerate(masks, start=1)])
    table["images"][0]["file_name"] = "a.png"
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "coco.json").write_text(json.dumps(table))
    (tmp_path / "one.json").write_text(json.dumps([result(1, masks[0], 0.5)]))
    (tmp_path / "both.json").write_text(json.dumps([result(1, mask, 0.5) for mask in masks]))
    return tmp_path


def test_evaluate(scene: Path, found: Callable[..., Any]) -> None:
    labels = ("--annotations", scene / "coco.json", "--out", scene / "out")
    code, table, errors = found("evaluate", scene / "one.json", "--compare", scene / "both.json", *labels, "--objects")
    assert code == 0
    assert table == json.loads((scene / "out/metrics.json").read_text())
    assert list(table) == ["segm", "objects", "compare", "files"]
    assert str(scene / "out/report.html") in errors


def test_figure_proposals(scene: Path, found: Callable[..., Any]) -> None:
    labels = ("--annotations", scene / "coco.json", "--images", scene / "images", "--out", scene / "out")
    code, table, _ = found("figure", "proposals", scene / "one.json", scene / "both.json", *labels)
    files = {"one": {"found": 1, "missed": 1}, "both": {"found": 2, "missed": 0}}
    assert (code, table) == (0, {"images": 1, "unreadable": 0, "objects": 2, "files": files})


def test_next(scene: Path, found: Callable[..., Any]) -> None:
    for name in ("b.png", "c.png"):
        write_image(scene / "images" / name)
    spec = f"coco:{scene / 'coco.json'},{scene / 'images'}"
    code, table, _ = found("next", "--pool", scene / "images", "--data", spec)
    paths = sorted(row.pop("path") for row in table["next"])
    assert paths == [str(scene / "images" / name) for name in ("b.png", "c.png")]
    assert all(row["value"] is None for row in table.pop("next"))
    assert (code, table) == (0, {"images": 3, "unlabelled": 2, "by": "random"})


@pytest.mark.usefixtures("asked_for")
def test_next_of_which_the_first_is_infinitely_far(
    scene: Path, found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what is labelled: nothing is."""
    monkeypatch.setattr(next_images, "pooled_features", lambda proposer, image: np.ones(2))
    write_image(scene / "images" / "b.png")
    code, table, _ = found("next", "--pool", scene / "images", "--by", "variety")
    assert (code, [row["value"] for row in table["next"]]) == (0, [None, 0.0])


def test_validate(tmp_path: Path, found: Callable[..., Any], command: Callable[..., Any]) -> None:
    (tmp_path / "a").mkdir()
    sound = write_coco(tmp_path / "a", [coco_annotation(1)])
    (tmp_path / "b").mkdir()
    broken = write_coco(tmp_path / "b", [coco_annotation(1), coco_annotation(2, segmentation=[])])
    code, table, errors = found("validate", "--data", sound, "--data", f"partial+{broken}")
    assert code == 1
    assert table["problems"] == 1
    assert "1 problems" in errors
    first, second = table["sources"]
    assert (first["partial"], second["partial"]) == (False, True)
    assert (first["problems"], len(second["problems"])) == ([], 1)
    assert first["counts"]["instances"] == second["counts"]["instances"] == 1
    assert first["counts"]["size_histogram"]["8-16"] == 1
    assert first["coverage"]["instances"] == 1
    assert 0 <= first["coverage"]["share"] <= 1
    assert found("validate", "--data", sound)[:2] == (0, {"problems": 0, "sources": [first]})
    assert second["problems"][0] in command("validate", "--data", broken).stdout


def test_what_json_lacks_becomes_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": "\udcff\x1b[2J\N{SNOWMAN}"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == {"a": None, "b": "\udcff\x1b[2J\N{SNOWMAN}"}
