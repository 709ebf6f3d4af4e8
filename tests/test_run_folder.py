"""One run at a time in a folder, and nothing left of those that were killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from instancefcn import run_folder as module
from instancefcn.run_folder import LOCK, run_file, run_folder

Holder = Callable[[Path], "subprocess.Popen[str]"]
HOLD = """
import sys, time
from pathlib import Path
from instancefcn.files import whole_file
from instancefcn.run_folder import run_file, run_folder
out = Path(sys.argv[1])
with (run_file if out.suffix else run_folder)(out), whole_file(out if out.suffix else out / "half.bin") as file:
    file.write(b"half")
    file.flush()
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder() -> Iterator[Holder]:
    """Start another process that holds a folder or a file and has half written one; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(out: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("held", "name"), [(run_folder, "out"), (run_file, "out.json")])
def test_a_second_run_is_refused_until_the_first_is_killed(
    held: Callable[[Path], AbstractContextManager[Path]], name: str, tmp_path: Path, holder: Holder
) -> None:
    out = tmp_path / name
    other = holder(out)
    with pytest.raises(ValueError, match=rf"{name}: another run, process {other.pid}, writes there: ") as caught:
        held(out).__enter__()
    assert str(out) in str(caught.value)
    folder = out if out.is_dir() else tmp_path
    assert len([*folder.glob(".*.tmp")]) == 1  # the other one is at work
    other.kill()
    other.wait()
    with held(out):
        assert not [*folder.glob(".*.tmp")]
        with pytest.raises(ValueError, match=f"process {os.getpid()},"):  # also twice in one process
            held(out).__enter__()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("of a person")
    with pytest.raises(ValueError, match="mine: is a file: give a folder"), run_folder(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_files_of_one_folder_are_held_one_by_one(tmp_path: Path, holder: Holder) -> None:
    holder(tmp_path / "a.json")
    with run_file(tmp_path / "b.json"):
        assert len([*tmp_path.glob(".a.json.*.tmp")]) == 1


def test_a_fork_does_not_hold_the_folder_of_a_dead_run(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from instancefcn.run_folder import run_folder
with run_folder(Path(sys.argv[1])):
    if os.fork():
        print("forked", flush=True)
        os._exit(0)
    time.sleep(30)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"forked\n"
        process.wait()
        with run_folder(tmp_path):
            pass


def test_only_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    held, deep = tmp_path / "held", tmp_path / "labels" / "masks"
    for folder in (held, deep):
        folder.mkdir(parents=True)
    left = ".last.state.0123456789abcdef.tmp"
    dead = [tmp_path / left, deep / left, deep / ".scan\n1.png.01234567.tmp"]
    kept = [held / LOCK, held / left, tmp_path / "a.tmp", tmp_path / ".a.tmp", tmp_path / ".a.0123456g.tmp"]
    for path in dead + kept:
        path.touch()
    with run_folder(tmp_path):
        assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in kept)


def test_a_folder_that_stayed_empty_goes_if_the_run_made_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there", "made", "filled"):
        with run_folder(tmp_path / name) as out:
            if name == "filled":
                (out / "a.txt").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filled", "there"]


def test_nothing_is_written_through_a_link_in_place_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("of a person")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=LOCK):
        run_folder(tmp_path).__enter__()
    assert (tmp_path / "mine").read_text() == "of a person"


def test_a_lock_that_its_holder_removes_while_we_wait_for_it_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = module._take, []

    def removed_meanwhile(lock: int) -> None:
        take(lock)
        if not taken:
            (tmp_path / LOCK).unlink()
        taken.append(lock)

    monkeypatch.setattr(module, "_take", removed_meanwhile)
    with run_folder(tmp_path):
        assert len(taken) == 2
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_file_system_without_locks_is_written_to_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "_take", refuse)
    with pytest.warns(UserWarning, match="would not be noticed"), run_folder(tmp_path):
        pass


def test_runs_that_start_at_once_hold_it_one_after_the_other(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from instancefcn.run_folder import run_folder
out, log = Path(sys.argv[1]), Path(sys.argv[2])
(out.parent / f"ready-{os.getpid()}").touch()
while len(list(out.parent.glob("ready-*"))) < 3:
    time.sleep(0.001)
held = 0
while held < 15:
    try:
        with run_folder(out):
            mark = out / "mark"
            mark.touch(exist_ok=False)
            time.sleep(0.002)
            mark.unlink()
        held += 1
    except ValueError:
        log.open("a").write("refused ")
        time.sleep(0.001)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(tmp_path / "log")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [run.communicate()[1] for run in runs] == [b""] * 3
    assert "refused" in (tmp_path / "log").read_text()


def test_a_folder_that_another_run_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, removed = os.open, []

    def open_late(path: Any, *arguments: Any) -> int:
        if not removed:
            removed.append(path)
            Path(path).parent.rmdir()
        return opened(path, *arguments)

    monkeypatch.setattr(module.os, "open", open_late)
    with run_folder(tmp_path / "run") as out:
        assert removed == [out / LOCK]
        assert out.is_dir()


def test_a_place_that_cant_be_written_to_is_named_and_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(PermissionError) as caught:
            run_folder(tmp_path / "out").__enter__()
    assert caught.value.filename == str(tmp_path / "out")
