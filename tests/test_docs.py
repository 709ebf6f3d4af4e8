"""The documents say what is there."""

import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.is_file(), f"{page}: {target}"  # the site has no page of a folder
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            ]


def test_scripts_that_import_their_neighbours_are_run_as_modules() -> None:
    """`python benchmarks/NAME.py` does not find the folders beside benchmarks/."""
    neighbours = re.compile(r"^from (benchmarks|reproduce|tools)\b", re.MULTILINE)
    scripts = [path for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py")]
    as_modules = {str(path.relative_to(ROOT)) for path in scripts if neighbours.search(path.read_text("utf-8"))}
    assert "benchmarks/inference_knobs.py" in as_modules
    for path in [*PAGES, *scripts, *ROOT.glob("reproduce/*.*"), *ROOT.glob("tools/*.sh"), ROOT / "Makefile"]:
        run = re.findall(r"python3? ((?:benchmarks|tools)/\w+\.py)", path.read_text("utf-8"))
        assert not as_modules.intersection(run), path


@pytest.mark.parametrize(
    ("page", "tool", "function"),
    [
        ("recipes.md", "recipe_keys.py", "page_with_keys"),
        ("architecture.md", "import_graph.py", "page_with_graph"),
        ("commands.md", "command_page.py", "page_with_commands"),
        ("reference.md", "reference_page.py", "page_with_reference"),
    ],
)
def test_what_a_tool_makes_is_of_today(page: str, tool: str, function: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "tools" / tool))[function](text) == text, f"python tools/{tool}"


def test_every_file_of_the_walks_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "instancefcn"
    for name in re.findall(r"`([\w/]+\.py)`", page):
        assert list(package.rglob(name)) or (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "module",
    [
        *("devices", "objects", "proposals", "data.images", "model.build", "training.recipe", "inference.proposer"),
        *("labelling.next_images", "export.polygons", "export.brush", "export.yolo"),
    ],
)
def test_examples_in_docstrings_run(module: str) -> None:
    loaded = importlib.import_module(f"instancefcn.{module}")
    found = doctest.testmod(loaded)
    assert (found.failed, found.attempted > 0) == (0, True)
