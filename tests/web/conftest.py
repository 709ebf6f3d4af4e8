"""A server with the shipped network at a small scale, and visitors of it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.web.folder import ReviewFolder
from instancefcn.web.models import Models
from instancefcn.web.server import Server

pytest.importorskip("starlette")
from starlette.testclient import TestClient

ADDRESS = "http://127.0.0.1:7860"
Visitor = Callable[[], TestClient]


@pytest.fixture(scope="session")
def proposer() -> Proposer:
    """The shipped one, at a third of its scale."""
    checkpoint = load_checkpoint(SHIPPED_CHECKPOINT)
    config = replace(checkpoint.inference, shorter_sides=(160.0,), overview=64.0)
    return Proposer(checkpoint.build(), config, device="cpu", rule=checkpoint.objects)


@pytest.fixture(scope="session")
def models(proposer: Proposer) -> Models:
    loaded = Models([("one", lambda: proposer), ("two", lambda: proposer)])
    loaded.load()
    return loaded


@pytest.fixture
def server(models: Models) -> Iterator[Server]:
    started = Server(models)
    yield started
    started.close()


@pytest.fixture
def visitor(server: Server) -> Visitor:
    return lambda: visit(server)


def visit(server: Server) -> TestClient:
    """A browser that has loaded the page."""
    client = TestClient(server.app, base_url=ADDRESS, headers={"origin": ADDRESS})
    assert client.get("/").status_code == 200
    return client


class Site:
    """A server at a free port."""

    def __init__(self, models: Models, folder: ReviewFolder | None = None) -> None:
        self.server = Server(models, port=0, folder=folder)
        import uvicorn

        config = uvicorn.Config(self.server.app, host="127.0.0.1", port=0, log_level="error")
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.uvicorn.run)
        self.thread.start()
        while not self.uvicorn.started:
            time.sleep(0.01)
        self.port = self.uvicorn.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join()
        self.server.close()


def discs(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """Bright discs on dark ground, which the network finds."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    for centre_x, centre_y in ((40, 40), (110, 50), (70, 90)):
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < int(generator.integers(12, 22)) ** 2
        image[inside] = generator.integers(120, 255, 3)
    return image


def png(pixels: np.ndarray) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()
