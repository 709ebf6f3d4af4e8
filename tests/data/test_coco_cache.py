"""Labels of a large COCO file that are kept: they are those that would be read, or they are read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.data import coco, coco_cache
from instancefcn.data.coco_reader import CocoReader
from instancefcn.data.open import open_source
from instancefcn.data.source import FileSource
from instancefcn.structures import Instances
from labelled import coco_annotation, write_coco, write_image


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep every file's labels in a folder of the test; a reading is noted here."""
    noted: list[str] = []

    class Reader(CocoReader):
        def __init__(self, table: Any, source: str) -> None:
            noted.append(source)
            super().__init__(table, source)

    monkeypatch.setenv("INSTANCEFCN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(coco_cache, "LARGE", 0)
    monkeypatch.setattr(coco, "CocoReader", Reader)
    return noted


def write(folder: Path) -> str:
    """Three images: sound ones, a missing one, and annotations of every fate."""
    annotations = [
        coco_annotation(7),
        coco_annotation(8, bbox=[500, 500, 3, 3]),  # a note
        coco_annotation(9, segmentation=[[1, 2, "x"]], bbox=[1, 2, 3, 4]),  # rejected, with a region
        coco_annotation(10, segmentation=[[1, 2, "x"]], bbox=None),  # rejected, nobody knows where
        coco_annotation(11, iscrowd=1, category_id=5),
        coco_annotation(12, image_id=2, ignore=1),
    ]
    images = [{"id": number, "file_name": f"{name}.png"} for number, name in ((1, "a"), (2, "b"), (3, "gone"))]
    for name in "ab":
        write_image(folder / "images" / f"{name}.png")
    return write_coco(folder, annotations, images=images)


def facts(source: FileSource) -> list[Any]:
    """All that a source says."""

    def of(instances: Instances) -> list[Any]:
        arrays = [instances.ids, instances.boxes_xyxy, instances.category_ids, instances.crowd, instances.ignore]
        return [instances.rles, *((array.dtype, array.tolist()) for array in arrays)]

    every = [source.labels(index) for index in range(len(source))]
    return [
        (source.name, source.partial, source.categories, list(source.problems), list(source.notes)),
        *([one.image_id, one.file_name, one.path, one.height, one.width, one.partial, one.void] for one in every),
        *([of(one.instances), list(one.rejected)] for one in every),
    ]


def test_what_is_kept_is_what_was_read(tmp_path: Path, reads: list[str]) -> None:
    spec = write(tmp_path)
    first, second = open_source(spec), open_source(spec)
    assert len(reads) == 1
    assert facts(second) == facts(first)
    assert (len(first), len(first.problems), len(first.notes)) == (2, 3, 3)
    assert first.labels(0).rejected
    assert first.labels(0).partial
    np.testing.assert_array_equal(second[1].image, first[1].image)
    assert facts(open_source(spec, anew=True)) == facts(first)
    assert len(reads) == 2


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: touch(folder / "images" / "a.png"),
        lambda folder: (folder / "images" / "b.png").unlink(),
        lambda folder: write_image(folder / "images" / "gone.png"),
        lambda folder: (folder / "coco.json").write_text((folder / "coco.json").read_text() + " "),
    ],
)
def test_after_a_change_it_is_read_again(tmp_path: Path, reads: list[str], change: Callable[[Path], object]) -> None:
    spec = write(tmp_path)
    open_source(spec)
    change(tmp_path)
    again = open_source(spec)
    assert len(reads) == 2
    assert facts(open_source(spec)) == facts(again)
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("name", "other"),
    [("version", lambda name: f"{name} of tomorrow"), ("image_extensions", lambda: {".of-a-package-that-came"})],
)
def test_other_code_reads_again(
    name: str, other: Callable[..., Any], tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write(tmp_path)
    open_source(spec)
    monkeypatch.setattr(coco_cache, name, other)
    open_source(spec)
    assert len(reads) == 2


def test_what_is_kept_of_one_folder_is_not_taken_for_another(tmp_path: Path, reads: list[str]) -> None:
    write(tmp_path / "one")
    spec = write(tmp_path / "other")
    content = json.loads((tmp_path / "one" / "coco.json").read_text())
    assert content == json.loads((tmp_path / "other" / "coco.json").read_text())
    for name in "ab":
        touch(tmp_path / "one" / "images" / f"{name}.png")
        touch(tmp_path / "other" / "images" / f"{name}.png")
    open_source(f"coco:{tmp_path / 'one' / 'coco.json'},{tmp_path / 'one' / 'images'}")
    assert open_source(spec).labels(0).path == tmp_path / "other" / "images" / "a.png"
    assert len(reads) == 2


@pytest.mark.parametrize("spoil", [lambda old: old[:-1], lambda old: b"", lambda old: old[:99] + b"!" + old[100:]])
def test_a_spoilt_cache_is_read_again(tmp_path: Path, reads: list[str], spoil: Callable[[bytes], bytes]) -> None:
    spec = write(tmp_path)
    expected = facts(open_source(spec))
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(spoil(kept.read_bytes()))
    assert facts(open_source(spec)) == expected
    assert len(reads) == 2
    open_source(spec)
    assert len(reads) == 2


def test_without_a_folder_nothing_is_kept(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write(tmp_path)
    for place in ("", str(tmp_path / "coco.json" / "cache")):  # none is wanted; no folder can be there
        monkeypatch.setenv("INSTANCEFCN_CACHE", place)
        assert len(open_source(spec)) == len(open_source(spec)) == 2
    assert len(reads) == 4


def test_a_small_file_is_not_kept(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_cache, "LARGE", 10**6)
    spec = write(tmp_path)
    open_source(spec)
    assert not (tmp_path / "cache").exists()


def test_every_file_that_reads_is_in_the_key() -> None:
    """Those that a reading imports, in a process that has imported no other."""
    program = (
        "import sys; import instancefcn.data.coco; "
        "print(*(module.__file__ for name, module in sys.modules.items() if name.startswith('instancefcn')), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = {Path(name) for name in done.stdout.split("\n") if name}
    assert len(imported) > 20
    assert {path.name for path in imported - set(coco_cache.code_files())} <= {"__init__.py"}
