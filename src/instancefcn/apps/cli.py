"""``instancefcn``: puts the commands together.

Commands import what they need when they run, so that help comes at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from instancefcn.allocator import keep_freed_memory
from instancefcn.apps.convert import convert
from instancefcn.apps.doctor import doctor
from instancefcn.apps.evaluate import evaluate
from instancefcn.apps.export import export
from instancefcn.apps.figure import figure
from instancefcn.apps.label import label
from instancefcn.apps.next import next_images
from instancefcn.apps.options import FORM_HELP, RESULT_HELP, SPEC_HELP
from instancefcn.apps.printing import echo, printable
from instancefcn.apps.propose import propose
from instancefcn.apps.propose_corpus import propose_corpus
from instancefcn.apps.segment import segment
from instancefcn.apps.train import train
from instancefcn.apps.train_classifier import train_classifier
from instancefcn.apps.validate import validate
from instancefcn.apps.web import web
from instancefcn.interrupts import Interrupted, raised_interrupts
from instancefcn.waiting import let_threads_sleep

TRACEBACK_VARIABLE = "INSTANCEFCN_TRACEBACK"

# Objects until Python looks for cycles (``gc.set_threshold``). By its own rule it looks at all that torch imports again
# and again while torch is imported, which takes a tenth of a second and more.
RARE_COLLECTIONS = (50_000, 20, 100)

# Packages that proposing does not need, and the extra that brings each.
EXTRAS = {
    "hotcoco": "eval",
    "matplotlib": "eval",
    "lightning_fabric": "train",
    "tensorboard": "train",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "onnxruntime": "runtime",
    "pyarrow": "parquet",
    "ray": "ray",
    "starlette": "web",
    "uvicorn": "web",
}


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print an error for the user as one line on stderr, and leave with exit code 1; a signal's with its own code."""
    try:
        yield
    except typer.BadParameter as error:
        error.message = printable(error.message)
        raise
    except Interrupted as stopped:
        echo(str(stopped), err=True)
        raise typer.Exit(stopped.exit_code) from stopped
    except (ValueError, OSError, ModuleNotFoundError) as error:
        message = str(error)
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            message = f"{package} is not installed: pip install 'instancefcn[{EXTRAS[package]}]'"
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            message = f"standard output: {error.strerror}; files were written before"
        if os.environ.get(TRACEBACK_VARIABLE) or getattr(error, "errno", None) == errno.EPIPE:
            raise
        echo(f"error: {message}", err=True)
        raise typer.Exit(1) from error


class Commands(TyperGroup):
    """Commands whose errors for the user are one line on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with errors_in_one_line(), raised_interrupts():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    epilog="Exit code: 0 all went well, 1 some input failed, 2 wrong usage, 130 or 143 stopped by Ctrl-C or SIGTERM. "
    f"{TRACEBACK_VARIABLE}=1 shows where an error came from.",
)


def _print_version(asked: bool) -> bool:
    if asked:
        echo(version("instancefcn"))
        raise typer.Exit
    return asked


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Propose class-agnostic instance masks of everything that looks like an object, and learn from your own labels.

    [bold]instancefcn propose[/] photos/ [bold]--out[/] proposals --overlays

    [bold]instancefcn train[/] --data coco:train.json,images [bold]--out[/] runs/mine --minutes 20

    [bold]instancefcn COMMAND --help[/] shows examples of each.
    """


app.command(epilog=f"{FORM_HELP}\n\n{RESULT_HELP}")(propose)
app.command()(propose_corpus)
app.command(epilog=SPEC_HELP)(train)
app.command()(label)
app.command()(web)
app.command("next", epilog=SPEC_HELP)(next_images)
app.command()(evaluate)
app.add_typer(figure, name="figure")
app.command(epilog=SPEC_HELP)(train_classifier)
app.command(epilog=f"{FORM_HELP}\n\n{RESULT_HELP}")(segment)
app.command(epilog=SPEC_HELP)(validate)
app.command()(export)
app.command(epilog=f"{FORM_HELP}\n\n{SPEC_HELP}")(convert)
app.command()(doctor)


def main() -> None:
    """Entry point of the ``instancefcn`` script."""
    keep_freed_memory()
    let_threads_sleep()
    gc.set_threshold(*RARE_COLLECTIONS)
    atexit.register(gc.freeze)  # when Python ends, it looks at all that torch imported once more: half a second
    warnings.formatwarning = lambda message, *_, **__: printable(f"warning: {message}\n")
    app()
