"""``validate``, ``convert``, ``evaluate`` and ``train``, and what all commands share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from instancefcn.apps import cli
from instancefcn.apps.options import FORM_HELP, SPEC_HELP, Form
from instancefcn.data.coco import source_to_coco
from instancefcn.data.open import SPECS, open_source
from instancefcn.export.open import FORMS
from instancefcn.run_folder import LOCK, run_file, run_folder
from labelled import annotation, coco, compare_files, rectangle_rle
from pictures import write_photograph


@pytest.fixture
def label_maps(tmp_path: Path) -> Path:
    """Two images: one with two instances, one with none."""
    folder = tmp_path / "labels"
    for index, name in enumerate(("a.png", "b.png")):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "masks").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), "white").save(folder / "images" / name)
        labels = np.zeros((48, 64), dtype=np.uint8)
        if index == 0:
            labels[4:44, 4:24], labels[20:30, 40:60] = 1, 2
        Image.fromarray(labels).save(folder / "masks" / name)
    return folder


def convert(command: Callable[..., Any], label_maps: Path) -> dict[str, Any]:
    out = label_maps.parent / "deep" / "coco.json"
    done = command("convert", "--data", f"labels:{label_maps}", "--to", "coco", "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 images, 2 annotations" in done.stdout
    return json.loads(out.read_text())


def test_convert(label_maps: Path, command: Callable[..., Any]) -> None:
    coco = convert(command, label_maps)
    assert [(image["file_name"], image["width"], image["height"]) for image in coco["images"]] == [
        ("a.png", 64, 48),
        ("b.png", 64, 48),
    ]
    assert sorted(annotation["bbox"] for annotation in coco["annotations"]) == [[4, 4, 20, 40], [40, 20, 20, 10]]


def test_convert_to_coco_writes_the_table_of_the_source(label_maps: Path, command: Callable[..., Any]) -> None:
    table = source_to_coco(open_source(f"labels:{label_maps}"))
    assert convert(command, label_maps) == json.loads(json.dumps(table))


@pytest.mark.parametrize("form", get_args(Form))
def test_convert_to_every_format(form: str, label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("convert", "--data", f"labels:{label_maps}", "--to", form, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "2 images, 2 annotations" in done.stdout
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert form != "yolo" or f"put or link the images of {label_maps / 'images'}" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("form", "out"),
    [
        *((form, "out") for form in ("labelme", "xanylabeling", "yolo", "geojson", "labels", "coco", "cvat")),
        *((form, "out/mine.json") for form in ("coco", "cvat", "labelstudio")),
    ],
)
def test_convert_replaces_no_file_of_a_labelling_tool(
    form: str, out: str, label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    arguments = ("convert", "--data", f"labels:{label_maps}", "--to", form, "--out", tmp_path / out)
    assert command(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    done = command(*arguments)
    assert done.exit_code == 2
    assert "may hold somebody's work" in done.output
    assert {path: path.read_bytes() for path in before} == before


def test_convert_leaves_the_data_of_another_yolo_run(
    label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    """Also where their images have other names, so that no file of labels is there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data.yaml").write_text("names: [theirs]\n")
    done = command("convert", "--data", f"labels:{label_maps}", "--to", "yolo", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "may hold somebody's work" in done.output
    assert (tmp_path / "out" / "data.yaml").read_text() == "names: [theirs]\n"
    assert not (tmp_path / "out" / "labels").exists()


def test_convert_makes_polygons_of_coco_alone(label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    arguments = ["convert", "--data", f"labels:{label_maps}", "--polygons", "--out", tmp_path / "out.json"]
    assert command(*arguments, "--to", "cvat").exit_code == 2
    assert command(*arguments).exit_code == 0
    table = json.loads((tmp_path / "out.json").read_text())
    assert all(isinstance(annotation["segmentation"], list) for annotation in table["annotations"])


def test_convert_makes_no_folder_that_is_called_like_a_file(
    label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    done = command("convert", "--data", f"labels:{label_maps}", "--to", "cvat", "--out", tmp_path / "all.xml")
    assert done.exit_code == 2
    assert "all.xml would be a folder: give another name" in " ".join(done.stderr.split())
    assert not (tmp_path / "all.xml").exists()


def test_convert_writes_over_nothing_that_it_reads(label_maps: Path, command: Callable[..., Any]) -> None:
    before = (label_maps / "masks" / "a.png").read_bytes()
    done = command("convert", "--data", f"labels:{label_maps}", "--to", "labels", "--out", label_maps)
    assert done.exit_code == 2
    assert "may hold somebody's work" in done.output
    assert (label_maps / "masks" / "a.png").read_bytes() == before


def test_convert_says_what_it_leaves_out(label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    out = tmp_path / "coco.json"
    arguments = ["convert", "--data", f"labels:{label_maps}", "--out", out]
    (label_maps / "masks" / "b.png").unlink()
    done = command(*arguments)
    assert done.exit_code == 0
    assert "1 problems left out" in done.stderr
    assert len(json.loads(out.read_text())["images"]) == 1
    out.unlink()
    (label_maps / "masks" / "a.png").unlink()
    done = command(*arguments)
    assert done.exit_code == 1
    assert "nothing sound is left to write" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_evaluate_what_was_converted(iou: str, label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    coco = convert(command, label_maps)
    proposals = tmp_path / "proposals.json"
    perfect = {key: coco["annotations"][0][key] for key in ("image_id", "category_id", "segmentation", "bbox")}
    proposals.write_text(json.dumps([perfect | {"score": 0.5}]))
    arguments = [proposals, "--annotations", tmp_path / "deep/coco.json", "--out", tmp_path / "out", "--iou", iou]
    done = command("evaluate", *arguments)
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics[iou]["coco"]["AR@100"] == pytest.approx(50)  # one of two
    assert re.search(r"AR@10 .*AR@100 .*AR@1000", done.stdout)
    assert re.search(r"COCO AR\W+50\.0\W+50\.0\W+50\.0", done.stdout)
    assert str(tmp_path / "out/report.html") in done.stdout


def test_a_second_evaluate_into_a_folder_is_refused(
    label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    convert(command, label_maps)
    (tmp_path / "none.json").write_text("[]")
    out = tmp_path / "out"
    arguments = ["evaluate", tmp_path / "none.json", "--annotations", tmp_path / "deep/coco.json", "--out", out]
    with run_folder(out):
        done = command(*arguments)
        assert (done.exit_code, f"error: {out}: another run" in done.stderr) == (1, True)
        assert [path.name for path in out.iterdir()] == [LOCK]
    assert command(*arguments).exit_code == 0
    assert LOCK not in {path.name for path in out.iterdir()}


@pytest.mark.parametrize(("form", "name"), [("labelme", "out"), ("coco", "out"), ("coco", "out.json")])
def test_a_second_convert_into_a_place_is_refused(
    form: str, name: str, label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    arguments = ["convert", "--data", f"labels:{label_maps}", "--to", form, "--out", tmp_path / name]
    with (run_file if name.endswith(".json") else run_folder)(tmp_path / name):
        before = sorted(tmp_path.rglob("*"))
        done = command(*arguments)
        assert (done.exit_code, f"error: {tmp_path / name}: another run" in done.stderr) == (1, True)
        assert sorted(tmp_path.rglob("*")) == before
    assert command(*arguments).exit_code == 0
    assert not [path for path in tmp_path.rglob("*") if LOCK in path.name]


def test_evaluate_objects(label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    coco = convert(command, label_maps)
    first, second = (
        {key: labelled[key] for key in ("image_id", "category_id", "segmentation")} for labelled in coco["annotations"]
    )
    results = [first | {"score": 0.75}, second | {"score": 0.5}, second | {"score": 0.25}]  # the last is a duplicate
    for name in ("proposals.json", "objects.json"):
        (tmp_path / name).write_text(json.dumps(results))
    labels = ["--annotations", tmp_path / "deep/coco.json", "--out", tmp_path / "out", "--objects"]
    done = command("evaluate", tmp_path / "proposals.json", *labels)
    assert done.exit_code == 0, done.output
    assert re.search(r"IoU .*precision .*recall .*F1 .*AP .*PQ .*boundary IoU", done.stdout)
    for limit in ("0.5", "0.75", "0.9"):  # two right, one wrong
        assert re.search(rf"{limit}\W+66\.7\W+100\.0\W+80\.0\W+66\.7\W+80\.0\W+100\.0", done.stdout)
    assert "3 objects, 2 instances; count error an image 0.5, signed +0.5" in done.stdout
    assert "calibration error of the scores 33.3" in done.stdout  # of 0.25, 0.5 and 0.25
    assert re.search(r"0\.3\W+100\.0\W+100\.0\W+100\.0\W+2\W+0\.0", done.stdout)
    assert re.search(r"0\.5\W+100\.0\W+100\.0\W+100\.0\W+2\W+0\.0\W+last row: the best F1", done.stdout)

    done = command("evaluate", tmp_path / "objects.json", *labels)
    assert "3 objects, 2 instances" in done.stdout
    assert "best F1" not in done.stdout
    done = command("evaluate", tmp_path / "proposals.json", *labels, "--min-score", 0.5)
    assert "objects that score 0.5 or more" in done.stdout
    assert "2 objects, 2 instances; count error an image 0.0, signed +0.0" in done.stdout
    done = command("evaluate", tmp_path / "proposals.json", *labels[:-1], "--min-score", 0.5)
    assert (done.exit_code, "--objects" in done.stderr) == (1, True)


def test_evaluate_files_beside_each_other(label_maps: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    coco = convert(command, label_maps)
    found = [
        {key: labelled[key] for key in ("image_id", "category_id", "segmentation")} for labelled in coco["annotations"]
    ]
    for name, results in (("one", found[:1]), ("[bold]both", found), ("none", [])):
        (tmp_path / f"{name}.json").write_text(json.dumps([result | {"score": 0.5} for result in results]))
    first, both, none = (tmp_path / f"{name}.json" for name in ("one", "[bold]both", "none"))
    annotations = tmp_path / "deep/coco.json"
    arguments = [first, "--compare", both, "--compare", none, "--annotations", annotations, "--out", tmp_path / "out"]
    done = command("evaluate", *arguments, "--seed", 5)
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert list(written["compare"]) == ["[bold]both", "none"]
    for path in (both, none):
        expected = compare_files(first, path, annotations, seed=5)["coco/AR@10"]
        stated = written["compare"][path.stem]["difference"]["coco/AR@10"]
        assert (stated["first"], stated["low"], stated["high"]) == (50, expected.low, expected.high)
    # Instances are in one image alone: whatever is drawn with it says the same, and decides nothing.
    assert "1 images have an instance: too few to decide anything" in done.stdout
    assert re.search(r"AR@10 \(1 given\).*AR@1000 \(1 given\)", done.stdout)
    assert f"[bold]both: {both}" in done.stdout
    assert "[bold]both" in done.stdout
    assert "(+50.0 to +50.0)" in done.stdout
    assert "(-50.0 to -50.0)" in done.stdout


def test_validate_sound_data(label_maps: Path, command: Callable[..., Any]) -> None:
    done = command("validate", "--data", f"labels:{label_maps}")
    assert done.exit_code == 0, done.output
    assert "2 images, 1 of them without instances" in done.stdout
    assert "2 instances, 0 of them crowds" in done.stdout
    assert re.search(r" 8-16 1 #{40}\n", done.stdout)  # 20 x 10
    assert re.search(r" 16-32 1 #{40}\n", done.stdout)  # 20 x 40
    assert re.search(r" 32-64 0\n", done.stdout)
    assert "coverage under the recipe lite: 100.0% of 2 instances" in done.stdout


def test_validate_lists_every_problem_of_every_source(
    label_maps: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    coco = convert(command, label_maps)
    coco["annotations"][0]["segmentation"] = [[1, 1, 2, 2]]
    coco["images"][1]["file_name"] = "gone.png"
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(coco))
    done = command("validate", "--data", f"labels:{label_maps}", "--data", f"coco:{broken},{label_maps / 'images'}")
    assert done.exit_code == 1
    assert "annotation 1: " in done.stdout
    assert "gone.png" in done.stdout
    assert done.stdout.count("images, ") == 2
    assert "2 problems" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "--data", "zip:x"],
        ["validate", "--data", "labels:/nowhere"],
        ["convert", "--data", "labels:/nowhere", "--out", "x.json"],
        ["train", "--data", "labels:/nowhere", "--out", "runs/x"],
        ["train", "--data", "labels:/nowhere", "--out", "runs/x", "--recipe", "heavy"],
    ],
)
def test_an_error_is_one_line_on_stderr(
    arguments: list[str], tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(
    label_maps: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("loop", "trainer", "processes"):
        monkeypatch.delitem(sys.modules, f"instancefcn.training.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # as if it were not installed
    done = command("train", "--data", f"labels:{label_maps}", "--out", label_maps.parent / "run")
    assert done.exit_code == 1
    assert done.stderr == "error: lightning_fabric is not installed: pip install 'instancefcn[train]'\n"


def test_a_traceback_is_to_be_had(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCEFCN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="zip:x"):
        command("validate", "--data", "zip:x")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["validate"],
        ["convert", "--data", "labels:x"],
        ["convert", "--data", "labels:x", "--out", "x.json", "--to", "voc"],
        ["evaluate", "missing.json", "--annotations", "missing.json", "--out", "x"],
        ["evaluate", __file__, "--annotations", __file__, "--out", "x", "--compare", "missing.json"],
        ["train", "--out", "x"],
        ["train", "--data", "labels:x", "--out", "x", "--minutes", "1", "--iterations", "1"],
        ["train", "--data", "labels:x", "--out", "x", "--minutes", "0"],
    ],
)
def test_wrong_usage(arguments: list[str], command: Callable[..., Any]) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_train_hands_everything_on(
    label_maps: Path, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from instancefcn.training import loop

    seen: dict[str, Any] = {}

    def train(recipe: Any, sources: Any, out: Path, **options: Any) -> Path:
        seen.update(options, sources=sources, out=out, rotate=recipe.augmentation.rotate)
        return out / "best.safetensors"

    monkeypatch.setattr(loop, "train", train)
    spec = f"labels:{label_maps}"
    options = ["--iterations", 7, "--init", "random", "--rotate", "--resume", "--device", "cpu", "--workers", 0]
    options += ["--tiles", 2, "--changed-data"]
    done = command("train", "--data", spec, "--data", spec, "--val", spec, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "run" / "best.safetensors") in done.stdout
    assert [source.name for source in seen.pop("sources")] == [spec, spec]
    assert [source.name for source in seen.pop("validation")] == [spec]
    seen.pop("report")("warning: nothing was learnt")
    assert seen == {
        "out": tmp_path / "run",
        "iterations": 7,
        "minutes": None,
        "init": "random",
        "rotate": True,
        "choose_sides": True,
        "resume": True,
        "changed_data": True,
        "device": "cpu",
        "workers": 0,
    }


@pytest.mark.parametrize(("tiles", "chosen"), [((), False), (("--tiles", 1), False), (("--tiles", 2), True)])
def test_sides_are_chosen_among_those_that_tiles_add(
    tiles: tuple[Any, ...],
    chosen: bool,
    label_maps: Path,
    tmp_path: Path,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recipe's own sides stay where nothing is looked at closer."""
    from instancefcn.training import loop

    asked: list[bool] = []
    monkeypatch.setattr(loop, "train", lambda *_, choose_sides, **__: asked.append(choose_sides))
    command("train", "--recipe", "paper", "--data", f"labels:{label_maps}", "--out", tmp_path / "run", *tiles)
    assert asked == [chosen]


@pytest.mark.parametrize("name", ["propose", "train", "evaluate", "validate", "convert"])
def test_help_teaches_by_example(name: str, command: Callable[..., Any]) -> None:
    done = command(name, "--help")
    assert done.exit_code == 0
    assert f"\n instancefcn {name} " in done.stdout
    assert "[bold]" not in done.stdout


def test_help_names_every_format() -> None:
    plain = re.sub(r"\[.*?\]", "", SPEC_HELP)
    specs = [spec.partition("[")[0] for spec in SPECS.values()]  # without what may be left out
    assert all(f"\n{spec}" in plain for spec in specs)
    assert get_args(Form) == FORMS == tuple(re.findall(r"\[bold\](\w+)", FORM_HELP))


def test_version(command: Callable[..., Any]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", command("--version").stdout)


def test_warnings_are_one_line_without_a_place_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda: None)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back at the end
    cli.main()
    assert warnings.formatwarning("a.tif: white", UserWarning, "images.py", 7) == "warning: a.tif: white\n"


def test_split_parts_reaches_the_labels(tmp_path: Path, command: Callable[..., Any]) -> None:
    """A foreground mask is a problem, and with the option as many objects as it has parts."""
    for name in ("images", "masks"):
        (tmp_path / "labels" / name).mkdir(parents=True)
    Image.new("RGB", (64, 48), "white").save(tmp_path / "labels" / "images" / "a.png")
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[4:20, 4:20] = mask[30:40, 40:60] = 255
    Image.fromarray(mask).save(tmp_path / "labels" / "masks" / "a.png")
    data = ("--data", f"labels:{tmp_path / 'labels'}")
    done = command("validate", *data)
    assert done.exit_code == 1
    assert "a foreground mask, not a label map: number the objects, or give --split-parts" in done.stdout
    done = command("validate", *data, "--split-parts")
    assert done.exit_code == 0
    assert "2 instances" in done.stdout
    done = command("convert", *data, "--split-parts", "--to", "coco", "--out", tmp_path / "coco.json")
    assert "1 images, 2 annotations" in done.stdout
    for name in ("train", "train-classifier", "next", "label"):
        assert "--split-parts" in command(name, "--help").stdout


def test_a_chart_a_report_and_a_list_replace_their_own_kind_alone(tmp_path: Path, command: Callable[..., Any]) -> None:
    photograph = write_photograph(tmp_path / "photos" / "a.png")
    for name in ("keep.png", "keep.svg", "next.txt"):
        (tmp_path / name).write_bytes(b"precious")
    charts = [("figure", "score-maps", photograph, "--out", tmp_path / f"keep.{form}") for form in ("png", "svg")]
    for words in (*charts, ("next", "--pool", tmp_path / "photos", "--out", tmp_path / "next.txt")):
        done = command(*words)
        assert (done.exit_code, words[-1].read_bytes()) == (2, b"precious")
        words[-1].unlink()
        assert [command(*words).exit_code for _ in range(2)] == [0, 0]


def test_a_report_replaces_an_earlier_report_alone(tmp_path: Path, command: Callable[..., Any]) -> None:
    labels, results, out = tmp_path / "labels.json", tmp_path / "found.json", tmp_path / "out"
    labels.write_text(json.dumps(coco({1: (4, 5)}, [annotation(1, 1, rectangle_rle(4, 5, 0, 0, 2, 2))])))
    results.write_text("[]")
    words = ("evaluate", results, "--annotations", labels, "--out", out)
    out.mkdir()
    (out / "report.html").write_text("precious")
    assert command(*words).exit_code == 2
    assert (out / "report.html").read_text() == "precious"
    (out / "report.html").unlink()
    assert [command(*words).exit_code for _ in range(2)] == [0, 0]
    (out / "metrics.json").write_text('{"mine": 1}')
    assert command(*words).exit_code == 2


def test_a_run_whose_standard_error_is_closed_ends_well(tmp_path: Path) -> None:
    write_photograph(tmp_path / "photos" / "a.png")
    words = [sys.executable, "-m", "instancefcn", "next", "--pool", str(tmp_path / "photos")]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'photos' / 'a.png'}\n")


def test_next_gives_names_that_are_no_utf8_as_they_are(tmp_path: Path, command: Callable[..., Any]) -> None:
    path = os.fsencode(tmp_path / "photos") + b"/b\xff.png"
    write_photograph(tmp_path / "photos" / "a.png")
    try:
        os.rename(tmp_path / "photos" / "a.png", path)
    except OSError:
        pytest.skip("this file system takes no such name")
    done = command("next", "--pool", tmp_path / "photos", "--out", tmp_path / "next.txt")
    assert done.exit_code == 0
    assert done.stdout_bytes == (tmp_path / "next.txt").read_bytes() == path + b"\n"
