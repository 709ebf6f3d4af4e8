"""What people read in place of keys and paths: names of measures and of files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from instancefcn.evaluation.matching import MAX_PROPOSALS

_MEASURE = re.compile(r"(coco|hosang)/(AR|AR_hosang)@(\d+)(?:_(\w+))?|recall@([\d.]+)")


def measure_name(key: str) -> str:
    """Name of one of ``ImageRecall.measures``.

    Example:
        >>> measure_name("coco/AR@10_small"), measure_name("hosang/AR_hosang@100"), measure_name("recall@0.5")
        ('COCO AR@10, small', 'Hosang AR@100, one to one', 'Found at IoU 0.5')
    """
    found = _MEASURE.fullmatch(key)
    assert found is not None, key
    group, rule, limit, area, threshold = found.groups()
    if threshold:
        return f"Found at IoU {threshold}"
    if group == "hosang":
        return f"Hosang AR@{limit}, {'one to one' if rule == 'AR_hosang' else 'best IoU'}"
    return f"COCO AR@{limit}" + (f", {area}" if area else "")


def measure_limit(key: str) -> int:
    """How many proposals of an image a measure looks at, at most."""
    found = _MEASURE.fullmatch(key)
    assert found is not None, key
    return int(found[3] or MAX_PROPOSALS[-1])


def fewer_given(limit: int, given: Mapping[str, int]) -> str:
    """`` (100 given)`` where no image has as many proposals as a measure asks for, nothing otherwise.

    Args:
        given: the most proposals that an image has, for each limit, as ``metrics.json`` has it.

    Example:
        >>> fewer_given(1000, {"10": 10, "100": 100, "1000": 100}), fewer_given(100, {"100": 100})
        (' (100 given)', '')
    """
    most = given[str(limit)]
    return f" ({most:,} given)" if most < limit else ""


def recall_headings(given: Mapping[str, int]) -> list[str]:
    """``AR@10``, ``AR@100`` and ``AR@1000``, each with the number that was given where that is less."""
    return [f"AR@{limit}{fewer_given(limit, given)}" for limit in MAX_PROPOSALS]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each file, all different: its stem, with as many folders before it as tell it from the others.

    Where files differ in their suffix alone, the name has it. A path given twice is numbered.

    Example:
        >>> unique_names([Path("runs/a/best/proposals.json"), Path("runs/b/best/proposals.json"), Path("lite.json")])
        ['a/best/proposals', 'b/best/proposals', 'lite']
    """
    names: list[str] = []
    for path in paths:
        others = [other for other in paths if other != path]
        name = next((name for name in _tails(path) if all(name not in _tails(other) for other in others)), str(path))
        times, unique = 1, name
        while unique in names:
            times += 1
            unique = f"{name} ({times})"
        names.append(unique)
    return names


def _tails(path: Path) -> list[str]:
    """Ends of a path, the shortest first: without its suffix, then with it."""
    return [
        "/".join([*path.parent.parts[len(path.parent.parts) - folders :], last])
        for last in (path.stem, path.name)
        for folders in range(len(path.parent.parts) + 1)
    ]
