"""``label`` and ``next``, in this process, with a proposer and a training that need no network."""

from __future__ import annotations

import base64
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from instancefcn.apps import label as label_module
from instancefcn.data.open import open_source
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.interrupts import Interrupted
from instancefcn.labelling.person_labels import open_labels
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.run_folder import run_folder
from instancefcn.training import loop
from labelled import HEIGHT, WIDTH, coco_annotation, labelme_shape, square, write_image, write_labelme

NAMES = [f"{number}.png" for number in range(1, 9)]
PER_IMAGE = ("labelme", "xanylabeling", "yolo", "geojson", "labels")

Command = Callable[..., Any]


class FakeProposer(Proposer):
    """One square object an image, which grows with every training."""

    def __init__(self) -> None:
        self.rule = ObjectRule(threshold=0.5)
        self.side, self.calls = 8, 0
        self.interrupted_at: int | None = None
        self.asked: list[Path | None] = []  # checkpoints

    def objects(self, image: Any, threshold: float | None = None, *, exclusive: bool = False) -> Proposals:
        self.calls += 1
        if self.calls == self.interrupted_at:
            raise KeyboardInterrupt
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[4 : 4 + self.side, 6 : 6 + self.side] = True
        rles = [encode(mask)]
        return Proposals(rles, tight_boxes(rles), np.array([0.75]), *image.shape[:2])


@pytest.fixture
def proposer(monkeypatch: pytest.MonkeyPatch) -> FakeProposer:
    fake = FakeProposer()

    def from_checkpoint(path: Any = None, **_: Any) -> FakeProposer:
        fake.asked.append(path)
        return fake

    monkeypatch.setattr(Proposer, "from_checkpoint", from_checkpoint)
    return fake


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, proposer: FakeProposer) -> list[dict[str, Any]]:
    """What trainings were asked for; one more image than before makes no difference to the fake."""
    asked: list[dict[str, Any]] = []

    def train(recipe: Any, sources: Any, out: Path, **options: Any) -> Path:
        names = sorted(Path(source.labels(index).file_name).name for source in sources for index in range(len(source)))
        asked.append({"names": names, "out": out, **options})
        out.mkdir(parents=True, exist_ok=True)
        if options["minutes"] == 99:
            raise KeyboardInterrupt
        (out / "best.safetensors").write_bytes(b"")
        proposer.side += 1
        return out / "best.safetensors"

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(label_module, "MIN_TO_TRAIN", 2)
    return asked


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in NAMES:
        write_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


def by_hand(folder: Path, *names: str) -> None:
    """Labels that a person drew in labelme, in a folder beside the photographs."""
    for name in names:
        write_labelme(
            folder, [labelme_shape([[2, 3], [12, 3], [12, 13]], label="grain")], name, imagePath=f"../photos/{name}.png"
        )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(command: Command, photos: Path, *options: Any, labels: str = "labels", code: int = 0) -> str:
    out = photos.parent / "out"
    done = command("label", photos, "--labels", photos.parent / labels, "--out", out, "--device", "cpu", *options)
    assert done.exit_code == code, done.output
    return done.output


def test_without_labels_the_shipped_checkpoint_proposes(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    before = contents(photos)
    told = run(command, photos, "-n", 3)
    assert "0 of 8 images are labelled" in told
    assert "training: none; 0 labelled images are too few" in told
    assert "8 objects in 8 images by the shipped checkpoint" in told
    assert trainings == []
    assert proposer.asked == [None]
    out = photos.parent / "out"
    assert sorted(contents(out / "proposals")) == [f"{number}.json" for number in range(1, 9)]
    assert contents(photos) == before
    assert not (out / ".staging").exists()
    listed = (out / "next.txt").read_text().splitlines()
    assert len(set(listed)) == 3
    assert set(listed) <= {str(photos / name) for name in NAMES}


def test_a_round_learns_from_the_labels_and_proposes_for_the_rest(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    by_hand(photos.parent / "labels", "1", "2")
    drawn = contents(photos.parent / "labels")
    told = run(command, photos, "--minutes", 3)
    assert "2 of 8 images are labelled" in told
    (asked,) = trainings
    assert (asked["names"], asked["minutes"]) == (["1.png", "2.png"], 3)
    assert (asked["init"], asked["keep_out"]) == ("auto", True)
    out = photos.parent / "out"
    assert proposer.asked == [out / "round-1/best.safetensors"]
    written = contents(out / "proposals")
    assert sorted(written) == [f"{number}.json" for number in range(3, 9)]
    shapes = json.loads(written["3.json"])["shapes"]
    assert [shape["label"] for shape in shapes] == ["grain"]  # as the person calls them
    assert contents(photos.parent / "labels") == drawn


def test_what_a_person_corrected_is_a_label_and_is_never_written_over(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    by_hand(photos.parent / "labels", "1", "2")
    run(command, photos)
    proposals = photos.parent / "out/proposals"
    before = contents(proposals)
    corrected = json.loads((proposals / "5.json").read_text())
    corrected["shapes"] += [labelme_shape([[20, 3], [28, 3], [28, 13]], label="grain")]
    (proposals / "5.json").write_text(json.dumps(corrected))
    (proposals / "notes.json").write_text("my own")
    kept = contents(proposals)
    told = run(command, photos)
    assert "and 1 are corrected" in told
    assert trainings[1]["names"] == ["1.png", "2.png", "5.png"]
    after = contents(proposals)
    assert after["5.json"] == kept["5.json"]
    assert after["notes.json"] == b"my own"
    others = [f"{number}.json" for number in (3, 4, 6, 7, 8)]
    assert all(after[name] != before[name] for name in others)  # proposed anew
    assert "5 objects in 5 images" in told


@pytest.mark.parametrize("form", ["labels", "xanylabeling", "cvat"])
def test_after_a_change_of_format_all_is_proposed_anew_and_corrections_count(
    form: str, photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    run(command, photos, "--to", "labelme")
    proposals = photos.parent / "out/proposals"
    corrected = json.loads((proposals / "5.json").read_text())
    corrected["shapes"] += [labelme_shape([[20, 3], [28, 3], [28, 13]], label="grain")]
    (proposals / "5.json").write_text(json.dumps(corrected))
    told = run(command, photos, "--to", form)
    assert "and 1 are corrected" in told
    assert "7 objects in 7 images" in told
    assert json.loads((proposals / "5.json").read_text()) == corrected
    if form == "cvat":
        assert len(open_source(f"cvat:{proposals / 'cvat.json'},{photos}")) == 7


def test_one_file_for_an_image_is_left_where_labelme_saved_it_flat(
    photos: Path, command: Command, proposer: FakeProposer
) -> None:
    """labelme's --output has no folders below."""
    for name in ("a/8.png", "a/9.png", "b/9.png"):
        write_image(photos / name)
    run(command, photos, "--only", "propose")
    proposals = photos.parent / "out/proposals"
    saved = json.loads((proposals / "a/9.json").read_text())
    saved |= {"imagePath": "../../photos/a/9.png", "shapes": []}
    (proposals / "9.json").write_text(json.dumps(saved))
    labels = photos.parent / "labels"
    by_hand(labels, "1")
    (labels / "2.json").symlink_to(proposals / "2.json")  # accepted
    assert "2 of 11 images are labelled" in run(command, photos, "--only", "find")
    assert (proposals / "a/9.json").exists()
    told = run(command, photos, "--only", "propose")
    assert f"2 of images that have labels now are removed from {proposals}" in told
    names = [f"{number}.json" for number in range(2, 10)]
    assert sorted(contents(proposals)) == [*names, "a/8.json", "b/9.json"]
    source = open_source(f"labelme:{proposals},{photos}")
    assert (len(source), list(source.problems)) == (len(names) + 2, [])
    assert "8 images had theirs" in run(command, photos, "--only", "propose")


def test_a_correction_that_cannot_be_read_is_told(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    run(command, photos)
    (photos.parent / "out/proposals/5.json").write_text('{"shapes": [')
    told = run(command, photos)
    assert f"1 problems in them; the first: {photos.parent / 'out/proposals/5.json'}: " in told


@pytest.mark.parametrize("form", ["labels", "yolo", "geojson"])
def test_a_problem_names_the_persons_own_file(
    form: str, photos: Path, command: Command, proposer: FakeProposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(command, photos, "--to", form, "--only", "propose")
    monkeypatch.chdir(photos.parent)
    theirs, proposals = Path("labels"), Path("out/proposals")
    shutil.copytree(proposals, theirs)
    for folder, stem in ((theirs, "3"), (proposals, "5")):
        (own,) = folder.rglob(f"{stem}.*")
        own.write_bytes(b"0 what is this?")
    done = command("label", "photos", "--labels", "labels", "--out", "out", "--only", "find", "--format", form)
    assert done.exit_code == 0, done.output
    for folder, stem in ((theirs, "3"), (proposals, "5")):
        (own,) = folder.rglob(f"{stem}.*")
        assert any("1 problems in them" in line and f" {own}: " in line for line in done.output.splitlines())
    assert "out/view-" not in done.output


@pytest.mark.parametrize("form", PER_IMAGE)
def test_corrections_of_images_that_share_a_stem_are_found(
    form: str, photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    proposals = photos.parent / "out/proposals"
    told = run(command, photos, "--to", form)
    write_image(photos / "6.bmp")
    change(proposals, form, "6")  # before its image shares the stem
    write_image(photos / "5.bmp")
    told = run(command, photos, "--to", form)
    assert "and 1 are corrected" in told
    if form == "yolo":
        assert "into " + str(proposals / "images") in told  # and not the staging folder
    stems = {path.stem for path in map(Path, contents(proposals))}
    assert {"5.bmp", "5.png"} <= stems
    assert "5" not in stems  # what was proposed before is not left beside them
    for stem in ("5.bmp", "5.png"):
        change(proposals, form, stem)
    told = run(command, photos, "--to", form, "--only", "find")
    assert "and 3 are corrected" in told
    assert "label no image" not in told


def change(proposals: Path, form: str, stem: str) -> None:
    """Correct a proposal, as a tool would."""
    (path,) = (path for path in proposals.rglob("*") if path.stem == stem)
    if form == "labels":
        Image.fromarray(np.array(Image.open(path))[:, ::-1]).save(path)
    elif form == "yolo":
        path.write_text(path.read_text() * 2)
    else:
        path.write_text(json.dumps(json.loads(path.read_text()), indent=3))


def test_classes_of_yolo_keep_their_numbers(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    """Numbers are all that corrected files say."""
    theirs, proposals = photos.parent / "labels", photos.parent / "out/proposals"
    (theirs / "labels").mkdir(parents=True)
    (theirs / "data.yaml").write_text("names: [dog, cell]\n")
    (theirs / "labels/1.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    run(command, photos, "--only", "propose")
    assert (proposals / "labels/2.txt").read_text().startswith("1 ")  # a cell
    (proposals / "labels/2.txt").write_text("1 0.1 0.1 0.6 0.1 0.5 0.5\n")
    (proposals / "labels/classes.txt").write_text("dog\ncell\n")  # as tools leave it
    (theirs / "labels/3.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    write_image(photos / "9.png")
    told = run(command, photos, "--only", "propose")
    assert "and 1 are corrected" in told
    assert "label no image" not in told
    assert (proposals / "labels/9.txt").read_text().startswith("2 ")  # an object, as the labels are of two categories
    assert yaml.safe_load((proposals / "data.yaml").read_text())["names"] == {0: "dog", 1: "cell", 2: "object"}


def test_another_format_takes_the_place_of_the_one_before(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    proposals = photos.parent / "out/proposals"
    run(command, photos, "--only", "propose")
    (proposals / "3.json").write_text("corrected")
    run(command, photos, "--only", "propose", "--to", "geojson")
    assert [name for name in sorted(contents(proposals)) if name.endswith(".json")] == ["3.json"]
    assert len(contents(proposals)) == 1 + 8


def test_another_picture_or_category_is_proposed_anew(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    run(command, photos, "--only", "propose")
    write_image(photos / "5.png", HEIGHT * 2)
    assert "7 images had theirs" in run(command, photos, "--only", "propose")
    proposals = photos.parent / "out/proposals"
    assert json.loads((proposals / "5.json").read_text())["imageHeight"] == HEIGHT * 2
    assert "8 objects in 8 images" in run(command, photos, "--only", "propose", "--tolerance", 2)
    by_hand(photos.parent / "labels", "1")
    assert "7 objects in 7 images" in run(command, photos, "--only", "propose", "--tolerance", 2)
    assert json.loads((proposals / "2.json").read_text())["shapes"][0]["label"] == "grain"


@pytest.mark.parametrize("places", [("a", "b"), ("train/images", "val/images"), ("images", "labels")])
@pytest.mark.parametrize("form", PER_IMAGE)
def test_equal_stems_in_folders_below_are_kept_apart(
    form: str,
    places: tuple[str, str],
    photos: Path,
    command: Command,
    proposer: FakeProposer,
    trainings: list[Any],
) -> None:
    for number, place in enumerate(places, start=2):
        write_image(photos / place / "9.png", HEIGHT * number)
    run(command, photos, "--to", form)
    proposals, theirs = photos.parent / "out/proposals", photos.parent / "labels"
    for name in contents(proposals):
        if Path(name).stem in ("9", "data"):
            (theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (theirs / name).write_bytes((proposals / name).read_bytes())
    given = ["--format", form] if form == "xanylabeling" else []
    told = run(command, photos, *given)
    assert f"2 of 10 images are labelled in {theirs} ({form})" in told  # the format is guessed, too
    assert "problems" not in told
    assert trainings[0]["names"] == ["9.png", "9.png"]
    source = open_labels(form, theirs, photos, photos.parent / "view")
    assert {(Path(one.path or "").resolve(), one.height) for one in map(source.labels, range(2))} == {
        (photos / places[0] / "9.png", HEIGHT * 2),
        (photos / places[1] / "9.png", HEIGHT * 3),
    }


@pytest.mark.parametrize("form", [*PER_IMAGE, "coco"])
def test_images_in_linked_folders_are_labelled(
    form: str, photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    write_image(photos.parent / "elsewhere/9.png")
    (photos / "linked").symlink_to(photos.parent / "elsewhere")
    assert "9 objects in 9 images" in run(command, photos, "--to", form)
    (photos.parent / "out/proposals").rename(photos.parent / "labels")
    told = run(command, photos, "--only", "find", "--format", form)
    assert f"9 of 9 images are labelled in {photos.parent / 'labels'} ({form})" in told
    assert "problems" not in told


@pytest.mark.parametrize("place", ["photos/maps", "photos/kept/masks"])
def test_label_maps_among_the_photographs_are_none(
    place: str, photos: Path, command: Command, proposer: FakeProposer
) -> None:
    """A photograph in a folder below shares its stem with its map."""
    (photos / "below").mkdir()
    for name in ("1.png", "2.png"):
        (photos / name).rename(photos / "below" / name)
        (photos.parent / place).mkdir(parents=True, exist_ok=True)
        Image.open(photos / "below" / name).convert("L").save(photos.parent / place / name)
    labels = place.removesuffix("/masks")
    told = run(command, photos, "--only", "find", "--format", "labels", labels=labels)
    assert f"2 of {len(NAMES)} images are labelled in {photos.parent / labels} (labels)" in told
    run(command, photos, "--only", "propose", "--format", "labels", "--to", "labelme", labels=labels)
    found = sorted((photos.parent / "out/proposals").rglob("*.json"))
    assert [path.stem for path in found] == [Path(name).stem for name in NAMES[2:]]


def test_labels_of_no_image_or_of_several_are_told(photos: Path, command: Command) -> None:
    write_image(photos / "a/9.png")
    write_image(photos / "b/9.png")
    labels = photos.parent / "labels"
    labels.mkdir()
    for name in ("1.txt", "9.txt", "of-none.txt", "classes.txt"):
        (labels / name).write_text("0 0.1 0.1 0.4 0.1 0.4 0.4\n")
    told = run(command, photos, "--only", "find")
    assert "1 of 10 images are labelled" in told
    assert f"2 files there label no image: none of the name is in {photos}, or several; the first: {labels}" in told


@pytest.mark.parametrize("name", ["annotations/instances_default.json", "annotations.xml"])
@pytest.mark.parametrize("given", [[], ["--format", "cvat"]])
def test_an_unpacked_export_of_cvat_is_read(name: str, given: list[str], photos: Path, command: Command) -> None:
    size = {"height": HEIGHT, "width": WIDTH}
    shape = coco_annotation(1, attributes={"occluded": False})
    table = {"images": [{"id": 1, "file_name": "3.png", **size}], "annotations": [shape], "categories": [{"id": 1}]}
    image = f'<image id="0" name="3.png" width="{WIDTH}" height="{HEIGHT}">'
    polygon = '<polygon label="cell" points="2,3;10,3;10,11;2,11"/>'
    path = photos.parent / "labels" / name
    path.parent.mkdir(parents=True)
    xml = f"<annotations>{image}{polygon}</image></annotations>"
    path.write_text(xml if path.suffix == ".xml" else json.dumps(table))
    told = run(command, photos, "--only", "find", *given)
    assert f"1 of 8 images are labelled in {photos.parent / 'labels'} (cvat)" in told
    told = run(command, photos, "--only", "find", *given, labels=f"labels/{name}")
    assert "1 of 8 images are labelled" in told


def test_images_that_cannot_be_read_leave_exit_code_1(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    (photos / "3.png").write_bytes(b"no image")
    told = run(command, photos, code=1)
    assert "1 images can't be read" in told
    assert "next: label these 7 of 7 images" in told  # the rest is done
    assert str(photos / "3.png") not in (photos.parent / "out/next.txt").read_text()
    assert "7 objects in 7 images" in told


def test_a_file_that_a_person_put_there_is_left_alone_and_counted(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    proposals = photos.parent / "out/proposals"
    proposals.mkdir(parents=True)
    (proposals / "4.json").write_text("no labelme file at all")
    told = run(command, photos)
    assert (proposals / "4.json").read_text() == "no labelme file at all"
    assert "1 files are yours, and left alone: 4.json" in told
    assert "7 objects in 7 images" in told


def test_the_same_labels_are_not_learnt_twice_and_proposals_not_made_twice(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    by_hand(photos.parent / "labels", "1", "2")
    run(command, photos)
    calls = proposer.calls
    told = run(command, photos)
    assert "training: none; the labels are those of the last round" in told
    assert "6 images had theirs from this round already" in told
    assert (len(trainings), proposer.calls) == (1, calls)


def test_a_round_starts_from_the_shipped_checkpoint_or_from_the_last_best(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    for number, options in enumerate(([], [], ["--init", "last"], ["--init", "shipped"]), start=2):
        by_hand(photos.parent / "labels", "1", str(number))
        run(command, photos, *options)
    second = str(photos.parent / "out/round-2/best.safetensors")
    assert [(asked["init"], asked["keep_out"]) for asked in trainings] == [
        ("auto", True),
        ("auto", True),
        (second, False),  # it has seen what would be kept out
        ("auto", True),
    ]


def test_interrupted_proposing_goes_on(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    proposer.interrupted_at = 4
    assert "the same command goes on" in run(command, photos, code=130)
    assert len(contents(photos.parent / "out/proposals")) == 3
    told = run(command, photos)
    assert "5 objects in 5 images" in told
    assert "3 images had theirs" in told
    assert proposer.calls == 9


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_told_with_what_was_kept(
    photos: Path, command: Command, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setattr(label_module, "propose", lambda *_: signal.raise_signal(number))
    name = signal.Signals(number).name
    assert f"stopped by {name}\nthe same command goes on" in run(command, photos, "--only", "propose", code=code)

    def train(*_: Any, **__: Any) -> Path:
        raise Interrupted(number, "training is saved after iteration 7")

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(label_module, "MIN_TO_TRAIN", 2)
    by_hand(photos.parent / "labels", "1", "2")
    told = run(command, photos, "--only", "train", code=code)
    assert "training is saved after iteration 7\nthe same command goes on" in told


def test_an_interrupted_training_goes_on_and_is_left_where_labels_changed(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    by_hand(photos.parent / "labels", "1", "2")
    run(command, photos, "--minutes", 99, code=130)
    run(command, photos, "--minutes", 99, code=130)
    by_hand(photos.parent / "labels", "3")
    run(command, photos)
    out = photos.parent / "out"
    assert [asked["out"] for asked in trainings] == [out / "round-1", out / "round-1", out / "round-2"]
    assert all(asked["resume"] for asked in trainings)
    assert proposer.asked == [out / "round-2/best.safetensors"]


def test_each_step_alone(photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]) -> None:
    by_hand(photos.parent / "labels", "1", "2")
    out = photos.parent / "out"
    told = run(command, photos, "--only", "find")
    assert ("2 of 8" in told, (out / "rounds.json").exists()) == (True, False)
    run(command, photos, "--only", "train")
    assert (len(trainings), (out / "proposals").exists()) == (1, False)
    run(command, photos, "--only", "propose")
    assert (len(contents(out / "proposals")), (out / "next.txt").exists()) == (6, False)
    run(command, photos, "--only", "next")
    assert (len(trainings), (out / "next.txt").exists()) == (1, True)


@pytest.mark.parametrize("form", PER_IMAGE)
def test_files_for_each_image_are_found_wherever_they_lie(
    form: str, photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    run(command, photos, "--to", form)
    proposals = photos.parent / "out/proposals"
    theirs = photos.parent / "labels"
    for name in contents(proposals):  # the person accepts three as they are
        if Path(name).stem in ("1", "4", "7", "data"):
            (theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (theirs / name).write_bytes((proposals / name).read_bytes())
    told = run(command, photos, *(["--format", form] if form == "xanylabeling" else []))
    assert "3 of 8 images are labelled" in told
    assert trainings[0]["names"] == ["1.png", "4.png", "7.png"]
    assert "5 objects in 5 images" in told


@pytest.mark.parametrize("form", PER_IMAGE)
def test_corrections_in_place_are_found_in_every_format(
    form: str, photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    run(command, photos, "--to", form)
    proposals = photos.parent / "out/proposals"
    kept = contents(proposals)
    proposer.side = 5
    other = contents(_written(command, photos, form))
    for name in kept:
        if Path(name).stem in ("2", "3"):
            (proposals / name).write_bytes(other[name])
    told = run(command, photos, "--to", form)
    assert "and 2 are corrected" in told
    assert trainings[0]["names"] == ["2.png", "3.png"]
    after = contents(proposals)
    assert all(after[name] == other[name] for name in other if Path(name).stem in ("2", "3"))


def _written(command: Command, photos: Path, form: str) -> Path:
    """Proposals of another folder at the same depth: what a person's tool may have saved."""
    out = photos.parent / "else"
    done = command("label", photos, "--labels", photos.parent / "labels", "--out", out, "--to", form)
    assert done.exit_code == 0, done.output
    return out / "proposals"


def test_a_file_for_all_images_labels_those_with_objects(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    size = {"height": HEIGHT, "width": WIDTH}
    images = [{"id": number, "file_name": name, **size} for number, name in enumerate(NAMES, start=1)]
    annotations = [
        {"id": number, "image_id": number, "category_id": 1, "segmentation": [square(2, 3)], "iscrowd": 0}
        for number in (1, 2)
    ]
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "grain"}]}
    (photos.parent / "labels.json").write_text(json.dumps(table))
    told = run(command, photos, labels="labels.json")
    assert "2 of 8 images are labelled" in told
    assert trainings[0]["names"] == ["1.png", "2.png"]
    written = photos.parent / "out/proposals/coco.json"
    proposed = open_source(f"coco:{written},{photos}")
    assert [proposed.labels(index).file_name for index in range(len(proposed))] == NAMES[2:]
    written.write_text("changed")
    annotations.append(annotations[0] | {"id": 3, "image_id": 3})
    (photos.parent / "labels.json").write_text(json.dumps(table))
    told = run(command, photos, labels="labels.json")
    assert written.read_text() == "changed"
    assert "1 files are yours, and left alone: coco.json" in told
    again = open_source(f"coco:{written.with_name('coco-round-2.json')},{photos}")
    assert len(again) == 5


@pytest.mark.parametrize("form", ["coco", "cvat", "labelstudio"])
def test_a_file_for_all_images_is_made_anew_for_images_that_it_does_not_hold(
    form: str, photos: Path, command: Command, proposer: FakeProposer
) -> None:
    def proposed(*options: Any, code: int = 0) -> tuple[str, list[str]]:
        told = run(command, photos, "--to", form, "--only", "propose", *options, code=code)
        source = open_source(f"{form}:{photos.parent / f'out/proposals/{form}.json'},{photos}")
        return told, sorted(source.labels(index).file_name for index in range(len(source)))

    (photos / "3.png").write_bytes(b"no image")
    by_hand(photos.parent / "labels", "1")
    others = NAMES[1:2] + NAMES[3:]
    assert proposed(code=1)[1] == others
    calls = proposer.calls
    told, names = proposed(code=1)  # still no image
    assert ("6 images had theirs" in told, names, proposer.calls) == (True, others, calls)
    write_image(photos / "3.png")
    told, names = proposed()
    assert ("7 objects in 7 images" in told, names) == (True, NAMES[1:])
    (photos.parent / "labels/1.json").unlink()  # a label no more
    write_image(photos / "9.png")
    told, names = proposed()
    assert ("9 objects in 9 images" in told, names) == (True, [*NAMES, "9.png"])
    calls = proposer.calls
    assert "9 images had theirs" in proposed()[0]
    written = photos.parent / f"out/proposals/{form}.json"
    written.write_text("changed")
    assert "9 objects in 9 images" in run(command, photos, "--to", form, "--only", "propose")
    assert "9 images had theirs" in run(command, photos, "--to", form, "--only", "propose")  # in FORM-round-0.json
    assert (proposer.calls, written.read_text()) == (calls + 9, "changed")


def test_predictions_are_no_persons_labels(
    photos: Path, command: Command, proposer: FakeProposer, trainings: list[Any]
) -> None:
    """Label Studio exports what it was given beside what was drawn."""
    run(command, photos, "--to", "labelstudio", "--only", "propose")
    tasks = json.loads((photos.parent / "out/proposals/labelstudio.json").read_text())
    drawn, skipped = (
        {"result": task["predictions"][0]["result"], "was_cancelled": task is tasks[1]} for task in tasks[:2]
    )
    tasks[0]["annotations"], tasks[1]["annotations"] = [drawn], [skipped]
    labels = photos.parent / "labels.json"
    labels.write_text(json.dumps(tasks))
    told = run(command, photos, "--only", "find", labels="labels.json")
    assert f"1 of 8 images are labelled in {labels} (labelstudio)" in told
    found = next_images(command, photos, "--data", f"labelstudio:{labels},{photos}", "-n", 20).stdout
    assert sorted(found.splitlines()) == [str(photos / name) for name in NAMES[1:]]


@pytest.mark.parametrize(("labels", "out"), [("labels", "labels/out"), ("photos", "photos/out"), ("out/mine", "out")])
def test_output_among_a_persons_files_is_refused(labels: str, out: str, photos: Path, command: Command) -> None:
    root = photos.parent
    done = command("label", photos, "--labels", root / labels, "--out", root / out)
    assert done.exit_code == 2
    assert "lie in each other" in " ".join(done.output.replace("│", " ").split())
    assert contents(root).keys() == {f"photos/{name}" for name in NAMES}


def test_a_format_that_is_not_clear_is_asked_for(photos: Path, command: Command) -> None:
    by_hand(photos.parent / "labels", "1")
    (photos.parent / "labels" / "1.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.4\n")
    assert "the format is not clear (labelme or yolo): give --format" in run(command, photos, code=1)


def next_images(command: Command, photos: Path, *options: Any) -> Any:
    done = command("next", "--pool", photos, *options)
    assert done.exit_code == 0, done.output
    return done


def test_next_leaves_out_what_is_labelled(photos: Path, command: Command) -> None:
    write_labelme(photos, [labelme_shape([[2, 3], [12, 3], [12, 13]])], "3")
    write_labelme(photos.parent / "elsewhere", [], "5")  # of the same name
    specs = [f"labelme:{photos}", f"labelme:{photos.parent / 'elsewhere'}"]
    done = next_images(
        command, photos, "--data", specs[0], "--data", specs[1], "-n", 20, "--out", photos.parent / "n.txt"
    )
    paths = done.stdout.splitlines()
    assert sorted(paths) == [str(photos / name) for name in NAMES if name not in ("3.png", "5.png")]
    assert (photos.parent / "n.txt").read_text().splitlines() == paths
    assert "6 of 8 images are not labelled" in done.stderr
    assert done.stderr.count(".png") == 6


@pytest.mark.parametrize(("colour", "left"), [((1, 2, 3), 8), (None, 7)])
def test_next_leaves_out_a_copy_but_no_other_picture_of_the_name(
    colour: tuple[int, int, int] | None, left: int, photos: Path, command: Command
) -> None:
    """Cameras begin their numbers anew; and labels may come with copies of their images."""
    other = photos.parent / "elsewhere" / "3.png"
    write_labelme(other.parent, [labelme_shape([[2, 3], [12, 3], [12, 13]])], "3")
    if colour is None:
        shutil.copy(photos / "3.png", other)
    else:
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(other)
    done = next_images(command, photos, "--data", f"labelme:{other.parent}", "-n", 20)
    assert len(done.stdout.splitlines()) == left


def test_next_takes_images_that_a_file_for_all_lists_without_an_object(photos: Path, command: Command) -> None:
    """CVAT exports every image of a task."""
    images = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(NAMES, start=1)]
    drawn = {"id": 1, "image_id": 3, "category_id": 1, "segmentation": [[2, 3, 12, 3, 12, 13]], "iscrowd": 0}
    unsound = {"id": 2, "image_id": 4, "category_id": 1, "bbox": [1, 1, 5, 5]}
    content = {"images": images, "annotations": [drawn, unsound], "categories": [{"id": 1, "name": "a"}]}
    labels = photos.parent / "export.json"
    labels.write_text(json.dumps(content))
    done = next_images(command, photos, "--data", f"cvat:{labels},{photos}", "-n", 20)
    assert sorted(done.stdout.splitlines()) == [str(photos / name) for name in sorted({*NAMES} - {*NAMES[2:4]})]


def test_next_leaves_out_what_labelme_embeds(photos: Path, command: Command) -> None:
    content = base64.b64encode((photos / "3.png").read_bytes()).decode()
    labels = photos.parent / "labels"
    write_labelme(labels, [], "of three", imagePath="..\\photos\\3.png", imageData=content)
    found = next_images(command, photos, "--data", f"labelme:{labels}", "-n", 20)
    assert sorted(found.stdout.splitlines()) == [str(photos / name) for name in NAMES if name != "3.png"]


def test_pictures_of_runs_in_folders_below_are_no_photographs(photos: Path, command: Command) -> None:
    run = photos / "deep" / "found"
    drawn = [write_image(run / name) for name in ("labels/masks/1.png", "overlays/1.jpg")]
    listed = [path.relative_to(run).as_posix() for path in drawn]
    (run / "images.json").write_text(json.dumps({"images": [], "pictures": listed}))
    assert sorted(next_images(command, photos, "-n", 20).stdout.split()) == [str(photos / name) for name in NAMES]


@pytest.mark.parametrize("out", ["photos/next.txt", "next.txt"])
def test_next_leaves_out_what_a_run_drew_and_no_others(out: str, photos: Path, command: Command) -> None:
    own = [write_image(photos / name) for name in ("labels/a.png", "labels/masks/b.png", "overlays/c.jpg")]
    drawn = [write_image(photos / name) for name in ("labels/masks/1.png", "overlays/1.jpg")]
    listed = [path.relative_to(photos).as_posix() for path in drawn]
    (photos / "images.json").write_text(json.dumps({"images": [], "pictures": listed}))
    for options in ([], ["--out", photos.parent / out]):
        paths = next_images(command, photos, "-n", 20, *options).stdout.splitlines()
        assert sorted(paths) == sorted(str(path) for path in [*own, *(photos / name for name in NAMES)])


def test_next_writes_over_no_image_and_no_labels(photos: Path, command: Command) -> None:
    labels = photos.parent / "labels.json"
    images = [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}]
    labels.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    for path in (photos / "2.png", labels):
        before = path.read_bytes()
        done = command("next", "--pool", photos, "--data", f"coco:{labels},{photos}", "--out", path)
        assert (done.exit_code, path.read_bytes()) == (2, before)
        assert "would write over an input" in " ".join(done.output.replace("│", " ").split())


def test_next_is_by_chance_unless_it_is_asked(photos: Path, command: Command, proposer: FakeProposer) -> None:
    draws = [next_images(command, photos, "-n", 4, "--seed", seed).stdout for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert proposer.asked == []
    done = next_images(command, photos, "-n", 2, "--by", "uncertain")
    assert len(done.stdout.splitlines()) == 2
    assert "uncertain 0.188" in done.stderr  # 0.75 * 0.25
    assert proposer.asked == [None]


def test_a_second_run_into_the_same_folder_is_refused(photos: Path, command: Command, proposer: FakeProposer) -> None:
    with run_folder(photos.parent / "out"):
        told = run(command, photos, code=1)
    assert "out: another run" in told
    assert proposer.calls == 0


def test_an_image_that_memory_is_too_small_for_is_told_of(
    photos: Path, command: Command, proposer: FakeProposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, sizes = proposer.objects, []

    def objects(image: Any, *arguments: Any, **options: Any) -> Proposals:
        sizes.append(image.shape)
        if len(sizes) == 3:
            raise MemoryError("there is not enough memory")
        return find(image, *arguments, **options)

    monkeypatch.setattr(proposer, "objects", objects)
    told = run(command, photos, code=1)
    assert "3.png: there is not enough memory" in told
    assert "7 objects in 7 images" in told
