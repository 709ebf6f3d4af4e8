"""Ctrl-C (SIGINT) and a polite kill (SIGTERM): work that notes the first, keeps what it has, and then ends.

The exit code is the shell's: 128 and the signal's number, so 130 for SIGINT and 143 for SIGTERM.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work. Its text is for the user: what was kept, and how to go on.

    It is a KeyboardInterrupt, so that no ``except Exception`` holds it up.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text or f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """What the process is to end with."""
        return 128 + self.number


def as_interrupted(error: KeyboardInterrupt) -> Interrupted:
    """The error as an ``Interrupted``; one that Python raised itself is of SIGINT."""
    return error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)


@dataclass
class Interrupts:
    """The signal that came, if any."""

    number: int | None = None

    def __bool__(self) -> bool:
        """Whether one came, so that the work has to end."""
        return self.number is not None

    def ended(self, text: str) -> Interrupted:
        """The error to raise when what was done is safe; the signal's name is put before ``text``."""
        assert self.number is not None, "no signal came"
        return Interrupted(self.number, f"stopped by {signal.Signals(self.number).name}: {text}")


@contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Note the first SIGINT or SIGTERM in the block; a second one raises ``Interrupted`` wherever the work is.

    Blocks may lie in each other: the inner one's rule holds in it. Outside the main thread, where Python allows no
    handlers, nothing is noted.

    Example:
        >>> with noted_interrupts() as stop:
        ...     for image in range(1000):
        ...         if stop:
        ...             raise stop.ended(f"{image} images are done; the same command goes on")
    """
    noted = Interrupts()

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            raise Interrupted(number)
        noted.number = number

    with _handled_by(note):
        yield noted


@contextmanager
def raised_interrupts() -> Iterator[None]:
    """Raise ``Interrupted`` at the first SIGINT or SIGTERM in the block, so that a SIGTERM, too, leaves no rubbish."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(stop):
        yield


def leave_to_main(*_: object) -> None:
    """Leave signals, which may reach a whole group of processes, to the main one: for those that load images.

    They end when the main process does.
    """
    for number in WATCHED:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled_by(handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in WATCHED}
    for number in WATCHED:
        signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, signal.SIG_DFL if one is None else one)  # None: not set by Python
