from __future__ import annotations

from pathlib import Path

from instancefcn.evaluation.average_recall import recall_per_image
from instancefcn.evaluation.names import fewer_given, measure_limit, measure_name, recall_headings, unique_names


def test_names_are_short_and_unique() -> None:
    paths = [Path(path) for path in ("a.json", "x/b.json", "y/b.json", "x/b.json", "c.json", "z/c.json.json")]
    assert unique_names(paths) == ["a", "x/b", "y/b", "x/b (2)", "c", "z/c.json"]
    assert unique_names([Path("b.json"), Path("/v/x/b.json")]) == ["b.json", "x/b"]
    runs = [Path(f"/data/{run}/val/proposals.json") for run in "pq"]
    assert unique_names(runs) == ["p/val/proposals", "q/val/proposals"]
    assert unique_names([Path("a.json"), Path("a.parquet")]) == ["a.json", "a.parquet"]


def test_every_measure_has_a_name_of_its_own() -> None:
    keys = list(recall_per_image([], [], "segm").measures())
    names = [measure_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert not [name for name in names if "/" in name or "_" in name]
    assert measure_name("coco/AR@1000_large") == "COCO AR@1000, large"
    assert measure_name("hosang/AR@10") == "Hosang AR@10, best IoU"
    assert [measure_limit(key) for key in ("coco/AR@10_small", "hosang/AR_hosang@100", "recall@0.5")] == [10, 100, 1000]


def test_fewer_proposals_than_asked_for_are_told() -> None:
    given = {"10": 10, "100": 40, "1000": 40}
    assert recall_headings(given) == ["AR@10", "AR@100 (40 given)", "AR@1000 (40 given)"]
    assert fewer_given(10, given) == ""
