from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import filelock
import numba
import numpy as np
import pytest
import torch
from numba.core.dispatcher import Dispatcher

from instancefcn.compiled import compiled
from instancefcn.threads import in_threads, parts


@compiled
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


@compiled
def long_sum(count):
    result = 0.0
    for index in range(count):
        result += np.sqrt(index)
    return result


def test_a_compiled_function_gives_what_it_says() -> None:
    assert isinstance(total, Dispatcher)
    assert total(np.arange(5.0)) == 10
    assert total(np.zeros(0)) == 0


def test_python_goes_on_beside_a_compiled_function() -> None:
    assert long_sum(5) == pytest.approx(1 + 2**0.5 + 3**0.5 + 2)
    thread = threading.Thread(target=long_sum, args=(100_000_000,))
    thread.start()
    steps = 0
    while thread.is_alive():
        steps += 1
    assert steps > 100


def test_one_that_calls_functions_of_another_file_is_kept_by_what_that_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    header = "from instancefcn.compiled import compiled\n"
    (tmp_path / "caller.py").write_text(
        header + "from callee import value\n\n@compiled\ndef twice():\n    return 2 * value()\n"
    )
    callee = header + "\nVALUE = {}\n\n@compiled\ndef value():\n    return helper() + VALUE\n\n"
    callee += "@compiled\ndef helper():\n    return {}\n"
    names = []
    for constant, helped in ((1, 2), (3, 2), (3, 4)):
        (tmp_path / "callee.py").write_text(callee.format(constant, helped))
        monkeypatch.setitem(sys.modules, "callee", None)
        monkeypatch.setitem(sys.modules, "caller", None)
        del sys.modules["callee"], sys.modules["caller"]
        twice = importlib.import_module("caller").twice
        assert twice() == 2 * (constant + helped)
        names.append(twice.py_func.__qualname__)
    assert len(set(names)) == 3


def test_where_nothing_can_be_kept_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def refuse_to_keep(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", refuse_to_keep)
    again = compiled(total.py_func)
    assert isinstance(again, Dispatcher)
    assert again(np.arange(5.0)) == 10


@pytest.fixture
def import_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module anew for its one function, which adds 1, and whose code is kept in a folder of that name."""
    (tmp_path / "kept.py").write_text(
        "from instancefcn.compiled import compiled\n\n@compiled\ndef kept(a):\n    return a + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def import_anew(cache: str) -> Any:
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / cache))
        monkeypatch.delitem(sys.modules, "kept", raising=False)
        return importlib.import_module("kept").kept

    return import_anew


@pytest.mark.parametrize(
    ("spoil", "suffix"),
    [*product(("cut", "emptied", "overwritten", "unwritable"), ("nbi", "nbc")), ("changed", "nbc")],
)
def test_kept_code_that_is_damaged_is_made_anew(
    spoil: str, suffix: str, tmp_path: Path, import_kept: Callable[[str], Any]
) -> None:
    def found_on_disk() -> int:
        """How often the function's code is loaded from disk, in a module that is imported anew."""
        kept = import_kept("cache")
        assert kept(1) == 2
        return sum(kept.stats.cache_hits.values())

    assert found_on_disk() == 0
    assert found_on_disk() == 1
    (path,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    content = path.read_bytes()
    if spoil == "unwritable":
        path.unlink()
        path.mkdir()
        (path / "held").touch()
        assert found_on_disk() == 0
        return
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "emptied": b"",
        "overwritten": content[:middle] + bytes(len(content) - middle),
        "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],  # it can still be unpickled
    }
    path.write_bytes(damaged[spoil])
    assert found_on_disk() == 0  # the code is made anew, and kept
    assert found_on_disk() == 1


@pytest.mark.parametrize(("wait", "loaded"), [(60.0, 1), (0.1, 0)])
def test_what_another_process_compiles_is_waited_for_and_loaded(
    wait: float, loaded: int, tmp_path: Path, import_kept: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instancefcn.compiled.LONGEST_WAIT", wait)
    assert import_kept("theirs")(1) == 2  # as the other process has it in the end
    (lock,) = (tmp_path / "theirs").rglob("*.lock")
    kept, results = import_kept("ours"), list[int]()
    thread = threading.Thread(target=lambda: results.append(kept(1)))
    with filelock.FileLock(tmp_path / "ours" / lock.relative_to(tmp_path / "theirs")):
        thread.start()
        thread.join(0.5 if loaded else None)
        assert thread.is_alive() == bool(loaded)
        shutil.copytree(tmp_path / "theirs", tmp_path / "ours", ignore=lambda *_: [lock.name], dirs_exist_ok=True)
    thread.join()
    assert results == [2]
    assert sum(kept.stats.cache_hits.values()) == loaded


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_parts_are_all_of_it_in_order(count: int) -> None:
    assert [index for part in parts(count) for index in range(count)[part]] == list(range(count))


def test_results_come_in_order_from_as_many_threads_as_torch_uses() -> None:
    both = threading.Barrier(torch.get_num_threads(), timeout=20)  # nobody goes on before all are there
    results = in_threads(lambda a, b: (both.wait() < 0, a - b), range(torch.get_num_threads()), [1] * 99)
    assert [difference for _, difference in results] == [index - 1 for index in range(torch.get_num_threads())]
