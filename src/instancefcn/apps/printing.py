"""What reaches the terminal: plain lines, and lines above a progress bar."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instancefcn.values import nan_as_none

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text without what could steer a terminal, or could not be written: such characters are shown as ``\x1b``.

    Names of files may hold them: escape sequences, marks that turn the direction of writing, bytes that are no UTF-8
    (lone surrogates). Tabs and ends of lines stay.

    Example:
        >>> printable("a\x1b[2Jb\udcff.png")
        'a\\x1b[2Jb\\udcff.png'
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr."""
    typer.echo(printable(str(text)), err=err)


def print_path(path: Path) -> None:
    """Print a path on stdout; for a program by the bytes of its name, so that it can open the file."""
    typer.echo(printable(str(path)) if sys.stdout.isatty() else os.fsencode(path))


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout: what ``--json`` of every command does. NaN and infinity become null.

    Signs outside ASCII are written as codes, so that any terminal and any encoding takes them.
    """
    typer.echo(json.dumps(nan_as_none(value), indent=2, allow_nan=False))


def progress_bar() -> Progress:
    """A bar on stderr: what is done, of how much, and the time that is left."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))


def say(progress: Progress, text: str) -> None:
    """Print a line above a bar, as it is."""
    progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def say_precision(asked: str, used: str) -> None:
    """Say which arithmetic was chosen, where the choice was ours."""
    if asked == "auto":
        echo(f"computes in {used}, as --precision auto chose: give it to have the same elsewhere", err=True)
