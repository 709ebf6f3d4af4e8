"""Names of files that could steer a terminal, or that no text can hold."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instancefcn.apps.printing import printable, progress_bar, say
from instancefcn.files import write_whole
from labelled import annotation, coco, rectangle_rle
from pictures import write_photograph

APPS = Path(__file__).parents[2] / "src" / "instancefcn" / "apps"
STEERING = "a\x1b[2J\x9b1m\u202eb\r.png"


def test_only_what_steers_or_cannot_be_written_is_shown_as_a_code() -> None:
    assert printable("Übung 日本 [bold] 🙂\t\n") == "Übung 日本 [bold] 🙂\t\n"
    assert printable(STEERING) == "a\\x1b[2J\\x9b1m\\u202eb\\r.png"
    assert printable(os.fsdecode(b"\xff.png")) == "\\udcff.png"


def test_brackets_are_no_markup_above_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        say(bar, "[red]a[/red].png")
    assert "[red]a[/red].png" in capsys.readouterr().err


def test_whatever_is_printed_goes_through_it() -> None:
    for path in APPS.glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        named = {
            f"{call.value.id}.{call.attr}"
            if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
            else call.id
            if isinstance(call, ast.Name)
            else ""
            for call in calls
        }
        assert path.stem == "printing" or named.isdisjoint({"typer.echo", "typer.secho", "print"}), path


@pytest.mark.usefixtures("asked_for")
@pytest.mark.parametrize("name", [STEERING, os.fsdecode(b"\xff.png")])
def test_no_command_prints_a_name_as_it_is(name: str, tmp_path: Path, command: Callable[..., Any]) -> None:
    write_photograph(tmp_path / "in" / "b.png")
    (tmp_path / "in" / name).write_bytes(b"no image")
    done = command("propose", tmp_path / "in", "--out", tmp_path / "out", "--overlays", "--objects")
    assert done.exit_code == 1
    assert f"{printable(name)}: not an image" in done.stderr
    mask = rectangle_rle(30, 40, 1, 2, 4, 7)
    table = coco({1: (30, 40)}, [annotation(1, 1, mask)])
    table["images"][0]["file_name"] = name
    (tmp_path / "coco.json").write_text(json.dumps(table))
    checked = command("validate", "--data", f"coco:{tmp_path / 'coco.json'},{tmp_path / 'in'}")
    assert printable(name) in checked.output
    refused = command("propose", tmp_path / f"gone{name}", "--out", tmp_path / "out2")
    assert refused.exit_code == 2
    for output in (done.output, checked.output, refused.output):
        assert name not in output
        assert "\x1b[2J" not in output


def test_a_name_that_is_no_text_is_named_with_the_file_that_would_hold_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json: a name that is no UTF-8 .*: 'x\\udcff\.png'"):
        write_whole(tmp_path / "a.json", os.fsdecode(b"x\xff.png"))
    assert list(tmp_path.iterdir()) == []
