"""Stepping through a folder: labels as the loop's, and nobody's work is lost."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from instancefcn.apps.cli import app
from instancefcn.data.open import open_source
from instancefcn.files import file_sum
from instancefcn.geometry.rle import ious
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling.person_labels import guess_form
from instancefcn.web.folder import FORMS, LEDGER, OthersFile, ReviewFolder
from instancefcn.web.models import Models
from instancefcn.web.server import Server
from instancefcn.web.visit import Visit
from web.conftest import discs, png, visit

pytest.importorskip("starlette")
from starlette.requests import Request
from starlette.testclient import TestClient

NAMES = ("a.png", "b.png", "deep/c.png")


@pytest.fixture
def photographs(tmp_path: Path) -> list[tuple[str, Path]]:
    paths = [tmp_path / "photographs" / name for name in NAMES]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(discs(seed)).save(path)
    return list(zip(NAMES, paths, strict=True))


@pytest.fixture
def client(photographs: list[tuple[str, Path]], tmp_path: Path, models: Models) -> Iterator[TestClient]:
    folder = ReviewFolder(tmp_path / "photographs", photographs, tmp_path / "labels")
    server = Server(models, folder=folder)
    yield visit(server)
    server.close()


def keep(client: TestClient, place: int, numbers: list[int], **more: Any) -> Any:
    key = client.post(f"/api/folder/{place}").json()["key"]
    chosen = {"key": key, "by": 0, "exclusive": False, "kept": numbers, **more}
    return client.post(f"/api/folder/{place}/labels", json=chosen)


def test_two_photographs_of_one_name_have_two_files(client: TestClient) -> None:
    """An upload, and then the folder's own, whose name is that of its labels."""
    uploaded = client.post("/api/photographs", params={"name": "a.png"}, content=png(discs(5))).json()
    keys = [uploaded["key"], client.post("/api/folder/0").json()["key"]]
    chosen = [{"key": key, "by": 0, "exclusive": False, "kept": [1]} for key in keys]
    answer = client.post("/api/download", json={"form": "labelme", "photographs": chosen})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["a (2).json", "a.json"]


def test_a_place_that_is_opened_twice_at_once_is_one_photograph(
    models: Models, photographs: list[tuple[str, Path]], tmp_path: Path
) -> None:
    server, visited = Server(models, folder=ReviewFolder(tmp_path, photographs, tmp_path / "labels")), Visit()
    request = Request({"type": "http", "path_params": {"place": 0}, "headers": []})

    async def open_twice() -> None:
        await asyncio.gather(*(server.open_place(request, visited) for _ in range(2)))

    asyncio.run(open_twice())
    server.close()
    assert len(visited.photographs) == 1


def states(client: TestClient) -> list[str]:
    return [entry["state"] for entry in client.get("/api/folder").json()]


def test_saved_labels_are_those_that_training_reads(client: TestClient, tmp_path: Path, proposer: Proposer) -> None:
    assert states(client) == ["none"] * 3
    answer = keep(client, 0, [1, 2])
    written = file_sum(tmp_path / "labels" / "a.json")
    assert answer.json() | {"notes": []} == {"file": "a.json", "sum": written, "objects": 2, "notes": []}
    assert keep(client, 2, []).json()["file"] == "deep/c.json"
    assert states(client) == ["saved", "none", "saved"]
    assert keep(client, 0, [1], over=written).status_code == 200  # its own file is written anew
    source = open_source(f"labelme:{tmp_path / 'labels'},{tmp_path / 'photographs'}")
    assert list(source.problems) == []
    by_name = {source.labels(index).file_name: source.labels(index) for index in range(len(source))}
    assert sorted(len(labels.instances) for labels in by_name.values()) == [0, 1]
    (rle,) = [rle for labels in by_name.values() for rle in labels.instances.rles]
    assert ious([rle], proposer.objects(discs(0)).rles[:1])[0, 0] > 0.85
    assert guess_form(tmp_path / "labels") == "labelme"
    assert {path.name for path in (tmp_path / "labels").iterdir()} == {"a.json", "deep", LEDGER}


def test_labels_that_come_while_the_page_runs_are_seen(client: TestClient, tmp_path: Path) -> None:
    assert keep(client, 1, [1]).status_code == 200
    labels = tmp_path / "labels"
    theirs = json.loads((labels / "b.json").read_text()) | {"imagePath": "../photographs/a.png"}
    (labels / "tool-42.json").write_text(json.dumps(theirs))
    assert keep(client, 0, [1]).status_code == 409
    assert not (labels / "a.json").exists()
    assert states(client) == ["others", "saved", "none"]
    (labels / "tool-42.json").unlink()
    assert keep(client, 0, [1]).status_code == 200


def test_what_another_window_saved_is_replaced_only_when_asked_for(client: TestClient, tmp_path: Path) -> None:
    saved = keep(client, 0, [1, 2]).json()["sum"]
    later = keep(client, 0, [1], over=saved).json()["sum"]
    refused = keep(client, 0, [1, 2], over=saved)  # by the window that does not know of the later one
    assert refused.status_code == keep(client, 0, []).status_code == 409
    assert refused.json() == {"sentence": "a.json was saved earlier, or in another window.", "sum": later}
    assert len(json.loads((tmp_path / "labels" / "a.json").read_text())["shapes"]) == 1


def test_a_photograph_that_changes_is_not_labelled_by_what_it_was(
    client: TestClient, photographs: list[tuple[str, Path]], tmp_path: Path
) -> None:
    opened = client.post("/api/folder/0").json()
    objects = f"/api/photographs/{opened['key']}/objects"
    assert client.get(objects).status_code == 200
    Image.fromarray(discs(7, height=60, width=80)).save(photographs[0][1])
    chosen = {"key": opened["key"], "by": 0, "exclusive": False, "kept": [1]}
    answer = client.post("/api/folder/0/labels", json=chosen)
    assert (answer.status_code, "a.png: the file was changed" in answer.text) == (415, True)
    assert not (tmp_path / "labels" / "a.json").exists()
    again = client.post("/api/folder/0").json()
    assert (again["width"], again["height"]) == (80, 60)
    assert again["version"] != opened["version"]
    assert client.get(objects).status_code == 404
    photographs[1][1].unlink()  # opened, and not yet looked at, or not even opened
    assert client.post("/api/folder/1").status_code == 415
    opened = client.post("/api/folder/2").json()
    Image.fromarray(discs(8)).save(photographs[2][1])
    assert client.get(f"/api/photographs/{opened['key']}/objects").status_code == 415


def test_a_persons_file_is_replaced_only_when_asked_for(client: TestClient, tmp_path: Path) -> None:
    keep(client, 0, [1])
    path = tmp_path / "labels" / "a.json"
    path.write_text(path.read_text() + " ")  # as another tool saves it
    touched = path.read_bytes()
    assert states(client)[0] == "others"
    refused = keep(client, 0, [2])
    assert refused.status_code == 409
    assert "was changed since" in refused.json()["sentence"]
    assert keep(client, 0, [2], over="0" * 64).status_code == 409
    assert path.read_bytes() == touched
    assert keep(client, 0, [2], over=refused.json()["sum"]).status_code == 200
    assert states(client)[0] == "saved"


def test_a_file_that_was_there_before(photographs: list[tuple[str, Path]], tmp_path: Path, proposer: Proposer) -> None:
    labels = tmp_path / "labels"
    folder = ReviewFolder(tmp_path / "photographs", photographs, labels)
    found = proposer.objects(discs(0))
    folder.save(0, found)
    (labels / LEDGER).unlink()
    table = json.loads((labels / "a.json").read_text())
    for shape in table["shapes"]:
        shape["label"] = "disc"
    (labels / "a.json").rename(labels / "other name.json")
    (labels / "other name.json").write_text(json.dumps(table))
    again = ReviewFolder(tmp_path / "photographs", photographs, labels)
    assert again.category[1] == "disc"
    assert [again.state(place) for place in range(3)] == ["others", "none", "none"]
    with pytest.raises(OthersFile, match="two files would label it") as refused:
        again.save(0, found)
    assert refused.value.sum is None
    again.save(1, found)
    assert json.loads((labels / "b.json").read_text())["shapes"][0]["label"] == "disc"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_known_again(
    form: str, photographs: list[tuple[str, Path]], tmp_path: Path, proposer: Proposer
) -> None:
    labels = tmp_path / "labels"
    ReviewFolder(tmp_path / "photographs", photographs, labels, form).save(1, proposer.objects(discs(1)))
    again = ReviewFolder(tmp_path / "photographs", photographs, labels, form)
    assert [again.state(place) for place in range(3)] == ["none", "saved", "none"]


def test_a_format_that_is_not_clear_is_asked_for(photographs: list[tuple[str, Path]], tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.json").write_text('{"shapes": []}')
    (labels / "b.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.4\n")
    with pytest.raises(ValueError, match=r"not clear \(labelme or yolo\): give --to"):
        ReviewFolder(tmp_path / "photographs", photographs, labels)
    done = CliRunner().invoke(app, ["web", str(tmp_path / "photographs"), "--labels", str(labels)])
    assert "give --to" in done.output


def test_what_is_no_folder_of_labels(photographs: list[tuple[str, Path]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="a folder is needed"):
        ReviewFolder(tmp_path, photographs, tmp_path / "file")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "coco.json").write_text('{"annotations": []}')
    with pytest.raises(ValueError, match="holds coco, but here labels are a file for each photograph"):
        ReviewFolder(tmp_path, photographs, tmp_path / "labels")


def test_refusals(client: TestClient, tmp_path: Path, photographs: list[tuple[str, Path]], models: Models) -> None:
    assert client.post("/api/folder/3").status_code == 404
    other = client.post("/api/folder/1").json()["key"]
    chosen = {"key": other, "by": 0, "exclusive": False, "kept": []}
    assert client.post("/api/folder/0/labels", json=chosen).status_code == 400
    assert client.post("/api/folder/0/labels", json=[]).status_code == 400
    photographs[0][1].write_bytes(b"nothing")
    broken = client.post("/api/folder/0")
    assert (broken.status_code, broken.text.startswith("a.png: ")) == (415, True)
    looking = Server(models, folder=ReviewFolder(tmp_path, photographs, None))
    answer = keep(visit(looking), 1, [1])
    assert (answer.status_code, "--labels" in answer.text) == (415, True)
    without = Server(models)
    assert visit(without).get("/api/folder").status_code == 404
    for server in (looking, without):
        server.close()


def test_a_name_that_is_no_text(tmp_path: Path, models: Models) -> None:
    path = tmp_path / "photographs" / "caf\udce9.png"
    path.parent.mkdir()
    try:
        path.write_bytes(png(discs()))
    except OSError:
        pytest.skip("this file system takes no such name")
    server = Server(models, folder=ReviewFolder(path.parent, [(path.name, path)], tmp_path / "labels"))
    client = visit(server)
    assert client.get("/api/folder").json() == [{"name": "caf?.png", "state": "none"}]
    answer = keep(client, 0, [1])
    assert (answer.status_code, "caf" in answer.text) == (415, True)
    server.close()
