"""What ``validate``, ``convert``, ``train`` and ``evaluate`` say of labels that are lost, or teach nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from instancefcn.data.open import open_source
from instancefcn.geometry.rle import area
from labelled import coco_annotation, labelme_shape, rectangle_rle, result, write_coco, write_image, write_labelme

Command = Callable[..., Any]
SQUARE = [[2, 3], [10, 3], [10, 11], [2, 11]]
MASK = rectangle_rle(24, 32, 3, 2, 11, 10)


@pytest.fixture
def all_crowds(tmp_path: Path) -> str:
    return write_coco(tmp_path, [coco_annotation(i, segmentation=MASK, iscrowd=1) for i in (1, 2)])


def test_crowds_alone(all_crowds: str, tmp_path: Path, command: Command) -> None:
    """As CVAT exports masks: refused with the reason and the mend, unless crowds of one part count."""
    results, labels = tmp_path / "r.json", tmp_path / "coco.json"
    results.write_text(json.dumps([result(1, MASK, 0.5)]))
    commands: dict[str, list[Any]] = {
        "validate": ["validate", "--data", all_crowds],
        "evaluate": ["evaluate", results, "--annotations", labels, "--out", tmp_path / "report"],
        "train": ["train", "--data", all_crowds, "--out", tmp_path / "run", "--iterations", 1],
    }
    for arguments in commands.values():
        done = command(*arguments)
        assert done.exit_code == 1
        assert "all 2 instances are crowds (CVAT writes iscrowd 1" in done.output
        assert "--crowds-of-one-part" in done.output
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "run" / "best.safetensors").exists()
    for name in ("validate", "evaluate"):
        assert command(*commands[name], "--crowds-of-one-part").exit_code == 0
    converted = tmp_path / "new.json"
    done = command("convert", "--data", all_crowds, "--out", converted, "--crowds-of-one-part")
    assert done.exit_code == 0
    assert [entry["iscrowd"] for entry in json.loads(converted.read_text())["annotations"]] == [0, 0]


def test_no_instance_is_a_problem_unless_other_data_have_some(tmp_path: Path, command: Command) -> None:
    empty, some = write_coco(tmp_path / "a", []), write_coco(tmp_path / "b", [coco_annotation(1)])
    done = command("validate", "--data", empty)
    assert done.exit_code == 1
    assert "nothing to learn: no instance is labelled in 1 images" in done.stdout
    assert command("validate", "--data", empty, "--data", some).exit_code == 0


def test_notes_are_no_problems(tmp_path: Path, command: Command) -> None:
    done = command("validate", "--data", write_coco(tmp_path, [coco_annotation(1, bbox=[0, 0, 0, 0])]))
    assert done.exit_code == 0
    assert "note: " in done.stdout
    assert "annotation 1: bbox [0, 0, 0, 0] is no box in the image of 32 x 24: it is not used" in done.stdout


def test_convert_lists_what_it_leaves_out(tmp_path: Path, command: Command) -> None:
    bad = [coco_annotation(i, segmentation=[[1, 1, 5, 5]]) for i in range(2, 32)]
    done = command("convert", "--data", write_coco(tmp_path, [coco_annotation(1), *bad]), "--out", tmp_path / "c.json")
    assert done.exit_code == 0
    assert done.stderr.count("polygon of 2 points") == 20
    assert "\n...\n30 problems left out: see `instancefcn validate --data coco:" in done.stderr
    assert "images are lost" not in done.stderr  # their regions are in the file


def test_convert_keeps_the_place_of_what_it_cannot_read(tmp_path: Path, command: Command) -> None:
    bad = [coco_annotation(2, segmentation=[]), coco_annotation(3, segmentation=[], bbox=None)]
    spec, out = write_coco(tmp_path, [coco_annotation(1), *bad]), tmp_path / "c.json"
    done = command("convert", "--data", spec, "--out", out)
    assert done.exit_code == 0
    assert "1 images, 1 annotations" in done.stdout
    lost = "instances or unknown regions of 1 images are lost: who trains on this takes them for background"
    assert lost in done.stderr
    again = open_source(f"coco:{out},{tmp_path}/images", crowds_of_one_part=True)
    assert again.problems == []
    instances = again.labels(0).instances
    assert (instances.crowd.tolist(), instances.ignore.tolist()) == ([False, True], [False, True])
    assert [area(rle) for rle in instances.rles] == [64, 64]
    yolo = command("convert", "--data", spec, "--to", "yolo", "--out", tmp_path / "yolo")
    assert lost in yolo.stderr


def test_convert_of_nothing_fails(tmp_path: Path, command: Command) -> None:
    done = command("convert", "--data", write_coco(tmp_path, [], images=[]), "--out", tmp_path / "c.json")
    assert done.exit_code == 1
    assert "no image is left to write" in done.stderr
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("form", "spec"),
    [
        ("coco", "coco:{0}/new.json,{0}"),
        ("labelme", "labelme:{0}/new"),
        ("yolo", "yolo:{0}/new,."),
        ("labels", "labels:{0}/new"),
    ],
)
def test_convert_writes_embedded_images_beside(tmp_path: Path, command: Command, form: str, spec: str) -> None:
    picture = write_image(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    embedded = base64.encodebytes(picture).decode()
    for name in ("in/a", "in/sub/a"):  # two of one name
        path = tmp_path / name
        write_labelme(path.parent, [labelme_shape(SQUARE)], imagePath="gone.png", imageData=embedded)
    out = tmp_path / ("new.json" if form == "coco" else "new")
    arguments = ["convert", "--data", f"labelme:{tmp_path}/in", "--to", form, "--out", out]
    done = command(*arguments)
    assert done.exit_code == 0, done.output
    assert "2 images that were embedded" in done.stdout
    written = sorted(path for path in tmp_path.rglob("*.png") if path.parent.name != "masks")
    assert [path.name for path in written] == ["a-2.png", "a.png"]
    assert [path.read_bytes() for path in written] == [picture, picture]
    if form != "yolo":
        source = open_source(spec.format(tmp_path))
        assert source.problems == []
        assert [len(sample.instances) for sample in source] == [1, 1]
    before = written[0].read_bytes()
    Image.new("RGB", (3, 3)).save(written[0])
    done = command(*arguments)
    assert done.exit_code == 2
    assert "may hold somebody's work" in done.output
    assert written[0].read_bytes() != before
