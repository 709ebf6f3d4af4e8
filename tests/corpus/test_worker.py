"""A worker, without Ray: what it writes of a block, whatever its images are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from corpus.holding import store, write_checkpoint, write_shard
from instancefcn.corpus import worker as worker_module
from instancefcn.corpus.blocks import Block, Listed
from instancefcn.corpus.ledger import MOST_STARTS, Ledger
from instancefcn.corpus.places import Place
from instancefcn.corpus.reading import DamagedError, Entry, Reader
from instancefcn.corpus.tables import BlockTables
from instancefcn.corpus.worker import Job, Worker, ahead
from instancefcn.data.result_files import read_results
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.inference.request import Request
from pictures import write_photographs

pytestmark = pytest.mark.usefixtures("one_thread")


def job(tmp_path: Path, out: Place | None = None, **options: Any) -> Job:
    tables = BlockTables(out or Place.of(str(tmp_path / "out")), "proposals")
    tables.make_folders()
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "a.safetensors"))
    reader = Reader(Place.of(str(tmp_path)).filesystem, options.pop("kind", "images"), "key", "image")
    about = {"checkpoint": "0123"}
    return Job(reader, tables, checkpoint, Request(max_proposals=3), "cpu", "fp32", options.pop("threads", 2), about)


def block_of(folder: Path, count: int) -> Block:
    images = [Listed(number + 1, f"{number}.png", str(folder / f"{number}.png")) for number in range(count)]
    return Block(7, count, images)


def rows(tmp_path: Path, table: str) -> list[Any]:
    path = tmp_path / "out" / table / "000007.parquet"
    return parquet.read_table(path).to_pylist() if path.exists() else []


@pytest.mark.parametrize("threads", [1, 3])
def test_a_block_holds_what_the_proposer_finds(threads: int, tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "in", 5, damaged=[2])
    asked = job(tmp_path, threads=threads)
    said = Worker(asked, Ledger()).do(block_of(folder, 5))
    proposer = Proposer.from_checkpoint(tmp_path / "a.safetensors", device="cpu")
    found = {number + 1: proposer(folder / f"{number}.png", max_proposals=3) for number in (0, 1, 3, 4)}
    expected = [result for image_id, of in found.items() for result in of.to_coco(image_id)]
    assert expected
    assert rows(tmp_path, "proposals") == expected
    assert rows(tmp_path, "images") == [
        {"image_id": number + 1, "file_name": f"{number}.png", "width": 40 + number, "height": 30}
        for number in (0, 1, 3, 4)
    ]
    (failed,) = rows(tmp_path, "errors")
    assert (failed["image_id"], failed["file_name"]) == (3, "2.png")
    assert "embedded" not in failed["reason"]
    del said["process"]
    assert said == {"block": 7, "done": 4, "failed": 1, "found": len(expected), "reason": ""}
    about = parquet.read_schema(tmp_path / "out" / "proposals" / "000007.parquet").metadata
    assert (about[b"checkpoint"], about[b"precision"]) == (b"0123", b"fp32")


def test_all_images_may_be_bad(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "in", 2, damaged=[0, 1])
    said = Worker(job(tmp_path), Ledger()).do(block_of(folder, 3))
    assert (said["done"], said["failed"], said["found"], said["reason"]) == (0, 3, 0, "")
    assert list(read_results(tmp_path / "out")) == []
    assert [row["image_id"] for row in rows(tmp_path, "errors")] == [1, 2, 3]


def test_errors_of_an_earlier_try_go(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "in", 2, damaged=[1])
    worker = Worker(job(tmp_path), Ledger())
    worker.do(block_of(folder, 2))
    assert len(rows(tmp_path, "errors")) == 1
    write_photographs(folder, 2)
    worker.do(block_of(folder, 2))
    assert rows(tmp_path, "errors") == []
    assert len(rows(tmp_path, "images")) == 2


def test_a_damaged_shard_keeps_what_lies_before(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "in", 4)
    shard = write_shard(tmp_path / "a.tar", {path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    shard.write_bytes(shard.read_bytes()[: -shard.stat().st_size // 2])
    said = Worker(job(tmp_path, kind="tar"), Ledger()).do(Block(7, path=str(shard), name="a.tar"))
    assert said["done"] == len(rows(tmp_path, "images")) >= 1
    (failed,) = rows(tmp_path, "errors")
    assert (failed["image_id"], failed["file_name"]) == (None, "a.tar")


def test_what_cannot_be_read_now_is_left_to_do(tmp_path: Path) -> None:
    asked = job(tmp_path, kind="tar")
    said = Worker(asked, Ledger()).do(Block(7, path=str(tmp_path / "gone.tar"), name="gone.tar"))
    assert said["reason"].startswith("block 7, gone.tar: ")
    assert asked.tables.done() == set()
    assert list((tmp_path / "out").rglob("*.parquet")) == []


def test_a_store_holds_the_same_as_a_disk(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "in", 3, damaged=[1])
    Worker(job(tmp_path), Ledger()).do(block_of(folder, 3))
    in_store = job(tmp_path, store(tmp_path / "s3"))
    Worker(in_store, Ledger()).do(block_of(folder, 3))
    assert in_store.tables.done() == {7}
    for table in ("proposals", "images", "errors"):
        path = tmp_path / "s3" / "bucket" / table / "000007.parquet"
        assert parquet.read_table(path).to_pylist() == rows(tmp_path, table)


def test_an_image_on_which_workers_die_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nothing catches stands for a kill."""

    class Killed(BaseException):
        pass

    read = worker_module.read_image
    reads: list[int] = []

    def deadly(content: bytes, size: Any) -> Any:
        pixels = read(content, size)
        reads.append(pixels.shape[1] - 40)
        if reads[-1] == 2:
            raise Killed
        return pixels

    monkeypatch.setattr(worker_module, "read_image", deadly)
    folder, ledger, deaths = write_photographs(tmp_path / "in", 5), Ledger(), 0
    asked = job(tmp_path)
    for _ in range(5):
        try:
            said = Worker(asked, ledger).do(block_of(folder, 5))
            break
        except Killed:
            deaths += 1
            assert asked.tables.done() == set()
    assert deaths == 3
    assert (said["done"], said["failed"]) == (4, 1)
    (failed,) = rows(tmp_path, "errors")
    assert failed["image_id"] == 3
    assert "workers died on it" in failed["reason"]


def test_one_kill_leaves_no_image_out() -> None:
    ledger = Ledger()
    assert ledger.begin(1) == (0, [])
    assert ledger.begin(1) == (1, [])
    ledger.at(1, 5)
    assert ledger.begin(1) == (2, [])
    ledger.at(1, 6)
    assert ledger.begin(1) == (3, [])
    ledger.at(1, 5)
    assert ledger.begin(1) == (4, [5])
    assert ledger.begin(2) == (0, [])


def test_a_block_on_which_all_die_is_given_up(tmp_path: Path) -> None:
    ledger = Ledger()
    for _ in range(MOST_STARTS):
        ledger.begin(7)
    said = Worker(job(tmp_path), ledger).do(block_of(tmp_path, 1))
    assert said["reason"] == f"block 7: {MOST_STARTS} workers died on it"


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_damage_comes_behind_what_was_read(threads: int) -> None:
    taken: list[int] = []

    def entries() -> Iterator[Entry]:
        for number in range(5):
            taken.append(number)
            yield Entry(number, "", None, bytes)
        raise DamagedError("here")

    seen: list[int] = []

    def see() -> None:
        for entry, _ in ahead(entries(), lambda entry: str(entry.image_id), threads):
            assert len(taken) <= entry.image_id + 1 + threads
            seen.append(entry.image_id)

    with pytest.raises(DamagedError, match="here"):
        see()
    assert seen == list(range(5))
