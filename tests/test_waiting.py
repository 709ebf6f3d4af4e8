"""That the command line lets threads sleep, leaves a user's own choice, and collects what is left rarely."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from instancefcn.waiting import VARIABLES, let_threads_sleep

SPY = """
import os, sys
from instancefcn.apps import cli
cli.app = lambda: print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
cli.main()
"""


@pytest.mark.parametrize("name", VARIABLES)
def test_a_users_choice_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in VARIABLES:
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "7")
    assert not let_threads_sleep()
    assert {one: os.environ[one] for one in VARIABLES if one in os.environ} == {name: "7"}


def test_commands_say_so_before_torch_is_imported() -> None:
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", SPY], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "10000"]


BENCHMARK = """
import os, sys
from benchmarks import speed
early, sys.argv = "torch" in sys.modules, ["speed.py", "--checkpoint", "missing.safetensors"]
try:
    speed.main()
except ValueError:
    print(early, os.environ.get("GOMP_SPINCOUNT"))
"""


def test_the_benchmark_waits_as_commands_do() -> None:
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", BENCHMARK], capture_output=True, text=True, check=True, env=environment, cwd=root
    )
    assert done.stdout.split() == ["False", "10000"]


AT_THE_END = """
import atexit, gc
from instancefcn.apps import cli
cli.app = lambda: print(gc.get_threshold() == cli.RARE_COLLECTIONS, gc.get_freeze_count())
atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # the first to be registered is the last to run
cli.main()
"""


def test_commands_look_for_cycles_rarely_and_not_at_their_end() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0", "True"]
