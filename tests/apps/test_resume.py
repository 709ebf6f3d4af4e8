"""Runs over images that stop: what they leave, and that ``--resume`` ends as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.conftest import Command
from instancefcn import journal
from instancefcn.apps import results
from instancefcn.data.result_files import read_results
from instancefcn.inference.proposer import Proposer
from instancefcn.run_folder import run_folder
from pictures import FIRST_WIDTH, tree, write_photograph, write_photographs

pytestmark = pytest.mark.usefixtures("asked_for")
COUNT = 6  # images; the second is none


@pytest.fixture(autouse=True)
def synced_after_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SYNC_SECONDS", -1.0)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "in", COUNT, damaged=[1])


def when_written(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], Any]) -> None:
    """Do something when what was found in an image is about to be written."""
    write = results.ResultsFolder._write

    def acting(self: Any, image: Any, *arguments: Any, **options: Any) -> None:
        if image.file_name == name:
            act()
        write(self, image, *arguments, **options)

    monkeypatch.setattr(results.ResultsFolder, "_write", acting)


def when_proposing(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], Any]) -> None:
    """Do something when an image, which is read, is at work."""
    kind: Any = type(Proposer.from_checkpoint())
    propose = kind.__call__

    def acting(self: Any, image: np.ndarray, **options: Any) -> Any:
        if image.shape[1] == FIRST_WIDTH + number:
            act()
        return propose(self, image, **options)

    monkeypatch.setattr(kind, "__call__", acting)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are read from now on."""
    noted: list[str] = []
    read_image = results.read_image

    def noting(path: Path, size: Any = None) -> Any:
        noted.append(path.name)
        return read_image(path, size)

    monkeypatch.setattr(results, "read_image", noting)
    return noted


def test_the_next_image_is_read_and_the_last_one_written_meanwhile(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    read, written = reads(monkeypatch), threading.Event()
    when_written(monkeypatch, "2.png", written.set)

    def act() -> None:
        end = time.monotonic() + 20
        while "4.png" not in read and time.monotonic() < end:
            time.sleep(0.001)
        seen.append("4.png" in read and written.wait(20))

    when_proposing(monkeypatch, 3, act)
    when_proposing(monkeypatch, 3, lambda: (time.sleep(0.05), seen.append("5.png" not in read)))  # the first to act
    assert command("propose", photographs, "--out", photographs.parent / "out").exit_code == 1
    assert seen == [True, True]
    assert read == [f"{number}.png" for number in range(COUNT)]


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--to", "jsonl", "--to", "coco", "--max-proposals", 3],
        ["--to", "parquet", "--min-score", 0.5],
        ["--objects", "--overlays", "--to", "labels", "--to", "cvat", "--to", "labelme", "--to", "yolo"],
    ],
)
def test_a_run_that_was_killed_at_any_image_ends_as_an_undisturbed_one(
    options: list[Any], number: int, photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on the disk at that moment is what a kill leaves."""
    whole, killed = photographs.parent / "whole", photographs.parent / "killed"
    when_written(monkeypatch, f"{number}.png", lambda: shutil.copytree(whole, killed))
    done = command("propose", photographs, "--out", whole, *options)
    read = reads(monkeypatch)
    monkeypatch.setattr(shutil, "copytree", lambda *_: None)
    again = command("propose", photographs, "--out", killed, *options, "--resume")
    assert (done.exit_code, again.exit_code) == (1, 1)
    before, said, after = again.stderr.partition(f"going on after {number} of 6 images")
    assert said
    assert ("taking up" in after, "taking up" in before) == ("cvat" in options, False)  # a bar, as it may take long
    assert sorted(read) == [f"{later}.png" for later in range(number, COUNT)]
    assert tree(killed) == tree(whole)
    assert again.stdout.replace(str(killed), str(whole)) == done.stdout


@pytest.mark.parametrize("form", ["cvat", "labelstudio", "coco"])
def test_one_file_goes_on_too(
    form: str, photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = photographs.parent / "whole" / "a.json", photographs.parent / "stopped" / "a.json"
    command("propose", photographs, "--out", whole, "--to", form)
    with monkeypatch.context() as patch:
        when_proposing(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert command("propose", photographs, "--out", stopped, "--to", form).exit_code == 143
    assert len(json.loads(stopped.read_text())) > 0
    assert command("propose", photographs, "--out", stopped, "--to", form, "--resume").exit_code == 1
    assert tree(stopped.parent) == tree(whole.parent)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_what_is_done_and_says_how_to_go_on(
    number: int, code: int, twice: bool, photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = photographs.parent / "whole", photographs.parent / "out"
    command("propose", photographs, "--out", whole)
    with monkeypatch.context() as patch:
        when_proposing(patch, 3, lambda: [os.kill(os.getpid(), number) for _ in range(1 + twice)])
        stopped = command("propose", photographs, "--out", out)
    assert stopped.exit_code == code
    read = 3 if twice else 4  # the second signal ends the image that is at work
    assert f"interrupted after {read} of 6 images, which are in {out}: " in stopped.stderr
    assert "the same command with --resume goes on" in stopped.stderr
    names = [image["file_name"] for image in json.loads((out / "images.json").read_text())["images"]]
    assert names == ["0.png", "2.png", "3.png"][: read - 1]
    ids = {result["image_id"] for result in json.loads((out / "proposals.json").read_text())}
    assert ids == set([1, 3, 4][: read - 1])
    again = command("propose", photographs, "--out", out, "--resume")
    assert f"going on after {read} of 6" in again.stderr
    assert tree(out) == tree(whole)


def test_without_resume_a_run_starts_anew_and_says_so(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = photographs.parent / "out"
    with monkeypatch.context() as patch:
        when_proposing(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        command("propose", photographs, "--out", out, "--overlays")
    assert len([*(out / "overlays").iterdir()]) == 3
    again = command("propose", photographs / "0.png", "--out", out)
    assert "starting anew: --resume would have gone on after 4 of 1 images" in again.stderr
    assert sorted(tree(out)) == ["errors.jsonl", "images.json", "proposals.json"]  # and no pictures of the other run
    again = command("propose", photographs / "0.png", "--out", out, "--resume")
    assert (again.exit_code, again.stderr.count("going on")) == (0, 0)  # none is unfinished


def stopped_run(photographs: Path, command: Callable[..., Any], patch: pytest.MonkeyPatch, *options: Any) -> Path:
    out = photographs.parent / "out"
    with patch.context() as inner:
        when_proposing(inner, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert command("propose", photographs, "--out", out, *options).exit_code == 143
    return out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-proposals", 2], "--max-proposals was None and is 2"),
        (["--min-score", 0.5, "--overlays"], "--min-score was None and is 0.5; --overlays was False and is True"),
        (["--to", "cvat"], "--to was [] and is ['cvat']"),
        (["--device", "cpu"], "--device was 'auto' and is 'cpu'"),
        (["--checkpoint", "other.safetensors"], "--checkpoint was"),
    ],
)
def test_other_settings_are_refused_by_name(
    options: list[Any], said: str, photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photographs.parent)
    Path("other.safetensors").write_bytes(b"weights")
    out = stopped_run(photographs, command, monkeypatch)
    before = tree(out)
    done = command("propose", photographs, "--out", out, "--resume", *options)
    assert done.exit_code == 1
    assert said in done.stderr
    assert "leave out --resume to start anew" in done.stderr
    assert tree(out) == before


def test_other_images_are_refused_by_name(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stopped_run(photographs, command, monkeypatch)
    before = tree(out)
    write_photograph(photographs / "6.png")  # to come, so it does not matter
    (photographs / "2.png").rename(photographs / "22.png")
    done = command("propose", photographs, "--out", out, "--resume")
    assert "image 3 of the unfinished run there, '2.png', is '3.png' now" in done.stderr
    (photographs / "22.png").rename(photographs / "2.png")
    write_photograph(photographs / "3.png", width=99)
    done = command("propose", photographs, "--out", out, "--resume")
    assert "image 4 of the unfinished run there, '3.png', has changed" in done.stderr
    done = command("propose", photographs / "0.png", "--out", out, "--resume")
    assert "image 2 of the unfinished run there, '1.png', is 'gone' now" in done.stderr
    before = {name: content for name, content in before.items() if not name.startswith(".unfinished")}
    assert {name: content for name, content in tree(out).items() if not name.startswith(".unfinished")} == before


def test_results_that_were_changed_meanwhile_are_not_gone_on_from(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stopped_run(photographs, command, monkeypatch)
    content = (out / "proposals.json").read_bytes()
    (out / "proposals.json").write_bytes(content.replace(b"0.9", b"0.8", 1))
    done = command("propose", photographs, "--out", out, "--resume")
    assert f"{out / 'proposals.json'}: changed since the run stopped" in done.stderr
    (out / "proposals.json").unlink()
    assert "gone since the run stopped" in command("propose", photographs, "--out", out, "--resume").stderr


def test_what_a_person_corrected_meanwhile_stays(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stopped_run(photographs, command, monkeypatch, "--to", "labelme")
    (out / "labelme" / "0.json").write_text("corrected")
    assert command("propose", photographs, "--out", out, "--to", "labelme", "--resume").exit_code == 1
    assert (out / "labelme" / "0.json").read_text() == "corrected"
    assert len([*(out / "labelme").iterdir()]) == COUNT - 1


def test_two_runs_at_once(photographs: Path, command: Callable[..., Any]) -> None:
    out = photographs.parent / "out"
    with run_folder(out):
        done = command("propose", photographs, "--out", out)
        assert done.exit_code == 1
        assert f"{out}: another run, process {os.getpid()}, writes there" in done.stderr
    assert tree(out) == {}


def interrupted(photographs: Path, command: Callable[..., Any], *options: Any) -> None:
    """A run that is told to end at its fourth image."""
    with pytest.MonkeyPatch.context() as patch:
        when_proposing(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert command("propose", photographs, *options).exit_code == 143


@pytest.mark.parametrize("form", ["cvat", "labelstudio", "yolo"])
def test_a_file_of_all_images_that_was_changed_since_stops_a_run_that_goes_on(
    form: str, photographs: Path, command: Callable[..., Any]
) -> None:
    out = photographs.parent / "out"
    options = ["--out", out, "--to", form]
    interrupted(photographs, command, *options)
    name = "yolo/data.yaml" if form == "yolo" else f"{form}.json"
    before = (out / name).read_bytes()
    (out / name).write_text("of a person")
    stopped = command("propose", photographs, *options, "--resume")
    assert stopped.exit_code == 1
    assert f"{out / name} was changed since the run stopped" in stopped.stderr
    assert (out / name).read_text() == "of a person"
    (out / name).write_bytes(before)
    command("propose", photographs, *options, "--resume")
    command("propose", photographs, "--out", photographs.parent / "whole", "--to", form)
    assert tree(out) == tree(photographs.parent / "whole")


def test_files_that_others_made_meanwhile_stay(photographs: Path, command: Callable[..., Any]) -> None:
    out = photographs.parent / "out"
    options = ["--out", out, "--to", "labelme"]
    interrupted(photographs, command, *options)
    (out / "labelme" / "5.json").write_text("of a person")
    done = command("propose", photographs, *options, "--resume")
    assert (out / "labelme" / "5.json").read_text() == "of a person"
    assert f"left as they were: {out / 'labelme' / '5.json'}" in done.stdout


# A full disk.


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A disk on which the journals may have some bytes more."""
    space: dict[str, float] = {"left": float("inf")}
    write, truncate = os.write, os.ftruncate

    def limited(descriptor: int, content: Any) -> int:
        if not space["left"] and len(content):
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, content[: int(min(space["left"], len(content)))])
        space["left"] -= written
        return written

    def freed(descriptor: int, size: int) -> None:
        space["left"] += os.fstat(descriptor).st_size - size
        truncate(descriptor, size)

    monkeypatch.setattr(journal.os, "write", limited)
    monkeypatch.setattr(journal.os, "ftruncate", freed)
    return space


@pytest.mark.parametrize("images", [0, 2])
def test_a_full_disk_is_named_and_leaves_what_fits(
    images: int, photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, disk: dict[str, float]
) -> None:
    whole, out = photographs.parent / "whole", photographs.parent / "out"
    command("propose", photographs, "--out", whole)
    with monkeypatch.context() as patch:
        when_written(patch, f"{2 * images}.png", lambda: disk.update(left=150))
        stopped = command("propose", photographs, "--out", out)
    assert stopped.exit_code == 1
    assert f"No space left on device: '{out / 'proposals.json'}'" in stopped.stderr
    assert [*out.rglob("*.tmp")] == []
    if not images:
        assert tree(out) == {}
        return
    assert len(json.loads((out / "proposals.json").read_text())) == 9
    disk["left"] = float("inf")
    assert command("propose", photographs, "--out", out, "--resume").exit_code == 1
    assert tree(out) == tree(whole)


def test_tables_of_a_full_disk_are_of_what_fits(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, disk: dict[str, float]
) -> None:
    """The last step of the compressed lines, which the table is made from, is cut in its middle."""
    out = photographs.parent / "out"
    with monkeypatch.context() as patch:
        when_written(patch, "4.png", lambda: disk.update(left=60))
        stopped = command("propose", photographs, "--out", out, "--to", "parquet")
    assert f"No space left on device: '{out / '.unfinished/proposals.jsonl.gz'}'" in stopped.stderr
    assert len([*read_results(out / "proposals.parquet")]) == 9


def test_a_full_disk_keeps_the_last_good_results(
    photographs: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, disk: dict[str, float]
) -> None:
    whole, out = photographs.parent / "whole", photographs.parent / "out"
    command("propose", photographs, "--out", whole)
    command("propose", photographs / "0.png", "--out", out)
    before = tree(out)
    with monkeypatch.context() as patch:
        when_written(patch, "4.png", lambda: disk.update(left=10))
        assert command("propose", photographs, "--out", out).exit_code == 1
    assert {name: content for name, content in tree(out).items() if ".unfinished" not in name} == before
    disk["left"] = float("inf")
    assert command("propose", photographs, "--out", out, "--resume").exit_code == 1
    assert tree(out) == tree(whole)


def test_nothing_is_written_through_a_link_in_place_of_an_output(
    photographs: Path, command: Callable[..., Any]
) -> None:
    out, mine = photographs.parent / "out", photographs.parent / "mine"
    links = ["proposals.json", "images.json", "errors.jsonl", "overlays/0.jpg", "labels/masks/0.png"]
    for name in links:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).symlink_to(mine)
    mine.write_text("of a person")
    assert command("propose", photographs / "0.png", "--out", out, "--overlays", "--to", "labels").exit_code == 0
    assert mine.read_text() == "of a person"
    with Image.open(out / "overlays" / "0.jpg") as overlay:
        assert np.asarray(overlay).shape == (30, 40, 3)


def test_where_no_image_can_be_read_the_earlier_results_stay(
    command: Command, photographs: Path, tmp_path: Path
) -> None:
    words = ("propose", photographs, "--objects", "--overlays", "--out", tmp_path / "out")
    command(*words)
    before = tree(tmp_path / "out")
    for path in photographs.iterdir():
        path.write_bytes(b"no image")
    for more in ([], ["--resume"]):
        done = command(*words, *more)
        assert done.exit_code == 1
        assert f"none of {COUNT} images can be read: {tmp_path / 'out'} stays as it was" in done.stderr
        assert tree(tmp_path / "out") == before
