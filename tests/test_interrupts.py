"""Signals that end work: noted at first, raised at once the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
import typer
from typer.testing import CliRunner

from instancefcn.apps.cli import Commands
from instancefcn.interrupts import Interrupted, noted_interrupts, raised_interrupts

BOTH = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def _handlers_are_put_back():
    before = [signal.getsignal(number) for number, _ in BOTH]
    yield
    assert [signal.getsignal(number) for number, _ in BOTH] == before


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_the_first_is_noted_and_the_second_raised(number: int, code: int) -> None:
    with noted_interrupts() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert str(stop.ended("3 images are done")) == f"stopped by {signal.Signals(number).name}: 3 images are done"
        assert stop.ended("").exit_code == code
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_where_nothing_can_be_kept_the_first_is_raised(number: int, code: int) -> None:
    with pytest.raises(Interrupted, match=f"stopped by {signal.Signals(number).name}") as caught, raised_interrupts():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


def test_the_inner_rule_holds() -> None:
    with raised_interrupts():
        with noted_interrupts() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_note_nothing() -> None:
    found: list[bool] = []

    def work() -> None:
        with noted_interrupts() as stop, raised_interrupts():
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_no_except_exception_holds_it_up() -> None:
    assert not issubclass(Interrupted, Exception)


def test_a_process_that_loads_images_leaves_signals_to_the_main_one() -> None:
    code = (
        "import os, signal; from instancefcn.interrupts import leave_to_main; leave_to_main(0);"
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(("number", "code"), BOTH)
def test_a_command_that_was_stopped_says_what_was_kept(number: int, code: int) -> None:
    app = typer.Typer(cls=Commands)

    @app.command()
    def work() -> None:
        with noted_interrupts() as stop:
            os.kill(os.getpid(), number)
            raise stop.ended("3 images are done")

    @app.command()
    def _another() -> None: ...

    done = CliRunner().invoke(app, ["work"])
    assert done.exit_code == code
    assert done.stderr == f"stopped by {signal.Signals(number).name}: 3 images are done\n"
