"""Every test runs with the shapes checked that the package's annotations state."""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import settings
from jaxtyping import config, install_import_hook

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the same arithmetic on every machine

# Fresh random input for a person, the same each time where a change is checked.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).parent
SHARED_DATA = ROOT.parent / "shared" / "data"
FIRST_CALLS, EVERY = 5, 20

jaxtyped, tests_begun = jaxtyping.jaxtyped, 0


def sparingly_jaxtyped(function: Any = None, **options: Any) -> Any:
    """A function whose first calls in each test are checked, and then every twentieth.

    The others are much like them, and the checks take longer than many a call. What the import hook decorates with, in
    place of ``jaxtyping.jaxtyped``.
    """
    if function is None:
        return partial(sparingly_jaxtyped, **options)
    checked: Callable[..., Any] = jaxtyped(function, **options)
    if inspect.isclass(function):
        return checked
    test = calls = 0

    @wraps(checked)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal test, calls
        if test != tests_begun:
            test, calls = tests_begun, 0
        calls += 1
        return (checked if calls <= FIRST_CALLS or calls % EVERY == 0 else function)(*args, **kwargs)

    return call


def modules_with_shapes() -> Iterator[str]:
    """Plain types are left to basedpyright, which takes no time of a test."""
    for root, package in ((ROOT / "src", "instancefcn"), (ROOT, "reproduce")):
        for path in (root / package).rglob("*.py"):
            names = path.relative_to(root).with_suffix("").parts
            # The tests of `reproduce` are in it, and pytest rewrites their assertions itself.
            if "tests" not in names and "from jaxtyping import" in path.read_text(encoding="utf-8"):
                yield ".".join(names)


jaxtyping.jaxtyped = sparingly_jaxtyped
install_import_hook(list(modules_with_shapes()), "beartype.beartype")


def pytest_runtest_setup() -> None:
    """A test begins."""
    global tests_begun
    tests_begun += 1


def pytest_configure() -> None:
    """Look for cycles as rarely as the commands do, and keep freed memory as they do: a tenth of the tests' time."""
    from instancefcn.allocator import keep_freed_memory
    from instancefcn.apps.cli import RARE_COLLECTIONS

    gc.set_threshold(*RARE_COLLECTIONS)
    keep_freed_memory()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs with masks; they are not the project's to ship."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs real data in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power, so files need not be on the disk when a block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Values of wrong types reach the code, as they do at a user's."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks: more threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
