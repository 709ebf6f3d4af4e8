"""docs/browser/index.html in headless Chromium, with onnxruntime-web from npm in place of the network."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instancefcn.runtime import OnnxProposer
from onnx_graph.small import Exported, picture

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "browser" / "index.html"
CDN = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/"
LOADED = 120_000  # milliseconds that a graph may take on a busy machine


@pytest.fixture(scope="session")
def chromium() -> str:
    pytest.importorskip("playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    return path


@pytest.fixture(scope="session")
def onnxruntime_web(chromium: str) -> Path:
    """The files that the page loads from a content delivery network."""
    dist = HERE / "node_modules" / "onnxruntime-web" / "dist"
    if not dist.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm, to fetch onnxruntime-web")
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm can't fetch onnxruntime-web: {done.stderr[-300:]}")
    return dist


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A folder that is served, with the page in it."""
    shutil.copy(PAGE, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def boxes_in_browser(chromium: str, onnxruntime_web: Path, url: str, image: Path) -> np.ndarray:
    """Scores and boxes [n, 5] that the page lists for an image."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.route(f"{CDN}*", lambda route: route.fulfill(path=onnxruntime_web / Path(route.request.url).name))
        page.goto(url)
        page.wait_for_function("!document.querySelector('#status').textContent.startsWith('Loading')", timeout=LOADED)
        page.set_input_files("#image", image)
        page.wait_for_function("/proposals|Error/.test(document.querySelector('#status').textContent)", timeout=LOADED)
        status = page.text_content("#status")
        rows = page.eval_on_selector_all(
            "#proposals tr", "rows => rows.map(row => [...row.cells].map(cell => Number(cell.textContent)))"
        )
        browser.close()
    assert "proposals in" in status, status
    return np.array(rows)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [(64, 80), (77, 131)])
def test_the_page_finds_the_boxes_that_the_runtime_finds(
    pyramid: Exported,
    proposer_of: Callable[..., OnnxProposer],
    chromium: str,
    onnxruntime_web: Path,
    site: str,
    tmp_path: Path,
    size: tuple[int, int],
) -> None:
    image = picture(*size)
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = proposer_of(pyramid)(image)  # its graph lies in the folder that is served
    found = boxes_in_browser(chromium, onnxruntime_web, f"{site}/index.html?graph=graph.onnx", tmp_path / "image.png")
    assert len(found) == len(expected) > 10
    assert np.abs(found[:, 1:] - expected.boxes_xyxy).max() <= 1
    assert np.abs(found[:, 0] - expected.scores).max() < 1e-3
