"""Every test runs with the shapes and types of the package's annotations checked."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

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
# Not `reproduce` as a whole: its tests are in it, and pytest rewrites their assertions itself.
CHECKED = ["instancefcn", *(f"reproduce.{path.stem}" for path in (ROOT / "reproduce").glob("*.py"))]
install_import_hook(CHECKED, "beartype.beartype")

SHARED_DATA = ROOT.parent / "shared" / "data"


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
