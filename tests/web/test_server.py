"""The server: what it answers, and what it refuses in words."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from threading import get_ident
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from instancefcn.geometry.rle import decode, from_json
from instancefcn.inference.proposer import Proposer
from instancefcn.web import pictures
from instancefcn.web import server as server_file
from instancefcn.web import visit as visit_file
from instancefcn.web.answers import Refused
from instancefcn.web.downloads import FORMS, distinct_names
from instancefcn.web.models import Models
from instancefcn.web.server import Server
from instancefcn.web.visit import Photograph, Visit, Visits, clean_name, free_name
from web.conftest import ADDRESS, Visitor, discs, png, visit

pytest.importorskip("starlette")
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message


def add(client: TestClient, content: bytes | None = None, name: str = "discs.png") -> dict:
    answer = client.post("/api/photographs", params={"name": name}, content=content or png(discs()))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_photograph_and_its_objects(visitor: Visitor, proposer: Proposer) -> None:
    client = visitor()
    photograph = add(client)
    assert (photograph["name"], photograph["width"], photograph["height"]) == ("discs.png", 160, 120)
    picture = Image.open(io.BytesIO(client.get(f"/api/photographs/{photograph['key']}/picture").content))
    assert picture.size == (160, 120)
    for exclusive in (False, True):
        address = f"/api/photographs/{photograph['key']}/objects"
        found = client.get(address, params={"by": 1, "exclusive": int(exclusive)}).json()
        expected = proposer.objects(discs(), exclusive=exclusive)
        assert found["usual"] == len(expected) > 0
        assert [one["score"] for one in found["objects"][: found["usual"]]] == expected.scores.tolist()
        assert [one["area"] for one in found["objects"][: found["usual"]]] == expected.areas.tolist()
        assert all(one["path"].startswith("M") for one in found["objects"])


def test_the_network_runs_once(visitor: Visitor, proposer: Proposer, monkeypatch: pytest.MonkeyPatch) -> None:
    client, calls = visitor(), []
    forward = proposer.network.forward
    monkeypatch.setattr(proposer.network, "forward", lambda images: calls.append(1) or forward(images))
    photograph = add(client)
    for exclusive in (0, 1, 0):
        assert client.get(f"/api/photographs/{photograph['key']}/objects?exclusive={exclusive}").status_code == 200
    assert len(calls) == 1


def test_the_network_is_loaded_and_runs_in_one_thread(proposer: Proposer, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP has helpers for each thread that calls torch, and with more of them than cores every call is slower."""
    threads: set[int] = set()
    forward = proposer.network.forward
    monkeypatch.setattr(proposer.network, "forward", lambda images: threads.add(get_ident()) or forward(images))
    started = Server(Models([("one", lambda: threads.add(get_ident()) or proposer)]))
    started.start()
    client = visit(started)
    key = add(client)["key"]
    assert client.get(f"/api/photographs/{key}/objects").json()["usual"] > 0
    assert client.post(f"/api/photographs/{key}/why", json={"pixel": [40, 40]}).status_code == 200
    started.close()
    assert len(threads) == 1
    assert get_ident() not in threads


def test_why_a_pixel(visitor: Visitor) -> None:
    client = visitor()
    key = add(client)["key"]
    told = client.post(f"/api/photographs/{key}/why", json={"pixel": [40, 40]}).json()
    assert told["pixel"] == [40, 40]
    assert told["window"]["sheet"].startswith("data:image/png;base64,")
    for asked, status in (
        ({}, 400), ([], 400), ({"pixel": [1]}, 400), ({"pixel": "ab"}, 400), ({"pixel": [9999, 0]}, 404),
        ({"rank": 10**9}, 404), ({"number": 5000}, 404), ({"pixel": [1, 1], "by": 7}, 404), ({"rank": 1e400}, 400),
    ):  # fmt: skip
        answer = client.post(f"/api/photographs/{key}/why", content=json.dumps(asked))
        assert answer.status_code == status, (asked, answer.text)
        assert len(answer.text) > 10


@pytest.mark.parametrize("form", FORMS)
def test_downloads(form: str, visitor: Visitor) -> None:
    client = visitor()
    keys = [add(client)["key"], add(client)["key"]]
    chosen = [{"key": key, "by": 0, "exclusive": False, "kept": [1, 3]} for key in keys]
    answer = client.post("/api/download", json={"form": form, "photographs": chosen})
    assert answer.status_code == 200, answer.text
    name = unquote(answer.headers["x-file-name"])
    assert name in unquote(answer.headers["content-disposition"])
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            stems = {part.rpartition("/")[2].partition(".")[0] for part in archive.namelist()}
        assert stems >= {"discs", "discs (2)"}
    if form == "json":
        proposals = answer.json()
        objects = client.get(f"/api/photographs/{keys[0]}/objects").json()["objects"]
        assert [entry["image_id"] for entry in proposals] == [1, 1, 2, 2]
        assert [entry["score"] for entry in proposals[:2]] == [objects[0]["score"], objects[2]["score"]]
        assert decode(from_json(proposals[0]["segmentation"])).sum() == objects[0]["area"]


def test_downloads_that_are_refused(visitor: Visitor) -> None:
    client = visitor()
    one = {"key": add(client)["key"], "by": 0, "exclusive": False, "kept": [1]}
    for table, status in (
        ({"form": "zip", "photographs": [one]}, 415),
        ({"form": "json", "photographs": [one | {"kept": [0]}]}, 400),
        ({"form": "json", "photographs": [one | {"kept": [9999]}]}, 404),
        ({"form": "json", "photographs": [one | {"key": "../.."}]}, 404),
        ({"form": "json", "photographs": [one | {"by": 9}]}, 404),
        ({"form": "json"}, 400),
        (["json"], 400),
    ):
        assert client.post("/api/download", json=table).status_code == status, table
    assert client.post("/api/download", content="{").status_code == 400


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 415, "the file is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "evil.png: "),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), 415, "evil.png: "),
        (png(discs())[:400], 415, "evil.png: "),
    ],
)
def test_what_is_no_image(content: bytes, status: int, words: str, visitor: Visitor) -> None:
    answer = visitor().post("/api/photographs", params={"name": "x/../evil.png"[5:]}, content=content)
    assert answer.status_code == status
    assert words in answer.text
    assert "embedded" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_bomb_and_what_is_too_large(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    client = visitor()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, format="png")
    answer = client.post("/api/photographs?name=bomb.png", content=bomb.getvalue())
    assert (answer.status_code, "megapixels" in answer.text) == (415, True)
    monkeypatch.setattr(server_file, "MOST_UPLOADED", 1000)
    for content in (bytes(1001), iter([bytes(600), bytes(600)])):  # with its length stated, and without
        answer = client.post("/api/photographs?name=large.png", content=content)
        assert (answer.status_code, "MB: make it smaller" in answer.text) == (413, True)


def test_two_visitors_see_their_own(visitor: Visitor) -> None:
    one, other = visitor(), visitor()
    key = add(one)["key"]
    for address in (f"/api/photographs/{key}/picture", f"/api/photographs/{key}/objects"):
        assert one.get(address).status_code == 200
        assert other.get(address).status_code == 404
    chosen = {"form": "json", "photographs": [{"key": key, "by": 0, "exclusive": False, "kept": []}]}
    assert one.post("/api/download", json=chosen).status_code == 200
    assert other.post("/api/download", json=chosen).status_code == 404
    assert other.post(f"/api/photographs/{key}/why", json={"pixel": [1, 1]}).status_code == 404


def test_the_cookie(server: Server) -> None:
    stranger = TestClient(server.app, base_url=ADDRESS)
    assert stranger.get("/api/state").status_code == 401
    cookie = stranger.get("/").headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert len(cookie.partition("=")[2].partition(";")[0]) >= 40
    assert "set-cookie" not in stranger.get("/").headers
    assert stranger.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7860", True), ("localhost:7860", True), ("LOCALHOST", True), ("[::1]:7860", True),
        ("evil.example", False), ("127.0.0.1.evil.example:7860", False), ("localhost.evil.example", False),
        ("evil.example@127.0.0.1", True), ("127.0.0.1@evil.example", False), ("[::1", False), ("", False),
    ],
)  # fmt: skip
def test_the_host_is_checked(host: str, allowed: bool, visitor: Visitor) -> None:
    answer = visitor().get("/", headers={"host": host})
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:7860", "http://127.0.0.1:1", None]
)
def test_the_origin_is_checked(origin: str | None, server: Server) -> None:
    client = visit(server)
    client.headers.pop("origin")
    headers = {} if origin is None else {"origin": origin}
    answer = client.post("/api/photographs?name=a.png", content=png(discs()), headers=headers)
    assert answer.status_code == 403
    assert "another page" in answer.text


def test_headers_and_no_script_inside(visitor: Visitor) -> None:
    client = visitor()
    for address in ("/", "/page/main.js", "/api/state", "/nowhere"):
        headers = client.get(address).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    text = client.get("/").text
    assert "<style" not in text
    assert " style=" not in text
    assert not re.search(r"\son\w+\s*=", text)
    assert text.count("<script") == text.count('<script type="module" src="/page/') == 1
    assert client.get("/page/../server.py").status_code == 404
    assert client.get("/page/..%2fserver.py").status_code == 404


def test_examples(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = visit(server)
    count = len(client.get("/api/state").json()["examples"])
    assert count == len(server.examples)
    assert client.post(f"/api/examples/{count}").status_code == 404
    if count:
        assert client.get("/api/examples/0/picture").headers["content-type"] == "image/jpeg"
        assert client.post("/api/examples/0").json()["name"] == server.examples[0].name
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    assert pictures.example_photographs() == []


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit_file, "MOST_PHOTOGRAPHS", 3)
    monkeypatch.setattr(visit_file, "MOST_VISITS", 2)
    visits = Visits(most_bytes=1000)
    secrets = [visits.begin() for _ in range(3)]
    assert [visits.get(secret) is None for secret in secrets] == [True, False, False]
    crowded = Visits()
    person = crowded.begin()
    crowded.get(person).add(Photograph("key", "a.png", b"", 1, 1, b"", (0, 0)))  # pyright: ignore[reportOptionalMemberAccess]
    for _ in range(5):
        crowded.begin()
    assert crowded.get(person) is not None  # who has none has to go

    def kept(size: int) -> Photograph:
        return Photograph(str(np.random.default_rng().integers(1 << 60)), "a.png", bytes(size), 1, 1, b"", (0, 0))

    one, other = (visits.get(secret) for secret in secrets[1:])
    assert one is not None
    assert other is not None
    photographs = [one.add(kept(100)) for _ in range(4)]
    assert [photograph.key in one.photographs for photograph in photographs] == [False, True, True, True]
    one.get(photographs[1].key)
    other.add(kept(850))
    visits.trim()
    assert list(one.photographs) == [photographs[1].key]  # the one that was used last
    other.add(kept(5000))
    visits.trim()
    assert (len(one.photographs), len(other.photographs)) == (0, 1)


def test_names() -> None:
    assert clean_name("../../etc/pass\nwd.png") == "_.._etc_pass_wd.png"
    assert clean_name("") == clean_name("...") == "photograph"
    assert clean_name("C:\\a\u202egnp.exe") == "C:_a_gnp.exe"
    assert len(clean_name("a" * 500 + ".jpeg")) == 120
    long = clean_name("写" * 100 + ".png")
    assert long == "写" * 38 + ".png"  # 118 bytes: file systems count these
    assert free_name("a.jpg", {"a.jpg", "a (2).jpg"}) == "a (3).jpg"
    visited = Visit()
    names = [visited.add(Photograph(str(key), "<b>.png", b"", 1, 1, b"", (0, 0))).name for key in range(2)]
    assert names == ["<b>.png", "<b> (2).png"]
    assert distinct_names(["a.png", "a (2).png", "a.png"]) == ["a.png", "a (2).png", "a (3).png"]


def test_few_uploads_are_in_memory_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = [0]

    async def body(*_: Any) -> bytes:
        at_once.append(at_once[-1] + 1)
        await asyncio.sleep(0.001)
        at_once.append(at_once[-1] - 1)
        return b"a photograph"

    async def keep(*_: Any) -> Response:
        return Response()

    monkeypatch.setattr(server_file, "body_of", body)
    monkeypatch.setattr(server, "_keep", keep)
    request, visit = Request({"type": "http", "query_string": b"", "headers": []}), Visit()

    async def upload_all() -> None:
        await asyncio.gather(*(server.upload(request, visit) for _ in range(12)))

    asyncio.run(upload_all())
    assert len(at_once) == 25
    assert max(at_once) == server_file.UPLOADS_AT_ONCE


def test_an_upload_that_stalls_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_file, "LONGEST_UPLOAD", 0.01)

    async def never() -> Message:
        await asyncio.sleep(100)
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "query_string": b"name=a.png", "headers": []}, never)
    with pytest.raises(Refused, match=r"a\.png: it took too long") as refused:
        asyncio.run(server.upload(request, Visit()))
    assert refused.value.status == 408
