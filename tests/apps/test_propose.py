"""``instancefcn propose``: what it writes, what it reads, and what it does with files that are no images."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from instancefcn.export.open import FORMS
from instancefcn.geometry.rle import decode, from_json
from instancefcn.proposals import Proposals
from pictures import tree, write_photograph

pytestmark = pytest.mark.usefixtures("asked_for")
LABELS = ("--to", "labels")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def errors(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]


def names(out: Path) -> list[str]:
    return [image["file_name"] for image in read(out / "images.json")["images"]]


def test_results_of_a_folder(tmp_path: Path, command: Callable[..., Any]) -> None:
    for name, width in (("10.jpg", 50), ("2.PNG", 60), ("sub/1.webp", 70)):
        write_photograph(tmp_path / "in" / name, width)
    (tmp_path / "in" / "notes.txt").write_text("no image, and not taken for one")
    write_photograph(tmp_path / "in" / ".thumbnails" / "2.png")
    out = tmp_path / "out"
    done = command("propose", tmp_path / "in", "--out", out)

    assert done.exit_code == 0, done.output
    assert str(out / "proposals.json") in done.stdout
    images = read(out / "images.json")["images"]
    assert images == [
        {"id": 1, "file_name": "2.PNG", "width": 60, "height": 30},
        {"id": 2, "file_name": "10.jpg", "width": 50, "height": 30},
        {"id": 3, "file_name": "sub/1.webp", "width": 70, "height": 30},
    ]
    results = read(out / "proposals.json")
    assert [(result["image_id"], result["score"]) for result in results] == [
        (image_id, score) for image_id in (1, 2, 3) for score in (0.9, 0.6, 0.3)
    ]
    assert results[5]["bbox"] == [0, 0, 25, 15]
    assert results[5]["segmentation"]["size"] == [30, 50]
    np.testing.assert_array_equal(
        decode(from_json(results[5]["segmentation"])), np.pad(np.ones((15, 25)), ((0, 15), (0, 25)))
    )
    assert errors(out) == []
    assert sorted(path.name for path in out.iterdir()) == ["errors.jsonl", "images.json", "proposals.json"]


def test_pycocotools_loads_both_files(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "a.png")
    assert command("propose", tmp_path / "a.png", "--out", tmp_path / "out").exit_code == 0
    results = COCO(str(tmp_path / "out/images.json")).loadRes(str(tmp_path / "out/proposals.json"))
    assert len(results.anns) == 3


def test_options_reach_the_proposer(tmp_path: Path, command: Callable[..., Any], asked_for: dict[str, Any]) -> None:
    image, checkpoint, out = write_photograph(tmp_path / "a.png"), tmp_path / "mine.safetensors", tmp_path / "out"
    checkpoint.touch()
    options = ["--checkpoint", checkpoint, "--device", "cpu", "--precision", "bf16", "--max-proposals", 2]
    assert command("propose", image, "--out", out, *options).exit_code == 0
    assert asked_for == {"path": checkpoint, "device": "cpu", "precision": "bf16"}
    assert [result["score"] for result in read(out / "proposals.json")] == [0.9, 0.6]
    assert command("propose", image, "--out", out, "--min-score", 0.7).exit_code == 0
    assert [result["score"] for result in read(out / "proposals.json")] == [0.9]
    assert asked_for["path"] is None


def test_an_image_without_proposals_is_in_images_json(tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("propose", write_photograph(tmp_path / "a.png"), "--out", tmp_path / "out", "--min-score", 1)
    assert done.exit_code == 0
    assert read(tmp_path / "out/proposals.json") == []
    assert names(tmp_path / "out") == ["a.png"]


def test_objects_have_chances_tables_and_overlays_that_show_them_all(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int | None]] = []
    monkeypatch.setattr(Proposals, "draw", lambda found, image, top: drawn.append((len(found), top)) or image)
    for name in ("a, b.png", "c.png"):
        write_photograph(tmp_path / "in" / name)
    out = tmp_path / "out"
    done = command("propose", tmp_path / "in", "--out", out, "--objects", "--overlays")
    assert done.exit_code == 0, done.output
    assert f"4 objects of 2 images: {out / 'objects.json'}" in done.stdout
    assert str(out / "counts.csv") in done.stdout
    results = read(out / "objects.json")
    assert [(result["image_id"], result["score"]) for result in results] == [(1, 0.45), (1, 0.3), (2, 0.45), (2, 0.3)]
    assert (out / "counts.csv").read_text() == (
        'image,count,mean_area,mean_score\n"a, b.png",2,900.0,0.3750\nc.png,2,900.0,0.3750\n'
    )
    assert (out / "objects.csv").read_text().splitlines()[:3] == [
        "image,object,left,top,width,height,area,score",
        '"a, b.png",1,0,0,40,30,1200,0.4500',
        '"a, b.png",2,0,0,40,15,600,0.3000',
    ]
    assert drawn == [(2, None), (2, None)]


def test_a_labelling_tools_file_is_not_written_over(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, out = write_photograph(tmp_path / "in" / "a.png"), tmp_path / "out"
    assert command("propose", image, "--out", out, "--to", "labelme", "--to", "labels").exit_code == 0
    (out / "labelme" / "a.json").write_text("corrected")
    done = command("propose", image, "--out", out, "--to", "labelme")
    assert done.exit_code == 2
    assert "a.json is there already" in " ".join(done.output.split())
    assert (out / "labelme" / "a.json").read_text() == "corrected"
    assert command("propose", image, "--out", out, "--to", "labels").exit_code == 0  # of a run, as overlays are


@pytest.mark.parametrize(
    ("form", "place"),
    [
        *((form, "mine.json") for form in ("coco", "cvat", "labelstudio")),
        *((form, "out") for form in ("cvat", "labelstudio")),
    ],
)
def test_a_file_of_all_images_is_not_written_over(
    form: str, place: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    image, out = write_photograph(tmp_path / "in" / "a.png"), tmp_path / place
    path = out if out.suffix else out / f"{form}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("of a person")
    for options in ([], ["--resume"]):
        done = command("propose", image, "--out", out, "--to", form, *options)
        assert done.exit_code == 2
        assert f"{path.name} is there already" in " ".join(done.output.split())
        assert tree(tmp_path).keys() == {"in/a.png", str(path.relative_to(tmp_path))}
        assert path.read_text() == "of a person"


def test_options_of_objects(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, out = write_photograph(tmp_path / "a.png"), tmp_path / "out"

    def areas(*options: Any) -> list[int]:
        done = command("propose", image, "--out", out, "--objects", *options)
        assert done.exit_code == 0, done.output
        return [decode(from_json(result["segmentation"])).sum() for result in read(out / "objects.json")]

    assert areas() == [1200, 600]
    assert areas("--min-score", 0.1) == [1200, 600, 300]  # a chance: the third one's is 0.15
    assert areas("--min-score", 0.4) == [1200]
    assert areas("--max-proposals", 1) == [1200]
    assert areas("--exclusive") == [1200]
    assert command("propose", image, "--out", tmp_path / "other", "--exclusive").exit_code == 2


def test_the_kinds_of_results_do_not_mix_in_one_folder(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, out = write_photograph(tmp_path / "a.png"), tmp_path / "out"
    assert command("propose", image, "--out", out).exit_code == 0
    done = command("propose", image, "--out", out, "--objects")
    assert done.exit_code == 1
    assert "proposals.json would not belong to" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--max-proposals", 2], True), ([], False), (["--objects", "--max-proposals", 1], True), (["--objects"], False)],
)
def test_a_cap_that_binds_is_said(options: list[Any], said: bool, tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("propose", write_photograph(tmp_path / "a.png"), "--out", tmp_path / "out", *options)
    assert ("1 images have as many as --max-proposals allows" in done.stderr) == said


def test_overlays_show_as_many_as_are_asked_for(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int | None]] = []
    monkeypatch.setattr(Proposals, "draw", lambda found, image, top: drawn.append((len(found), top)) or image)
    image = write_photograph(tmp_path / "a.png")
    for options in (["--shown", 2], ["--shown-score", 0.7]):
        assert command("propose", image, "--out", tmp_path / "out", "--overlays", *options).exit_code == 0
    assert drawn == [(3, 2), (1, None)]


def test_globs_files_and_folders_together(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x/9.png", "x/10.png", "y/deep/1.png", "z[1].png"):
        write_photograph(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    done = command("propose", "z[1].png", "x/*.png", "y", "./x/../x/9.png", "**/1.png", "--out", "out")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "out") == ["z[1].png", "x/9.png", "x/10.png", "y/deep/1.png"]


def test_linked_folders_are_searched_once(tmp_path: Path, command: Callable[..., Any]) -> None:
    for name in ("in/a.png", "elsewhere/b.png"):
        write_photograph(tmp_path / name)
    for name in ("linked", "again"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/circle").symlink_to(tmp_path / "in")
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "out") == ["a.png", "again/b.png"]


def test_overlays_and_label_maps(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, out = write_photograph(tmp_path / "in/scan v1.2.png"), tmp_path / "out"
    done = command("propose", image, "--out", out, "--overlays", *LABELS)
    assert done.exit_code == 0
    assert str(out / "overlays") in done.stdout
    with Image.open(out / "overlays/scan v1.2.jpg") as overlay:
        assert (overlay.size, overlay.mode) == ((40, 30), "RGB")
    with Image.open(out / "labels/masks/scan v1.2.png") as label_map:
        assert label_map.mode == "I;16"
        labels = np.asarray(label_map)
    np.testing.assert_array_equal(labels, np.ones((30, 40)))  # the best covers everything


def test_a_package_that_is_missing_is_said_before_the_first_image(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photograph(tmp_path / "in/a.png")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out", "--to", "parquet", "--to", "coco")
    assert done.exit_code == 1
    assert "error: pyarrow is not installed: pip install 'instancefcn[parquet]'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("objects", [[], ["--objects"]])
@pytest.mark.parametrize("form", FORMS)
def test_every_format_beside_the_results(
    form: str, objects: list[str], tmp_path: Path, command: Callable[..., Any]
) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    done = command("propose", tmp_path / "in", "--out", out, *objects, "--to", form, "--to", "geojson")
    assert done.exit_code == 0, done.output
    results = read(out / ("objects.json" if objects else "proposals.json"))
    features = read(out / "geojson" / "a.geojson")["features"]
    assert [feature["properties"]["measurements"]["score"] for feature in features] == [
        result["score"] for result in results
    ]
    assert form == "coco" or (out / form).is_dir() or (out / f"{form}.json").is_file()
    assert not (out / "coco.json").exists()  # the results are COCO's


def test_files_that_another_run_left_for_a_tool_are_told_of(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, out = write_photograph(tmp_path / "a.png"), tmp_path / "out"
    first = command("propose", image, "--out", out, "--to", "cvat", "--to", "labelme", "--to", "labels")
    assert "earlier run" not in first.output
    before = (out / "cvat.json").read_bytes()
    second = command("propose", image, "--out", out, "--max-proposals", 1)
    assert f"{out / 'cvat.json'}, {out / 'labelme'}: of an earlier run or yours" in second.stderr
    assert (out / "cvat.json").read_bytes() == before


def test_masks_that_pictures_leave_out_are_told_of(tmp_path: Path, command: Callable[..., Any]) -> None:
    image = write_photograph(tmp_path / "a.png")
    asked = ("propose", image, "--shown-score", 0.5, "--to", "labels")
    assert "score less" not in command(*asked, "--out", tmp_path / "maps").output
    done = command(*asked, "--out", tmp_path / "both", "--to", "labelme")
    assert "1 masks in them score less than pictures show: --min-score leaves them out" in done.stdout


def test_one_file_and_nothing_else(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no image")
    for form in ("coco", "cvat", "labelstudio"):
        out = tmp_path / form / "out.json"
        done = command("propose", tmp_path / "in", "--out", out, "--to", form)
        assert done.exit_code == 1
        assert "b.png: " in done.stderr
        assert "1 of 2 images failed\n" in done.stderr
        assert f"3 proposals of 1 images: {out}" in done.stdout
        assert [path.name for path in out.parent.iterdir()] == ["out.json"]
    assert len(read(tmp_path / "coco" / "out.json")["annotations"]) == 3


@pytest.mark.parametrize(
    "options", [[], ["--to", "yolo"], ["--to", "cvat", "--to", "coco"], ["--to", "cvat", "--overlays"]]
)
def test_a_file_takes_one_format_of_one_file(options: list[str], tmp_path: Path, command: Callable[..., Any]) -> None:
    image = write_photograph(tmp_path / "a.png")
    done = command("propose", image, "--out", tmp_path / "out.json", *options)
    assert done.exit_code == 2
    assert "it takes one --to of one file" in " ".join(done.stderr.split())
    assert not (tmp_path / "out.json").exists()


def test_the_data_of_another_yolo_run_stays(tmp_path: Path, command: Callable[..., Any]) -> None:
    image, data = write_photograph(tmp_path / "a.png"), tmp_path / "out" / "yolo" / "data.yaml"
    data.parent.mkdir(parents=True)
    data.write_text("names: [theirs]\n")
    done = command("propose", image, "--out", tmp_path / "out", "--to", "yolo")
    assert done.exit_code == 2
    assert "may hold somebody's work" in done.output
    assert tree(tmp_path / "out") == {"yolo/data.yaml": b"names: [theirs]\n"}


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_name_that_is_no_utf8_ends_no_run(tmp_path: Path, command: Callable[..., Any]) -> None:
    bad = os.fsdecode(b"b\xff.png")
    for name in ("a.png", bad, "c.png"):
        write_photograph(tmp_path / "in" / name)
    for form in ("labelme", "xanylabeling"):
        out = tmp_path / form
        done = command("propose", tmp_path / "in", "--out", out, "--to", form, "--to", "cvat")
        assert done.exit_code == 1
        assert "1 of 3 images failed" in done.stderr
        (failure,) = errors(out)
        assert (failure["file_name"], "no UTF-8" in failure["reason"]) == (bad, True)
        assert sorted(path.name for path in (out / form).iterdir()) == ["a.json", "c.json"]
        assert [image["file_name"] for image in read(out / "cvat.json")["images"]] == ["a.png", "c.png"]
    done = command("propose", tmp_path / "in", "--out", tmp_path / "studio", "--to", "labelstudio")
    assert done.exit_code == 0, done.output
    tasks = read(tmp_path / "studio" / "labelstudio.json")
    assert [task["data"]["image"].rpartition("/")[2] for task in tasks] == ["a.png", "b%FF.png", "c.png"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--to", "labelme"], "a" * 251 + ".png"),
        (["--to", "geojson", "--to", "cvat"], "é" * 124 + ".bmp"),  # of two bytes each
        (["--overlays", "--to", "labels", "--to", "xanylabeling"], "a" * 251 + ".jpg"),
    ],
)
def test_a_file_name_that_would_be_too_long_fails_its_image_alone(
    options: list[str], name: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    for image in (name, "b.png"):
        write_photograph(tmp_path / "in" / image)
    out = tmp_path / "out"
    done = command("propose", tmp_path / "in", "--out", out, *options)
    assert done.exit_code == 1
    (failure,) = errors(out)
    assert failure["file_name"] == name
    assert "too long" in failure["reason"]
    assert names(out) == ["b.png"]
    assert not [path for path in tree(out) if Path(path).stem == Path(name).stem]


def test_an_overlays_name_may_be_too_long_too(tmp_path: Path, command: Callable[..., Any]) -> None:
    long = [f"{'a' * 248}{suffix}" for suffix in (".bmp", ".png")]  # of one stem, so that .jpg is added
    for image in (*long, "b.png"):
        write_photograph(tmp_path / "in" / image)
    assert command("propose", tmp_path / "in", "--out", tmp_path / "out", "--overlays").exit_code == 1
    assert [failure["file_name"] for failure in errors(tmp_path / "out")] == long
    assert [path.name for path in (tmp_path / "out/overlays").iterdir()] == ["b.jpg"]


def test_images_of_one_stem_have_files_of_their_own(tmp_path: Path, command: Callable[..., Any]) -> None:
    inputs = ["cat.jpg", "cat.png", "cat.png.bmp", "dog.png", "sub/cat.png"]
    for width, name in enumerate(inputs, start=40):
        write_photograph(tmp_path / "in" / name, width)
    out = tmp_path / "out"
    assert command("propose", tmp_path / "in", "--out", out, "--overlays", *LABELS).exit_code == 0
    files = ["cat.jpg", "cat.png", "cat.png.bmp", "dog", "sub/cat"]
    for folder, suffix in (("overlays", ".jpg"), ("labels/masks", ".png")):
        written = {path.relative_to(out / folder).as_posix() for path in (out / folder).rglob("*.*")}
        assert written == {f"{file}{suffix}" for file in files}
        for width, file in enumerate(files, start=40):
            with Image.open(out / folder / f"{file}{suffix}") as picture:
                assert picture.width == width


def test_a_second_run_does_not_propose_on_the_first_ones_pictures(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "a.png")
    for _ in range(2):
        assert command("propose", tmp_path, "--out", tmp_path, "--overlays", *LABELS).exit_code == 0
        assert names(tmp_path) == ["a.png"]


# Files that are not as they should be. What is no image is reported, what is an unusual one is proposed.


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def bomb() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    whole = bytearray(encoded(Image.new("L", (1, 1)), "PNG"))
    whole[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(whole)


JPEG = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")
BAD = {
    "text.jpg": b"this is no image",
    "truncated.jpg": JPEG[: len(JPEG) // 2],
    "truncated.png": encoded(Image.fromarray(noise(64, 64, 3)), "PNG")[:3000],
    "empty.png": b"",
    "bomb.png": bomb(),
}
UNUSUAL = {
    "one_pixel.png": encoded(Image.fromarray(noise(1, 1, 3)), "PNG"),
    "deep.png": encoded(Image.fromarray(noise(20, 30, dtype=np.uint16)), "PNG"),
    "grey.jpg": encoded(Image.fromarray(noise(20, 30)), "JPEG"),
    "grey_alpha.png": encoded(Image.fromarray(noise(20, 30, 2), "LA"), "PNG"),
    "cmyk.jpg": encoded(Image.fromarray(noise(20, 30, 4), "CMYK"), "JPEG"),
    "alpha.png": encoded(Image.fromarray(noise(20, 30, 4)), "PNG"),
    "palette.png": encoded(Image.fromarray(noise(20, 30, 3)).quantize(16), "PNG"),
    "bilevel.png": encoded(Image.fromarray(noise(20, 30)).convert("1"), "PNG"),
    "animated.gif": encoded(
        Image.fromarray(noise(20, 30)), "GIF", save_all=True, append_images=[Image.fromarray(255 - noise(20, 30))]
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_reported_and_the_rest_goes_on(
    name: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(BAD[name])
    write_photograph(tmp_path / "in" / "a.png")
    write_photograph(tmp_path / "in" / "z.png")
    out = tmp_path / "out"
    done = command("propose", tmp_path / "in", "--out", out, "--overlays")
    assert done.exit_code == 1
    assert [image["id"] for image in read(out / "images.json")["images"]] == [1, 3]
    assert names(out) == ["a.png", "z.png"]
    assert {result["image_id"] for result in read(out / "proposals.json")} == {1, 3}
    (error,) = errors(out)
    assert error["image_id"] == 2
    assert error["file_name"] == name
    assert error["reason"]
    assert "\n" not in error["reason"]
    assert f"{name}: {error['reason']}" in done.stderr
    assert "1 of 3 images failed" in done.stderr
    assert not (out / "overlays" / name).with_suffix(".jpg").exists()


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_are_proposed(name: str, tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / name).write_bytes(UNUSUAL[name])
    done = command("propose", tmp_path / name, "--out", tmp_path / "out", "--overlays", *LABELS)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / name) as image:
        width, height = image.size
    assert read(tmp_path / "out/images.json")["images"] == [
        {"id": 1, "file_name": name, "width": width, "height": height}
    ]
    assert len(read(tmp_path / "out/proposals.json")) == (1 if name == "one_pixel.png" else 3)


def test_a_folder_of_failures_only(tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / "a.jpg").write_bytes(BAD["text.jpg"])
    assert command("propose", tmp_path, "--out", tmp_path / "out").exit_code == 1
    assert read(tmp_path / "out/proposals.json") == []
    assert names(tmp_path / "out") == []
    assert len(errors(tmp_path / "out")) == 1


def test_a_sideways_photograph_is_proposed_upright(tmp_path: Path, command: Callable[..., Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photograph(tmp_path / "a.jpg", width=40, height=30, exif=exif)
    assert command("propose", tmp_path / "a.jpg", "--out", tmp_path / "out").exit_code == 0
    (image,) = read(tmp_path / "out/images.json")["images"]
    assert (image["width"], image["height"]) == (30, 40)


def test_an_interruption_keeps_what_was_done(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.png", "2.png", "3.png"):
        write_photograph(tmp_path / "in" / name)
    from instancefcn.apps import results

    def interrupted_at_third(path: Path, size: Any = None) -> Any:
        if path.name == "3.png":
            raise KeyboardInterrupt
        return read_image(path, size)

    read_image = results.read_image
    monkeypatch.setattr(results, "read_image", interrupted_at_third)
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 130
    assert names(tmp_path / "out") == ["1.png", "2.png"]
    assert len(read(tmp_path / "out/proposals.json")) == 6
    assert "interrupted after 2 of 3 images" in done.stderr


# With annotations.


def annotations(path: Path, *images: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"images": list(images), "annotations": [], "categories": []}))
    return path


def entry(image_id: int, name: str, width: int = 40, height: int = 30) -> dict[str, Any]:
    return {"id": image_id, "file_name": name, "width": width, "height": height}


def test_images_and_ids_of_annotations(tmp_path: Path, command: Callable[..., Any]) -> None:
    for name in ("a.jpg", "sub/b.jpg", "unlisted.jpg"):
        write_photograph(tmp_path / "in" / name)
    listed = [entry(139, "sub/b.jpg"), entry(7, "a.jpg")]
    out = tmp_path / "out"
    coco = annotations(tmp_path / "coco.json", *listed)
    done = command("propose", tmp_path / "in", "--annotations", coco, "--out", out, "--overlays")
    assert done.exit_code == 0, done.output
    assert read(out / "images.json")["images"] == listed
    assert [result["image_id"] for result in read(out / "proposals.json")] == [139] * 3 + [7] * 3
    assert (out / "overlays/sub/b.jpg").exists()


def test_a_missing_image_and_one_of_another_size_are_reported(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in/a.jpg")
    write_photograph(tmp_path / "in/b.jpg")
    coco = annotations(tmp_path / "coco.json", entry(1, "gone.jpg"), entry(2, "a.jpg", width=41), entry(3, "./b.jpg"))
    out = tmp_path / "out"
    assert command("propose", tmp_path / "in", "--annotations", coco, "--out", out).exit_code == 1
    assert [(error["image_id"], error["file_name"]) for error in errors(out)] == [(1, "gone.jpg"), (2, "a.jpg")]
    assert "no such file" in errors(out)[0]["reason"]
    assert "41" in errors(out)[1]["reason"]
    assert read(out / "images.json")["images"] == [entry(3, "b.jpg")]


def test_annotations_of_the_stored_frame_are_kept_to(tmp_path: Path, command: Callable[..., Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photograph(tmp_path / "in/a.jpg", width=40, height=30, exif=exif)
    coco = annotations(tmp_path / "coco.json", entry(1, "a.jpg", width=40, height=30))
    assert command("propose", tmp_path / "in", "--annotations", coco, "--out", tmp_path / "out").exit_code == 0
    assert read(tmp_path / "out/proposals.json")[0]["segmentation"]["size"] == [30, 40]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "sub/../../secret.png", "..", ".", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    coco = annotations(tmp_path / "coco.json", entry(1, name))
    done = command("propose", tmp_path / "in", "--annotations", coco, "--out", tmp_path / "out", "--overlays")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "file name" in done.stderr or "file_name" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not a JSON file"),
        ("[]", 'no list "images" of objects'),
        ('{"images": {}}', 'no list "images" of objects'),
        ('{"images": [3]}', 'no list "images" of objects'),
        ('{"images": [{"id": "x", "file_name": "a.png", "height": 3, "width": 4}]}', "images[0]: id 'x' is no whole"),
        (json.dumps({"images": [entry(1, "a.png"), entry(1, "b.png")]}), "images[0] (id 1): duplicate id 1"),
        (json.dumps({"images": [entry(1, "a.png"), entry(2, "a.png")]}), "a.png is images 1 and 2"),
    ],
)
def test_annotations_that_cannot_be_used(
    content: str, complaint: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    coco = tmp_path / "coco.json"
    coco.write_text(content)
    done = command("propose", tmp_path, "--annotations", coco, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


# Wrong usage.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png"],
        ["--out", "out"],
        ["missing.png", "--out", "out"],
        ["*.tif", "--out", "out"],
        ["empty", "--out", "out"],
        ["a.png", "--out", "a.png"],
        ["a.png", "--out", "out", "--max-proposals", "0"],
        ["a.png", "--out", "out", "--min-score", "1.5"],
        ["a.png", "--out", "out", "--precision", "fp64"],
        ["a.png", "--out", "out", "--tiles", "0"],
        ["a.png", "--out", "out", "--shown", "3"],
        ["a.png", "--out", "out.jsonl", "--to", "jsonl"],
        ["a.png", "--out", "out", "--checkpoint", "missing.safetensors"],
        ["a.png", "--out", "out", "--annotations", "missing.json"],
        ["a.png", "--out", "out", "--annotations", "coco.json"],
        [".", "empty", "--out", "out", "--annotations", "coco.json"],
    ],
)
def test_wrong_usage(
    arguments: list[str], tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photograph(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    annotations(tmp_path / "coco.json")
    monkeypatch.chdir(tmp_path)
    done = command("propose", *arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_input_is_written_over(tmp_path: Path, command: Callable[..., Any]) -> None:
    image = write_photograph(tmp_path / "overlays" / "a.jpg")
    images_json = annotations(tmp_path / "images.json", entry(1, "a.jpg"))
    (tmp_path / "labels" / "masks").mkdir(parents=True)
    os.link(image, tmp_path / "labels" / "masks" / "a.png")  # another name for the same file
    before = image.read_bytes(), images_json.read_bytes()
    for arguments in (
        [image, "--overlays"],
        [image, *LABELS],
        [image.parent, "--annotations", images_json],
    ):
        done = command("propose", *arguments, "--out", tmp_path)
        assert done.exit_code == 2
        assert "would write over an input" in done.stderr
    assert (image.read_bytes(), images_json.read_bytes()) == before


def test_a_rerun_leaves_no_pictures_that_contradict_it(tmp_path: Path, command: Callable[..., Any]) -> None:
    for name in ("a", "b"):
        write_photograph(tmp_path / "in" / f"{name}.png")
    out = tmp_path / "out"
    assert command("propose", tmp_path / "in", "--out", out, "--overlays", *LABELS).exit_code == 0
    (out / "overlays" / "mine.jpg").write_bytes(b"of a person")
    again = command("propose", tmp_path / "in" / "a.png", "--out", out, "--overlays")
    assert "removed 3 pictures of an earlier run" in again.stdout
    assert {path.name for path in (out / "overlays").iterdir()} == {"a.jpg", "mine.jpg"}
    assert not list((out / "labels" / "masks").iterdir())


def test_a_crafted_list_of_images_removes_nothing_elsewhere(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    for folder in (out / "overlays", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "victim.jpg").write_bytes(b"")
    (out / "victim.jpg").write_bytes(b"")
    for name in ("../victim.jpg", "overlays/../../victim.jpg", "victim.jpg", "overlays/../victim.jpg"):
        (out / "images.json").write_text(json.dumps({"images": [], "pictures": [name]}))
        assert command("propose", tmp_path / "in", "--out", out).exit_code == 0
    for pictures in (3, [3], {"a": 1}, None):
        (out / "images.json").write_text(json.dumps({"images": [], "pictures": pictures}))
        assert command("propose", tmp_path / "in", "--out", out).exit_code == 0
    assert (tmp_path / "victim.jpg").exists()
    assert (out / "victim.jpg").exists()


def test_a_rerun_keeps_a_persons_files_that_are_named_as_pictures(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    own = [tmp_path / "out" / "overlays" / "a.jpg", tmp_path / "out" / "labels" / "masks" / "a.png"]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of a person")
    for _ in range(2):
        done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
        assert done.exit_code == 0
        assert "removed" not in done.stdout
    assert [path.read_bytes() for path in own] == [b"of a person"] * 2


def test_a_rerun_removes_pictures_of_images_that_shared_a_stem(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "a.jpg").write_bytes(b"no image")  # fails, so images.json does not have it
    out = tmp_path / "out"
    assert command("propose", tmp_path / "in", "--out", out, *LABELS).exit_code == 1
    assert [path.name for path in (out / "labels" / "masks").iterdir()] == ["a.png.png"]
    assert "removed 1 pictures" in command("propose", tmp_path / "in" / "a.png", "--out", out).stdout
    assert not list((out / "labels" / "masks").iterdir())


def test_results_of_the_other_command_are_not_left_beside_new_ones(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "segments.json").write_text("[]")
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "give another --out" in done.stderr


def test_images_that_a_folder_holds_and_nobody_reads_are_counted(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "folder.jpg").mkdir()
    for name in ("b.NEF", "s/c.nef", "d.svg", "notes.txt", ".hidden.nef"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 0
    line = (
        "3 files left out: 2 .nef (a camera's raw data: export TIFF or JPEG); 1 .svg (drawings or layers: export PNG)"
    )
    assert line in done.stderr
    (tmp_path / "in" / "a.png").unlink()
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "no image in it (3 files left out: 2 .nef" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(("asked", "used"), [("fp32", "fp32"), ("bf16", "bf16"), ("auto", "bf16")])
def test_the_arithmetic_is_said_and_stored(
    asked: str, used: str, tmp_path: Path, command: Callable[..., Any], asked_for: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    done = command("propose", write_photograph(tmp_path / "a.png"), "--out", out, "--precision", asked)
    assert (done.exit_code, asked_for["precision"]) == (0, asked)
    assert ("computes in bf16, as --precision auto chose" in done.stderr) == (asked == "auto")
    info = read(out / "images.json").get("info", {"precision": "fp32"})
    assert info == {"precision": used}


def test_a_run_is_gone_on_with_in_its_own_arithmetic(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph, out = write_photograph(tmp_path / "a.png"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("instancefcn.apps.results.read_image", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert command("propose", photograph, "--out", out, "--precision", "auto").exit_code == 143
    refused = command("propose", photograph, "--out", out, "--resume", "--precision", "fp32")
    assert refused.exit_code == 1
    assert "--precision was 'bf16' and is 'fp32'" in refused.stderr
    assert command("propose", photograph, "--out", out, "--resume", "--precision", "bf16").exit_code == 0


def test_somebodys_annotations_are_not_written_over(tmp_path: Path, command: Callable[..., Any]) -> None:
    """``images.json`` is a likely name for a COCO file, too; a run's own may be replaced."""
    write_photograph(tmp_path / "in" / "a.jpg")
    labels = tmp_path / "out" / "images.json"
    labels.parent.mkdir()
    labels.write_text(json.dumps({"images": [], "annotations": [{"id": 1}], "categories": []}))
    before = labels.read_text()
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert f"{labels} holds annotations" in done.stderr
    assert labels.read_text() == before
    labels.unlink()
    for _ in range(2):
        assert command("propose", tmp_path / "in", "--out", tmp_path / "out").exit_code == 0
    labels = labels.rename(tmp_path / "out" / "metrics.json")
    before, results = labels.read_text(), tmp_path / "out" / "proposals.json"
    done = command("evaluate", results, "--annotations", labels, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "would write over an input" in " ".join(done.stderr.replace("│", " ").split())
    assert labels.read_text() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("objects.json", '{"images": [], "annotations": [{"id": 1}]}'),
        ("objects.json", '[{"id": 3, "annotations": []}]'),  # Label Studio's tasks
        ("images.json", '{"names": []}'),
        ("counts.csv", "my,own\n1,2\n"),
        ("errors.jsonl", "notes\n"),
    ],
)
def test_somebodys_file_of_the_name_of_a_result_is_not_written_over(
    name: str, content: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    write_photograph(tmp_path / "photos" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    done = command("propose", tmp_path / "photos", "--objects", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"{name} is there already" in " ".join(done.stderr.replace("│", "").split())
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == content


def test_a_runs_own_files_are_replaced(tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "photos" / "a.png")
    words = ("propose", tmp_path / "photos", "--objects", "--to", "jsonl", "--to", "coco", "--out", tmp_path / "out")
    assert [command(*words).exit_code for _ in range(2)] == [0, 0]
