"""``instancefcn web`` before its page is there; what it serves is tested in tests/web."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from apps.conftest import Command
from instancefcn.apps.web import listen
from instancefcn.web.folder import ReviewFolder
from pictures import write_photograph

pytest.importorskip("uvicorn")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_wrong_usage(command: Command, tmp_path: Path) -> None:
    write_photograph(tmp_path / "photographs" / "a.png")
    photographs = tmp_path / "photographs"
    for arguments, words in (
        (["--labels", tmp_path / "labels"], "takes the FOLDER"),
        ([photographs, "--host", "0.0.0.0"], "for this machine alone"),
        ([tmp_path / "nowhere"], "does not exist"),
        ([photographs, "--to", "coco"], "'coco'"),
        (["--host", "203.0.113.7"], "can't be listened at"),
    ):
        done = command("web", *arguments)
        assert (done.exit_code, words in done.output) == (2, True), done.output


def test_a_taken_port_and_a_file_that_is_no_checkpoint(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = command("web", "--port", listening.getsockname()[1])
    assert (done.exit_code, "is taken: give another" in done.output) == (2, True), done.output
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    done = command("web", "--port", free_port(), "--checkpoint", tmp_path / "no.safetensors")
    assert done.exit_code == 1
    assert "error: the network can't be loaded" in done.output
    assert "no.safetensors" in done.output


@pytest.mark.parametrize("options", [["--to", "labels"], []])
def test_label_maps_among_the_photographs_are_not_shown(
    options: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "kept/masks/a.png"):
        write_photograph(tmp_path / name)
    shown: list[str] = []
    keep = ReviewFolder.__init__

    def keep_names(self: ReviewFolder, folder: Path, images: list[tuple[str, Path]], *others: Any) -> None:
        shown.extend(name for name, _ in images)
        keep(self, folder, images, *others)

    monkeypatch.setattr(ReviewFolder, "__init__", keep_names)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends
        command("web", tmp_path, "--labels", tmp_path / "kept", "--port", taken.getsockname()[1], *options)
    assert shown == ["a.png", "b.png"]


def test_no_packet_waits_for_the_one_before() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_listens_here_alone_and_ends_by_a_signal(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "instancefcn", "web", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"the page is at http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"<title>instancefcn</title>" in answer.read()
        addresses = Path("/proc/net/tcp")
        if addresses.exists():
            lines = [line.split() for line in addresses.read_text().splitlines()[1:]]
            assert {line[1] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"} == {
                f"0100007F:{port:04X}"
            }
        os.kill(server.pid, signal.SIGINT)
        _, errors = server.communicate(timeout=60)
    assert (server.returncode, "Traceback" in errors) == (130, False), errors
