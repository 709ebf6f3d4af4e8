from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from instancefcn.compiled import compiled, in_threads, parts


@compiled
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


def test_a_compiled_function_gives_what_it_says() -> None:
    assert total(np.arange(5.0)) == 10
    assert total(np.zeros(0)) == 0


def test_one_that_calls_a_function_of_another_file_is_kept_by_what_that_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "caller.py").write_text(
        "from instancefcn.compiled import compiled\nfrom callee import value\n\n"
        "@compiled\ndef twice():\n    return 2 * value()\n"
    )
    callee = "from instancefcn.compiled import compiled\n\n@compiled\ndef value():\n    return {}\n"
    names = []
    for value in (3, 4):
        (tmp_path / "callee.py").write_text(callee.format(value))
        namespaces: list[dict[str, object]] = []
        for name in ("callee", "caller"):
            monkeypatch.delitem(__import__("sys").modules, name, raising=False)
            namespaces.append(vars(__import__(name)))
        twice = namespaces[1]["twice"]
        assert callable(twice)
        assert twice() == 2 * value
        names.append(twice.py_func.__qualname__)  # pyright: ignore[reportFunctionMemberAccess]
    assert names[0] != names[1]


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_parts_are_all_of_it_in_order(count: int) -> None:
    assert [index for part in parts(count) for index in range(count)[part]] == list(range(count))


def test_results_come_in_order_from_as_many_threads_as_torch_uses() -> None:
    both = threading.Barrier(torch.get_num_threads(), timeout=20)  # nobody goes on before all are there
    results = in_threads(lambda a, b: (both.wait() < 0, a - b), range(torch.get_num_threads()), [1] * 99)
    assert [difference for _, difference in results] == [index - 1 for index in range(torch.get_num_threads())]
