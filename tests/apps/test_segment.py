"""``train-classifier`` and ``segment``: what they write, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from classifier.models import proposal_network
from instancefcn.classifier.segmenter import Segmenter
from instancefcn.inference.checkpoint import load_checkpoint, save_checkpoint
from instancefcn.proposals import Segments
from labelled import HEIGHT, WIDTH, coco_annotation, square, write_coco, write_image

RECIPE = """
[classifier]
shorter_side = 64.0
width = 8
[learning]
epochs = 1
[naming]
proposals = 10
"""
CATEGORIES = [{"id": 90, "name": "cup"}, {"id": 7, "name": "spoon"}]


@pytest.fixture
def trained(tmp_path: Path, command: Callable[..., Any]) -> tuple[Path, Path, str]:
    """A classifier, its proposal network, and the data that it learnt from."""
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "images" / "b.png")
    images = [
        {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in ((5, "a.png"), (3, "b.png"))
    ]
    annotations = [
        coco_annotation(1, image_id=5, segmentation=[square(2, 3, 16)], bbox=None, category_id=90),
        coco_annotation(2, image_id=5, segmentation=[square(12, 3, 12)], bbox=None, category_id=7),
    ]
    spec = write_coco(tmp_path, annotations, images, CATEGORIES)
    recipe, network = tmp_path / "recipe.toml", proposal_network(tmp_path / "proposals.safetensors")
    recipe.write_text(RECIPE)
    out = tmp_path / "runs"
    done = command("train-classifier", "--recipe", recipe, "--proposals-from", network, "--data", spec, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out / "classifier.safetensors") in done.stdout
    return out / "classifier.safetensors", network, spec


def arguments(tmp_path: Path, trained: tuple[Path, Path, str], *more: Any) -> list[Any]:
    classifier, network, _ = trained
    return ["segment", tmp_path / "images", "--classifier", classifier, "--checkpoint", network, *more]


def test_the_log_of_a_training_is_not_written_over(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    _, network, spec = trained
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.state").touch()
    (run / "metrics.jsonl").write_text("of hours")
    recipe = tmp_path / "recipe.toml"
    done = command("train-classifier", "--recipe", recipe, "--proposals-from", network, "--data", spec, "--out", run)
    assert done.exit_code == 1
    assert "holds a run of `instancefcn train`, whose metrics.jsonl would be lost" in done.stderr
    assert (run / "metrics.jsonl").read_text() == "of hours"


def test_results_have_the_ids_of_the_data_set(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    out = tmp_path / "out"
    done = command(*arguments(tmp_path, trained, "--annotations", tmp_path / "coco.json", "--out", out))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [
        *("errors.jsonl", "images.json", "labels", "overlays", "segments.json")
    ]
    results = json.loads((out / "segments.json").read_text())
    assert {result["category_id"] for result in results} == {7, 90}
    assert {result["image_id"] for result in results} <= {5, 3}
    written = json.loads((out / "images.json").read_text())
    assert written["categories"] == sorted(CATEGORIES, key=lambda category: category["id"])
    assert [image["id"] for image in written["images"]] == [5, 3]
    COCO(str(out / "images.json")).loadRes(str(out / "segments.json"))
    evaluated = command(
        *("evaluate", out / "segments.json", "--annotations", tmp_path / "coco.json", "--per-class"),
        *("--out", tmp_path / "report"),
    )
    assert evaluated.exit_code == 0, evaluated.output
    assert "spoon" in evaluated.stdout
    assert "COCO AP" in evaluated.stdout


def test_pictures_can_be_left_out(tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]) -> None:
    out = tmp_path / "out"
    done = command(*arguments(tmp_path, trained, "--no-overlays", "--to", "coco", "--min-score", 1, "--out", out))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["errors.jsonl", "images.json", "segments.json"]
    assert json.loads((out / "segments.json").read_text()) == []


def test_a_file_has_no_pictures_beside_it(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    done = command(*arguments(tmp_path, trained, "--to", "cvat", "--out", tmp_path / "out" / "named.json"))
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["named.json"]
    done = command(*arguments(tmp_path, trained, "--to", "cvat", "--overlays", "--out", tmp_path / "other.json"))
    assert done.exit_code == 2
    assert "no --overlays" in done.stderr


def test_label_maps_show_what_scores_enough(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    for score, empty in ((0.0, False), (1.0, True)):
        out = tmp_path / f"out{score}"
        assert command(*arguments(tmp_path, trained, "--shown-score", score, "--out", out)).exit_code == 0
        with Image.open(out / "labels/masks/a.png") as label_map:
            assert (np.asarray(label_map).max() == 0) == empty


def test_annotations_that_number_categories_otherwise_are_refused(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    table = json.loads((tmp_path / "coco.json").read_text())
    for categories, message in (
        (
            [{"id": 90, "name": "plate"}, {"id": 7, "name": "spoon"}],
            "category 90 is 'plate', but the classifier's 90 is 'cup'",
        ),
        (
            [{"id": 1, "name": "cup"}, {"id": 7, "name": "spoon"}],
            "category 1 is 'cup', but the classifier's 90 is 'cup'",
        ),
    ):
        other = tmp_path / "other.json"
        other.write_text(json.dumps(table | {"categories": categories}))
        done = command(*arguments(tmp_path, trained, "--annotations", other, "--out", tmp_path / "out"))
        assert done.exit_code == 1
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


def test_another_proposal_network_is_refused(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    classifier, _, _ = trained
    other = proposal_network(tmp_path / "other.safetensors", seed=1)
    done = command(
        *("segment", tmp_path / "images", "--classifier", classifier, "--checkpoint", other, "--out", tmp_path / "out")
    )
    assert done.exit_code == 1
    assert "proposals.safetensors" in done.stderr
    assert "other.safetensors" in done.stderr


def test_the_same_weights_that_propose_otherwise_do_not_go_on_with_a_run(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, network, _ = trained
    checkpoint = load_checkpoint(network)
    looser = tmp_path / "looser.safetensors"
    save_checkpoint(replace(checkpoint, inference=replace(checkpoint.inference, nms_threshold=0.9)), looser)
    name = Segmenter.name

    def interrupted(self: Segmenter, *arguments: Any, **options: Any) -> Segments:
        os.kill(os.getpid(), signal.SIGINT)
        return name(self, *arguments, **options)

    begin = ["segment", tmp_path / "images", "--classifier", classifier, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "name", interrupted)
        assert command(*begin, "--checkpoint", network).exit_code == 130
    done = command(*begin, "--checkpoint", looser, "--resume")
    assert done.exit_code == 1
    assert "asked for other things: --checkpoint was" in done.stderr
    assert command(*begin, "--checkpoint", network, "--resume").exit_code == 0


def test_a_classifier_that_is_not_there_is_named(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_image(tmp_path / "a.png")
    done = command("segment", tmp_path / "a.png", "--classifier", "zebras", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "zebras: no such classifier" in done.stderr


def test_the_classifier_is_not_written_over(
    tmp_path: Path, trained: tuple[Path, Path, str], command: Callable[..., Any]
) -> None:
    classifier, network, _ = trained
    disguised = classifier.rename(tmp_path / "segments.json")
    done = command(
        *("segment", tmp_path / "images", "--classifier", disguised, "--checkpoint", network, "--out", tmp_path)
    )
    assert done.exit_code == 2
    assert "would write over an input" in done.stderr
