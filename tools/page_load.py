"""Many visitors of the page at once: whether anything is mixed up, and how memory grows.

python tools/page_load.py --uploads 200 --clients 8

starts the page's server, lets clients upload pictures of differing sizes, look at their objects, and ask for each
other's. Prints the server's memory as it goes; photographs take --kept MB of it at most. Exit code 1 where anything
was mixed.

python tools/page_load.py --time photograph.jpg

says how long one visitor waits for each answer about a photograph, five times.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = 20  # different ones; each is uploaded by several visitors
TIMES = 5
TRIES = 10  # of an upload
NOT_THERE = 404  # the status of a photograph that is not kept any more, or is another visitor's
SIDE, STEP = 400, 7  # pixels: the first one's width, and by how much each is wider than the one before


class Visitor:
    """A browser without a screen."""

    def __init__(self, port: int) -> None:
        self.address, self.port = f"http://127.0.0.1:{port}", port
        response, _ = self._ask("GET", "/", None, "")
        self.cookie = str(response.getheader("set-cookie")).partition(";")[0]

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        response, content = self._ask(method, path, body, self.cookie)
        return response.status, content

    def _ask(self, method: str, path: str, body: bytes | None, cookie: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path, body, {"Origin": self.address, "Cookie": cookie})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


@dataclass
class Load:
    """What happened: faults in words, and every answer about each picture, which must all be the same."""

    port: int
    pictures: list[bytes]
    faults: list[str] = field(default_factory=list)
    answers: dict[int, set[bytes]] = field(default_factory=dict)
    keys: list[tuple[int, str]] = field(default_factory=list)  # of which visitor, and the photograph
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, uploads: int, clients: int) -> None:
        """Let clients upload pictures, one after the other each."""
        visitors = [Visitor(self.port) for _ in range(clients)]
        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(self.upload, visitors, one % clients, one) for one in range(uploads)]:
                done.result()

    def upload(self, visitors: list[Visitor], which: int, number: int) -> None:
        """Upload one picture and look at it; then try to see another visitor's.

        The server keeps a bounded number of photographs. Where others' drove this one out before it was looked at, it
        is uploaded again, as the server asks.
        """
        visitor, picture = visitors[which], number % len(self.pictures)
        start = time.perf_counter()
        for _ in range(TRIES):
            status, content = visitor.ask("POST", f"/api/photographs?name={picture}.png", self.pictures[picture])
            if status != 200:
                self.fault(f"upload {number}: {status} {content[:200]!r}")
                return
            table = json.loads(content)
            if (table["width"], table["height"]) != (width_of(picture), SIDE):
                self.fault(f"upload {number} is {table['width']} x {table['height']}")
            if self.look(visitor, table["key"], number):
                break
        else:
            self.fault(f"upload {number} was not kept, {TRIES} times")
            return
        with self.lock:
            self.seconds.append(time.perf_counter() - start)
            others = [key for one, key in self.keys if one != which]
            self.keys.append((which, table["key"]))
        for key in others[-2:]:
            if visitor.ask("GET", f"/api/photographs/{key}/picture")[0] != NOT_THERE:
                self.fault(f"visitor {which} sees another's photograph")

    def look(self, visitor: Visitor, key: str, number: int) -> bool:
        """Ask for the picture and the objects of an upload; whether it was kept for so long."""
        picture, address = number % len(self.pictures), f"/api/photographs/{key}"
        status, shown = visitor.ask("GET", f"{address}/picture")
        if status == NOT_THERE:
            return False
        if Image.open(io.BytesIO(shown)).size != (width_of(picture), SIDE):
            self.fault(f"upload {number} shows another picture")
        status, objects = visitor.ask("GET", f"{address}/objects")
        if status == NOT_THERE:
            return False
        if status != 200:
            self.fault(f"objects of upload {number}: {status} {objects[:200]!r}")
        with self.lock:
            self.answers.setdefault(picture, set()).add(objects)
        return True

    def fault(self, text: str) -> None:
        with self.lock:
            self.faults.append(text)

    def mixed(self) -> list[str]:
        """Everything that was wrong."""
        differing = [f"picture {one} has {len(said)} answers" for one, said in self.answers.items() if len(said) != 1]
        return self.faults + differing


def width_of(picture: int) -> int:
    """Width of a picture, by which it is known again."""
    return SIDE + STEP * picture


def draw_pictures(count: int = PICTURES) -> list[bytes]:
    """Files of pictures with bright discs, each of another width."""
    files = []
    for number in range(count):
        generator = np.random.default_rng(number)
        image = generator.integers(0, 60, (SIDE, width_of(number), 3), dtype=np.uint8)
        y, x = np.mgrid[:SIDE, : width_of(number)]
        for _ in range(8):
            centre = generator.integers(40, SIDE - 40, 2)
            inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < int(generator.integers(15, 60)) ** 2
            image[inside] = generator.integers(100, 255, 3)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="png")
        files.append(buffer.getvalue())
    return files


def memory(pid: int) -> float:
    """Resident memory of a process, in MB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Start a server, load it, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kept", type=float, default=20, help="MB of photographs that the server keeps at most")
    parser.add_argument("--serve", action="store_true", help="be the server")
    parser.add_argument("--port", type=int, default=7861)
    parser.add_argument("--rounds", type=int, default=5, help="in which memory is printed")
    parser.add_argument("--time", type=Path, metavar="FILE", help="time the answers about a photograph instead")
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.port, asked.kept)
        return
    command = [sys.executable, __file__, "--serve", "--port", str(asked.port), "--kept", str(asked.kept)]
    with subprocess.Popen(command) as server:
        try:
            wait_for(asked.port)
            if asked.time is not None:
                for _ in range(TIMES):
                    print(time_answers(asked.port, asked.time), flush=True)
                return
            load = Load(asked.port, draw_pictures())
            load.run(asked.clients, asked.clients)
            print(f"after the first {asked.clients}: {memory(server.pid):.0f} MB", flush=True)
            for number in range(1, asked.rounds + 1):
                load.run(asked.uploads // asked.rounds, asked.clients)
                done = number * (asked.uploads // asked.rounds)
                print(f"after {done} uploads: {memory(server.pid):.0f} MB", flush=True)
        finally:
            server.terminate()
    for text in load.mixed():
        print(text)
    print(f"{len(load.seconds)} uploads, {len(load.mixed())} faults, median {np.median(load.seconds):.1f} s each")
    sys.exit(bool(load.mixed()))


def time_answers(port: int, file: Path) -> str:
    """Seconds for each answer about a photograph: upload, objects, the same again as exclusive ones, why, why again."""
    visitor, content = Visitor(port), file.read_bytes()

    def timed(method: str, path: str, body: bytes | None = None) -> tuple[float, bytes]:
        start = time.perf_counter()
        status, answer = visitor.ask(method, path, body)
        assert status == 200, answer
        return time.perf_counter() - start, answer

    upload, answer = timed("POST", f"/api/photographs?name={file.name}", content)
    table = json.loads(answer)
    address = f"/api/photographs/{table['key']}"
    pixel = json.dumps({"pixel": [table["width"] // 2, table["height"] // 2]}).encode()
    parts = {
        "upload": upload,
        "objects": timed("GET", f"{address}/objects")[0],
        "exclusive": timed("GET", f"{address}/objects?exclusive=1")[0],
        "why": timed("POST", f"{address}/why", pixel)[0],
        "why again": timed("POST", f"{address}/why", pixel)[0],
    }
    return "  ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())


def serve(port: int, kept: float) -> None:
    """The server of `instancefcn web`, with a bound of its own for what it keeps."""
    import uvicorn

    from instancefcn.allocator import keep_freed_memory
    from instancefcn.inference.proposer import Proposer
    from instancefcn.web.models import Models
    from instancefcn.web.server import Server
    from instancefcn.web.visit import Visits

    keep_freed_memory()
    models = Models([("shipped", Proposer.from_checkpoint)])
    server = Server(models, port=port, visits=Visits(int(kept * 1e6)))
    server.start()
    uvicorn.run(server.app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def wait_for(port: int) -> None:
    """Wait until the network is loaded."""
    for _ in range(600):
        time.sleep(0.5)
        try:
            if json.loads(Visitor(port).ask("GET", "/api/state")[1])["ready"]:
                return
        except (OSError, ValueError):
            continue
    raise SystemExit("the server does not answer")


if __name__ == "__main__":
    main()
