"""The page in headless Chromium: what a person does, at two widths, in the dark and in the light, and by keyboard."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instancefcn.inference.proposer import Proposer
from instancefcn.web.folder import ReviewFolder
from instancefcn.web.models import Models
from web.conftest import Site, discs, png

pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")
WAIT = 60_000  # milliseconds that something may take on a busy machine
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as browsers:
        started = browsers.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


def open_page(
    browser: Any,
    address: str,
    width: int = 1280,
    scheme: str = "light",
    routes: Mapping[str, Callable[[Any], object]] | None = None,
) -> tuple[Any, list[str]]:
    """A page, and what goes wrong on it. Routes are set first: some requests of an open page would pass them by."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page, errors = context.new_page(), []
    page.set_default_timeout(WAIT)
    for pattern, handler in (routes or {}).items():
        page.route(pattern, handler)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    return page, errors


def wait_for_one(page: Any, routes: list[Any]) -> None:
    """Until a handler of a request has filled the list."""
    deadline = time.monotonic() + WAIT / 1000
    while not routes:
        assert time.monotonic() < deadline, "the page did not ask"
        page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def alone(proposer: Proposer) -> Models:
    """One model."""
    loaded = Models([("one", lambda: proposer)])
    loaded.load()
    return loaded


@pytest.fixture
def site(alone: Models) -> Iterator[Site]:
    started = Site(alone)
    yield started
    started.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_photograph_from_upload_to_download(
    browser: Any, site: Site, tmp_path: Path, width: int, scheme: str
) -> None:
    page, errors = open_page(browser, site.address, width, scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(246, 247, 249)") == (scheme == "light")
    name = "<img src=x onerror=alert(1)>.png"
    photograph, (y, x) = discs(), np.mgrid[:120, :160]
    photograph[(x - 130) ** 2 + (y - 98) ** 2 < 12**2] = 46  # faint: an object by a lower threshold alone
    page.set_input_files("#files", {"name": name, "mimeType": "image/png", "buffer": png(photograph)})
    page.wait_for_selector(".mask")
    assert page.text_content("#title") == name
    usual = page.locator(".mask").count()

    page.locator("#threshold").fill("0.02")
    assert page.locator("#threshold-value").text_content() == "0.02"
    lowest = page.locator(".mask").count()
    assert lowest > usual
    page.locator("#number").fill("3")
    assert page.locator(".mask").count() == page.locator("tbody tr").count() == 3
    page.get_by_role("button", name="Area, px").click()
    areas = page.eval_on_selector_all(
        "tbody tr", "rows => rows.map(row => Number(row.cells[1].textContent.replace(',', '')))"
    )
    assert areas == sorted(areas, reverse=True)
    page.get_by_role("button", name="Object", exact=False).first.click()

    row = page.locator('tbody tr[data-number="2"]')
    row.hover()
    page.wait_for_selector('.mask.lit[data-number="2"]')
    page.locator('.mask[data-number="1"]').click()
    page.wait_for_selector('.mask.rejected[data-number="1"]')
    with page.expect_download() as saved:
        page.click("#download")
    proposals = json.loads(Path(saved.value.path()).read_text())
    shown = page.eval_on_selector_all("tbody tr", "rows => rows.map(row => Number(row.cells[2].textContent))")
    assert [round(entry["score"], 2) for entry in proposals] == shown[1:]
    assert len(proposals) == 2

    page.click("#mode-why")
    page.locator(".stage svg").click(position={"x": 80, "y": 80})
    page.wait_for_selector(".step")
    assert page.locator(".maps > svg").count() == 25
    assert "Why, at pixel" in str(page.text_content("#why"))
    assert page.evaluate(SIDEWAYS) == 0
    assert errors == []
    page.context.close()


def test_a_photograph_chosen_before_the_servers_first_answer(browser: Any, site: Site) -> None:
    held: list[Any] = []
    hold = {"**/api/state": lambda route: route.continue_() if held else held.append(route)}
    page, _ = open_page(browser, site.address, routes=hold)
    page.set_input_files("#files", {"name": "early.png", "mimeType": "image/png", "buffer": png(discs())})
    wait_for_one(page, held)
    held[0].continue_()
    page.wait_for_selector(".mask")
    assert page.text_content("#title") == "early.png"
    page.context.close()


def test_files_that_are_refused(browser: Any, site: Site, tmp_path: Path) -> None:
    page, errors = open_page(browser, site.address)
    page.set_input_files("#files", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"})
    page.wait_for_selector(".message")
    assert "notes.png: " in str(page.text_content(".message"))
    (tmp_path / "large.png").write_bytes(bytes(20_000_001))
    page.set_input_files("#files", tmp_path / "large.png")
    page.wait_for_selector(".message:nth-child(2)")
    assert "more than 20 MB" in str(page.text_content("#messages"))
    assert [error for error in errors if "415" not in error] == []
    page.context.close()


@pytest.mark.parametrize(
    "hand_over",
    [
        "window.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))",
        "window.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, cancelable: true}))",
    ],
)
def test_photographs_are_dropped_and_pasted(browser: Any, site: Site, hand_over: str) -> None:
    page, errors = open_page(browser, site.address)
    page.wait_for_selector("#drop")
    held = "const data = new DataTransfer(); data.items.add(new File([Uint8Array.from(bytes)], 'held.png'));"
    page.evaluate(f"bytes => {{ {held} {hand_over}; }}", list(png(discs())))
    page.wait_for_selector(".mask")
    assert page.text_content("#title") == "held.png"
    assert errors == []
    page.context.close()


def test_labels_of_somebody_else_are_written_over_only_when_asked(browser: Any, alone: Models, tmp_path: Path) -> None:
    photographs, labels = tmp_path / "photographs", tmp_path / "labels"
    photographs.mkdir()
    labels.mkdir()
    Image.fromarray(discs()).save(photographs / "a.png")
    theirs = json.dumps({"shapes": [], "imagePath": "a.png", "imageData": None})
    (labels / "a.json").write_text(theirs)
    site = Site(alone, ReviewFolder(photographs, [("a.png", photographs / "a.png")], labels))
    try:
        page, _ = open_page(browser, site.address)
        page.wait_for_selector(".mask")
        asked: list[str] = []
        page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        with page.expect_response("**/labels") as refused:
            page.keyboard.press("Enter")
        assert refused.value.status == 409
        page.wait_for_timeout(200)
        assert "a.json" in asked[0]
        assert asked[0].endswith("Write over it?")
        assert (labels / "a.json").read_text() == theirs
        page.once("dialog", lambda dialog: dialog.accept())
        with page.expect_response(lambda response: response.url.endswith("/labels") and response.status == 200):
            page.keyboard.press("Enter")
        assert json.loads((labels / "a.json").read_text())["shapes"]
        page.context.close()
    finally:
        site.close()


def test_a_folder_by_keyboard_alone(browser: Any, alone: Models, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        Image.fromarray(discs(seed)).save(photographs / name)
    images = [(name, photographs / name) for name in ("a.png", "b.png")]
    site = Site(alone, ReviewFolder(photographs, images, tmp_path / "labels"))
    try:
        page, errors = open_page(browser, site.address, scheme="dark")
        page.wait_for_selector(".mask")
        count = page.locator(".mask").count()
        press = page.keyboard.press
        press("ArrowDown")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        press("Space")
        page.wait_for_selector('.mask.rejected[data-number="1"]')
        press("ArrowDown")
        press("x")
        press("x")
        press("w")
        page.wait_for_selector(".step")
        press("Escape")
        press("Enter")
        page.wait_for_selector("#title:text-is('b.png')")
        assert objects_of(tmp_path / "labels" / "a.json") == count - 1
        page.wait_for_selector(".mask")
        press("ArrowLeft")
        page.wait_for_selector("#title:text-is('a.png')")
        page.wait_for_selector('.mask.rejected[data-number="1"]')  # what was rejected is remembered
        press("n")
        page.wait_for_selector("#title:text-is('b.png')")
        assert errors == []
        page.context.close()
    finally:
        site.close()


@pytest.fixture
def three(alone: Models, tmp_path: Path) -> Iterator[Site]:
    """A folder of three photographs, of which the last can't be read; labels go to ``tmp_path / "labels"``."""
    images = [(name, tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    for seed, (_, path) in enumerate(images):
        path.write_bytes(png(discs(seed)) if seed < 2 else b"no image")
    started = Site(alone, ReviewFolder(tmp_path, images, tmp_path / "labels"))
    yield started
    started.close()


def objects_of(label: Path) -> int:
    shapes = json.loads(label.read_text())["shapes"]
    return len({shape["group_id"] or f"shape {place}" for place, shape in enumerate(shapes)})


def test_saving_twice_at_once_passes_over_no_photograph(browser: Any, three: Site, tmp_path: Path) -> None:
    held: list[Any] = []
    page, errors = open_page(browser, three.address, routes={"**/labels": lambda route: held.append(route)})
    page.wait_for_selector(".mask")
    page.keyboard.press("Enter")
    page.keyboard.down("Enter")
    wait_for_one(page, held)
    page.wait_for_timeout(200)
    for route in held:
        route.continue_()
    page.wait_for_selector("#title:text-is('b.png')")
    page.wait_for_selector(".mask")
    page.keyboard.down("Enter")  # still held down: a person has not looked yet
    page.wait_for_timeout(500)
    assert page.text_content("#title") == "b.png"
    assert len(held) == 1
    assert [path.name for path in (tmp_path / "labels").glob("*.json")] == ["a.json"]
    assert [error for error in errors if "415" not in error] == []
    page.context.close()


def test_what_is_rejected_stays_so_when_an_earlier_answer_comes_late(browser: Any, three: Site, tmp_path: Path) -> None:
    held: list[Any] = []
    hold = {"**/api/folder/1": lambda route: route.continue_() if held else held.append(route)}
    page, _ = open_page(browser, three.address, routes=hold)
    page.wait_for_selector(".mask")
    wait_for_one(page, held)  # the page asks for the next photograph before it is wanted
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#title:text-is('b.png')")
    page.wait_for_selector(".mask")
    count = page.locator(".mask").count()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    page.wait_for_selector('.mask.rejected[data-number="1"]')
    with page.expect_response("**/api/folder/1"):
        held[0].continue_()
    page.wait_for_timeout(500)
    with page.expect_response("**/labels"):
        page.keyboard.press("Enter")
    assert objects_of(tmp_path / "labels" / "b.json") == count - 1
    page.context.close()


def test_what_an_earlier_window_saved_is_asked_about(browser: Any, three: Site, tmp_path: Path) -> None:
    asked: list[str] = []
    label = tmp_path / "labels" / "a.json"

    def open_first() -> Any:
        page, _ = open_page(browser, three.address)
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.wait_for_selector("#title:text-is('a.png')")
        page.wait_for_selector(".mask")
        return page

    first, second = open_first(), open_first()
    count = first.locator(".mask").count()
    for page, rejected in ((first, 1), (second, 0)):
        if rejected:
            page.keyboard.press("ArrowDown")
            page.keyboard.press("x")
            page.wait_for_selector('.mask.rejected[data-number="1"]')
        with page.expect_response("**/labels"):
            page.keyboard.press("Enter")
    wait_for_one(second, asked)
    assert asked == ["a.json was saved earlier, or in another window. Write over it?"]
    assert objects_of(label) == count - 1
    first.wait_for_selector("#title:text-is('b.png')")
    first.keyboard.press("ArrowLeft")
    first.wait_for_selector("#title:text-is('a.png')")
    assert str(first.text_content("#saved")).startswith("saved; 1 of 3")
    first.locator('.mask[data-number="1"]').click()  # kept again
    first.wait_for_selector("#saved:text('changed since it was saved')")
    with first.expect_response("**/labels"):
        first.keyboard.press("Enter")  # its own file, so nothing is asked
    assert len(asked) == 1
    assert objects_of(label) == count
    second.reload()
    second.wait_for_selector("#title:text-is('b.png')")  # the first without labels
    second.keyboard.press("ArrowLeft")
    second.wait_for_selector("#saved:text('saved before; what is shown may differ')")
    for page in (first, second):
        page.context.close()


def test_nothing_is_saved_of_a_photograph_that_is_not_on_the_screen(browser: Any, three: Site, tmp_path: Path) -> None:
    held, asked = list[Any](), list[str]()
    hold = {"**/api/folder/1": lambda route: route.continue_() if not held else held.append(route)}
    page, _ = open_page(browser, three.address, routes=hold)
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/labels") else None)
    page.wait_for_selector(".mask")
    page.wait_for_function("performance.getEntriesByName(location.href + 'api/folder/1').length == 1")  # it is there
    held.append(None)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#place:text-is('2 of 3')")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.text_content("#title") == "a.png"
    assert asked == []
    wait_for_one(page, held[1:])
    held[1].continue_()
    page.wait_for_selector("#title:text-is('b.png')")
    with page.expect_response("**/labels"):
        page.keyboard.press("Enter")
    assert [path.name for path in (tmp_path / "labels").glob("*.json")] == ["b.json"]
    page.context.close()


def test_what_is_rejected_stays_so_when_the_same_objects_come_twice(browser: Any, site: Site) -> None:
    held: list[Any] = []
    hold = {"**/objects?by=0&exclusive=1": lambda route: route.continue_() if held else held.append(route)}
    page, _ = open_page(browser, site.address, routes=hold)
    page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": png(discs())})
    page.wait_for_selector(".mask")
    page.keyboard.press("e")
    wait_for_one(page, held)
    page.keyboard.press("e")
    with page.expect_response("**/objects?by=0&exclusive=1"):
        page.keyboard.press("e")
    page.wait_for_selector(".mask")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    page.wait_for_selector('.mask.rejected[data-number="1"]')
    with page.expect_response("**/objects?by=0&exclusive=1"):
        held[0].continue_()
    page.wait_for_timeout(200)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    page.wait_for_selector('.mask.rejected[data-number="2"]')
    assert page.locator(".mask.rejected").count() == 2
    page.context.close()


def test_a_long_name_fits_a_phone_and_the_focus_comes_back_from_why(browser: Any, site: Site) -> None:
    page, errors = open_page(browser, site.address, width=390)
    page.set_input_files("#files", {"name": f"{'a' * 110}.png", "mimeType": "image/png", "buffer": png(discs())})
    page.wait_for_selector(".mask")
    assert page.evaluate(SIDEWAYS) == 0
    page.focus('button[aria-label="Why object 2"]')
    page.keyboard.press("Enter")
    page.wait_for_selector(".step")
    assert page.evaluate("document.activeElement.id") == "why"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Why object 2"
    page.click("#mode-why")
    page.focus(".stage svg")
    page.keyboard.press("ArrowRight")
    assert str(page.text_content("#status")).startswith("The cross is at pixel ")
    assert errors == []
    page.context.close()


def test_where_a_photograph_cant_be_read_nothing_is_done_to_the_one_before(browser: Any, three: Site) -> None:
    page, errors = open_page(browser, three.address)
    page.wait_for_selector(".mask")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#title:text-is('b.png')")
    page.wait_for_selector(".mask")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#title:text-is('c.png')")
    page.wait_for_selector(".message")
    page.keyboard.press("x")
    assert page.is_disabled("#download")
    assert [error for error in errors if "415" not in error] == []
    page.context.close()


def test_two_checkpoints_side_by_side(browser: Any, models: Models) -> None:
    site = Site(models)
    try:
        page, errors = open_page(browser, site.address)
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": png(discs())})
        for place in (1, 2):
            page.wait_for_selector(f".stage:nth-child({place}) .mask")
        left, right = (page.locator(".stage").nth(place).bounding_box() for place in (0, 1))
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"]
        assert page.locator("#of-model option").all_text_contents() == ["one", "two"]
        assert errors == []
        page.context.close()
    finally:
        site.close()


def test_the_second_checkpoints_objects_are_saved_though_it_is_asked_last(browser: Any, models: Models) -> None:
    """Its answer comes late, and is waited for."""
    site = Site(models)
    try:
        asked: list[str] = []

        def late(route: Any) -> None:
            asked.append(route.request.url)
            if len(asked) == 1:
                route.abort()  # so that the second checkpoint has not answered yet when the person saves
            else:
                route.continue_()

        page, _ = open_page(browser, site.address, routes={"**/objects?by=1*": late})
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": png(discs())})
        page.wait_for_selector(".stage:nth-child(1) .mask")
        page.select_option("#of-model", "1")
        with page.expect_download() as saved:
            page.click("#download")
        assert json.loads(Path(saved.value.path()).read_text())
        assert len(asked) == 2
        page.context.close()
    finally:
        site.close()
