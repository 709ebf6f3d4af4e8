"""``propose-corpus`` on a local Ray of two workers: the results of one process, whatever happens to a worker."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from corpus.holding import store, write_checkpoint, write_shard, write_table
from instancefcn.data.open import open_source
from instancefcn.data.result_files import read_results
from pictures import FIRST_WIDTH, write_photographs

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray: pip install 'instancefcn[ray]'", allow_module_level=True)

from instancefcn.corpus import places, pool
from instancefcn.corpus.blocks import Block
from instancefcn.corpus.ledger import Ledger
from instancefcn.corpus.places import Place
from instancefcn.corpus.worker import Job, Worker

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("default"),  # Ray's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # it reads options of its own that are deprecated
]
COUNT, DAMAGED = 9, 4
ONE = ("--workers", "1")  # where two would take longer to start, and show no more
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """Ray with two cores, whatever this machine has."""
    if "ray" not in sys.modules:  # it reads these when it is imported, and another test may have done that
        os.environ.update(pool.LOCAL)
        os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
    import ray

    ray.init("local", num_cpus=2, logging_level=logging.ERROR, log_to_driver=False, **pool.LOCAL_OPTIONS)
    yield
    ray.shutdown()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "a.safetensors")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "in", COUNT, damaged=[DAMAGED])


@pytest.fixture
def expected(photographs: Path, checkpoint: Path, command: Command) -> list[Any]:
    """What one process finds in the photographs."""
    options = ["--checkpoint", checkpoint, "--max-proposals", 5, "--device", "cpu"]
    command("propose", photographs, "--out", photographs.parent / "single", "--to", "parquet", *options)
    found = list(read_results(photographs.parent / "single" / "proposals.parquet"))
    assert len(found) > COUNT
    return found


def ordered(folder: Path) -> list[Any]:
    """Results by image; within one, they are in their order."""
    return sorted(read_results(folder), key=lambda result: result["image_id"])


def table(folder: Path) -> list[Any]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in read_results(path)]


@pytest.fixture
def run(two_workers: None, checkpoint: Path, command: Command) -> Command:
    def run(source: Any, out: Any, *options: Any) -> Any:
        asked = ("--checkpoint", checkpoint, "--max-proposals", 5)
        return command("propose-corpus", source, "--out", out, *asked, *options)

    return run


def work_here(
    job: Job, blocks: Sequence[Block], workers: int, size: pool.Size, tell: Callable[[int], object]
) -> Iterator[Any]:
    """``pool.work`` with a worker of this process, which gets all it needs in writing, as one of Ray's does.

    Each of Ray's takes seconds to start, so those are started only where they show what this one can't.
    """
    worker = Worker(pickle.loads(pickle.dumps(job)), Ledger())
    for block in blocks:
        yield worker.do(Block.from_json(block.to_json()))


def test_a_folder_gives_what_one_process_gives_and_goes_on(
    run: Command, photographs: Path, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = photographs.parent / "out"
    done = run(photographs, out, "--block", 2)
    assert done.exit_code == 1
    assert f"{len(expected)} proposals of 8 images: {out / 'proposals'}" in done.stdout
    assert "1 of 9 images failed; blocks with errors: 1" in done.stderr
    assert ordered(out) == expected
    images = json.loads((photographs.parent / "single" / "images.json").read_text())["images"]
    key = {"id": "image_id"}
    assert sorted(table(out / "images"), key=lambda row: row["image_id"]) == [
        {key.get(name, name): value for name, value in image.items()} for image in images
    ]
    (failed,) = table(out / "errors")
    assert (failed["image_id"], failed["file_name"]) == (DAMAGED + 1, f"{DAMAGED}.png")

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    (out / "proposals" / "000001.parquet").unlink()
    monkeypatch.setattr(pool, "work", work_here)
    again = run(photographs, out, "--block", 2)
    assert "going on after 4 of 5 blocks" in again.stderr
    assert ordered(out) == expected
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in changed} == {"000001.parquet"}

    refused = run(photographs, out, "--block", 2, "--min-score", 0.5)
    assert "--min-score was None and is 0.5" in refused.stderr
    (photographs / "0.png").unlink()
    refused = run(photographs, out, "--block", 2)
    assert "INPUT was '9 images (" in refused.stderr
    assert ordered(out) == expected


def test_a_worker_is_killed_under_way(
    run: Command, photographs: Path, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[int] = []
    work = pool.work

    def killing(*arguments: Any) -> Iterator[Any]:
        for said in work(*arguments):
            if not processes:
                os.kill(said["process"], signal.SIGKILL)
            processes.append(said["process"])
            yield said

    monkeypatch.setattr(pool, "work", killing)
    out = photographs.parent / "out"
    assert run(photographs, out, "--block", 1).exit_code == 1
    assert len(set(processes)) >= 2
    assert len(processes) == COUNT
    assert ordered(out) == expected
    assert len(table(out / "images")) == COUNT - 1
    assert list(out.rglob("*.tmp")) == []


def test_shards_tables_and_stores_give_the_same(
    run: Command, photographs: Path, expected: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Besides ids, which those of a shard have of their own."""
    contents = [(photographs / f"{number}.png").read_bytes() for number in range(COUNT)]
    names = [f"{number}.png" for number in range(COUNT)]

    columns = {"path": names, "jpg": contents}
    write_table(tmp_path / "tables" / "1.parquet", {key: values[:4] for key, values in columns.items()})
    write_table(tmp_path / "tables" / "2.parquet", {key: values[4:] for key, values in columns.items()})
    columns_of = ["--key-column", "path", "--image-column", "jpg"]
    with monkeypatch.context() as patch:
        patch.setattr(pool, "work", work_here)
        done = run(tmp_path / "tables", tmp_path / "a", *columns_of, *ONE)
    assert done.exit_code == 1, done.stderr
    assert ordered(tmp_path / "a") == expected

    bucket = store(tmp_path / "s3")
    write_shard(tmp_path / "s3" / "bucket" / "in" / "0.tar", dict(zip(names[:4], contents[:4], strict=True)))
    write_shard(tmp_path / "s3" / "bucket" / "in" / "1.tar", dict(zip(names[4:], contents[4:], strict=True)))
    of = Place.of

    def stand_in(text: str) -> Place:
        return Place(bucket.filesystem, text.removeprefix("s3://")) if text.startswith("s3://") else of(text)

    monkeypatch.setattr(places.Place, "of", stand_in)
    done = run("s3://bucket/in", "s3://bucket/out", *ONE)
    assert done.exit_code == 1, done.stderr
    out = tmp_path / "s3" / "bucket" / "out"
    files = {row["image_id"]: row["file_name"] for row in table(out / "images")}
    assert files == {
        1 + 1_000_000 * (number > 3) + (number - 4 * (number > 3)): f"{number // 4 and 1}.tar/{number}.png"
        for number in range(COUNT)
        if number != DAMAGED
    }
    ids = {image_id: int(Path(name).stem) + 1 for image_id, name in files.items()}
    assert [result | {"image_id": ids[result["image_id"]]} for result in ordered(out)] == expected
    assert {path.name for path in (tmp_path / "s3" / "bucket").iterdir()} == {"in", "out"}
    again = run("s3://bucket/in", "s3://bucket/out")
    assert "going on after 2 of 2 blocks" in again.stderr


def test_what_was_written_is_evaluated_and_converted(
    run: Command,
    photographs: Path,
    expected: list[Any],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Under the ids of annotations, and with their sizes."""
    monkeypatch.setattr(pool, "work", work_here)
    images = [
        {"id": 70 + number, "file_name": f"{number}.png", "width": FIRST_WIDTH + number, "height": 30}
        for number in range(3)
    ]
    annotation = {"id": 1, "image_id": 70, "category_id": 1, "bbox": [2, 3, 8, 8], "area": 64, "iscrowd": 0}
    annotation["segmentation"] = [[2, 3, 10, 3, 10, 11, 2, 11]]
    content = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "a"}]}
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(content))
    done = run(photographs, tmp_path / "out2", "--annotations", labels, *ONE)
    assert done.exit_code == 0, done.stderr
    assert {result["image_id"] for result in ordered(tmp_path / "out2")} <= {70, 71, 72}
    done = command("evaluate", tmp_path / "out2", "--annotations", labels, "--out", tmp_path / "report")
    assert done.exit_code == 0, done.stderr
    renamed = [image | {"file_name": f"x{image['file_name']}"} for image in images]
    labels.write_text(json.dumps(content | {"images": renamed}))
    for results in (tmp_path / "out2", tmp_path / "out2" / "proposals"):
        done = command("evaluate", results, "--annotations", labels, "--out", tmp_path / "report")
        assert (done.exit_code, "image 70 is '0.png', by" in done.stderr) == (1, True), done.stderr
    found = tmp_path / "found.json"
    done = command("convert", "--data", f"corpus:{tmp_path / 'out2'},{photographs}", "--to", "coco", "--out", found)
    assert done.exit_code == 0, done.stderr
    converted = json.loads(found.read_text())
    assert converted["images"] == images
    own = [result | {"image_id": result["image_id"] + 69} for result in expected if result["image_id"] <= 3]
    keys = ("image_id", "segmentation", "bbox", "score")
    assert [[one[key] for key in keys] for one in converted["annotations"]] == [
        [one[key] for key in keys] for one in own
    ]
    source = open_source(f"corpus:{tmp_path / 'out2'},{photographs}")
    assert source[0].image.shape == (30, FIRST_WIDTH, 3)
    with pytest.raises(ValueError, match="where the images lie was not said"):
        open_source(f"corpus:{tmp_path / 'out2'}")[0]
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = next((tmp_path / "out2" / "images").glob("*.parquet"))
    rows = parquet.read_table(table).to_pylist()
    same = [row | {"file_name": rows[0]["file_name"]} for row in rows[:2]]  # keys that are no names of their own
    parquet.write_table(pa.Table.from_pylist(same + rows[2:]), table)
    source = open_source(f"corpus:{tmp_path / 'out2'},{photographs}")
    assert [source.labels(index).image_id for index in range(len(source))] == [
        row["image_id"] for row in [rows[0], *rows[2:]]
    ]
    assert "images 70 and 71 have this name: the first is taken" in " ".join(map(str, source.problems))
    parquet.write_table(pa.Table.from_pylist([rows[0] | {"file_name": "/of/another.png"}, *rows[1:]]), table)
    source = open_source(f"corpus:{tmp_path / 'out2'},{photographs}")
    assert len(source) == len(rows) - 1
    assert "image 70 is left out: file name '/of/another.png' is absolute" in " ".join(map(str, source.problems))


def test_folders_called_as_those_of_pictures_are_searched(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run draws none."""
    monkeypatch.setattr(pool, "work", work_here)
    write_photographs(tmp_path / "in" / "labels", 1)
    assert run(tmp_path / "in", tmp_path / "in", *ONE).exit_code == 0
    assert [row["file_name"] for row in table(tmp_path / "in" / "images")] == ["labels/0.png"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["gone"], 1, "gone: no such file or folder"),
        (["in", "--workers", "3"], 1, "no room for 3 workers of 1 cores and 0 GPUs: there are 2 cores"),
        (["in", "--gpus", "1"], 1, "no room for 1 workers of 1 cores and 1 GPUs"),
        (["empty"], 2, "empty: no image in it"),
        (["a.tar", "--annotations", "a.tar"], 2, "is for a folder of images on a disk"),
        (["a.parquet"], 1, "a.parquet: has no column 'image', but key: give --image-column"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: list[str],
    code: int,
    said: str,
    run: Command,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photographs.parent)
    Path("empty").mkdir()
    write_shard(Path("a.tar"), {})
    write_table(Path("a.parquet"), {"key": ["a"]})
    done = run(options[0], "out", *options[1:])
    assert (done.exit_code, " ".join(done.stderr.split()).count(said)) == (code, 1), done.stderr


def test_blocks_of_nobody_knows_what_are_left_alone(run: Command, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "proposals").mkdir(parents=True)
    (tmp_path / "out" / "proposals" / "000000.parquet").write_bytes(b"")
    done = run(photographs, tmp_path / "out")
    assert "holds 1 blocks, and no corpus.json that says of which run" in done.stderr
    (tmp_path / "out" / "corpus.json").write_text("[]")
    done = run(photographs, tmp_path / "out")
    assert "corpus.json: damaged" in done.stderr


def test_without_ray_the_extra_is_named(photographs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest))
    done = command("propose-corpus", photographs, "--out", photographs.parent / "out")
    assert done.stderr == "error: ray is not installed: pip install 'instancefcn[ray]'\n"


def test_ray_is_imported_late() -> None:
    code = "import sys, instancefcn.apps.cli; print([name for name in ('ray', 'pyarrow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
