"""The rooms: who imports whom, and what the package shows."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import instancefcn
from pictures import write_photograph

PACKAGE = Path(__file__).parent.parent / "src" / "instancefcn"
ROOT = "the package itself"  # `from instancefcn import Proposer` reaches every room, so it is for users alone

# docs/architecture.md draws the same table.
LEVELS = {
    "allocator": 0,
    "cleaning": 0,
    "compiled": 0,
    "config": 0,
    "container": 0,
    "devices": 0,
    "drawing": 0,
    "objects": 0,
    "proposals": 0,
    "run_folder": 0,
    "threads": 0,
    "user_cache": 0,
    "waiting": 0,
    "file_names": 0,
    "files": 0,
    "folders": 0,
    "values": 0,
    "interrupts": 0,
    "geometry": 0,
    "journal": 0,
    "structures": 0,
    "data": 1,
    "model": 1,
    "training": 2,
    "inference": 2,
    "evaluation": 2,
    "export": 2,
    "runtime": 2,
    "onnx_graph": 3,
    "classifier": 3,
    "corpus": 3,
    "labelling": 3,
    "viz": 3,
    "web": 3,
    "apps": 4,
    "__main__": 5,
    ROOT: 6,
}


def room(module: str) -> str:
    """First name below the package of a dotted module name."""
    return [*module.split("."), ROOT][1]


def imported_modules(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every module of the package that a file imports, also in functions or for type checkers.

    ``from instancefcn.viz import overlays`` imports the file, ``from instancefcn.data import Source`` the room.
    """
    parents = [package.name, *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*start, *(node.module.split(".") if node.module else [])])
            deeper = [f"{module}.{alias.name}" for alias in node.names]
            names = [name if file_of(name, package) else module for name in deeper]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == package.name)


def file_of(module: str, package: Path) -> Path | None:
    """The file of a dotted module name; None where there is none."""
    path = package.parent.joinpath(*module.split("."))
    found = (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists())
    return path / "__init__.py" if path.is_dir() else next(found, None)


def imports(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of the package in a file."""
    yield from ((line, room(module)) for line, module in imported_modules(path, package))


def circle_of_files(package: Path) -> list[str]:
    """Files that import each other in a circle, the first one again at the end; none where there is no circle."""
    graph = {
        path: {file_of(module, package) for _, module in imported_modules(path, package)}
        for path in sorted(package.rglob("*.py"))
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(path.relative_to(package)) for path in error.args[1]]
    return []


def upward_imports(package: Path) -> list[str]:
    """Every import of a higher room than the file's own."""
    found = []
    for path in sorted(package.rglob("*.py")):
        if path == package / "__init__.py":
            continue
        own = room(".".join([package.name, *path.relative_to(package).with_suffix("").parts]))
        found += [
            f"{path.relative_to(package)}:{line} imports {other}"
            for line, other in imports(path, package)
            if LEVELS[other] > LEVELS[own]
        ]
    return found


def test_every_room_has_a_level() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} <= set(LEVELS)


def test_no_room_imports_a_higher_one() -> None:
    assert upward_imports(PACKAGE) == []


def test_evaluation_knows_files_and_never_the_model() -> None:
    others = {other for path in (PACKAGE / "evaluation").glob("*.py") for _, other in imports(path, PACKAGE)}
    assert others <= {
        "config",
        "drawing",
        "file_names",
        "files",
        "geometry",
        "structures",
        "values",
        "data",
        "evaluation",
    }


@pytest.mark.parametrize(
    "line",
    [
        "import instancefcn.viz.panels",
        "from instancefcn.viz import panels",
        "from instancefcn import viz",
        "from instancefcn import Proposer",
        "from ..viz import panels",
        "from .. import viz",
        "def late():\n    from instancefcn.apps.cli import main",
    ],
)
def test_an_upward_import_is_found(line: str, tmp_path: Path) -> None:
    package = tmp_path / "instancefcn"
    for name in ("inference", "viz"):
        (package / name).mkdir(parents=True)
    (package / "inference" / "pasting.py").write_text(f"import json\nfrom instancefcn.geometry import rle\n{line}\n")
    (package / "viz" / "panels.py").write_text("from instancefcn.inference.pasting import paste\n")
    (message,) = upward_imports(package)
    assert message.startswith("inference/pasting.py:")


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle_of_files(PACKAGE) == []


@pytest.mark.parametrize(
    "line",
    [
        "import instancefcn.data.open",
        "from instancefcn.data import open",
        "from . import open",
        "def late():\n    from instancefcn.data.open import open_source",
        "if TYPE_CHECKING:\n    from instancefcn.data.open import open_source",
    ],
)
def test_a_circle_is_found(line: str, tmp_path: Path) -> None:
    room = tmp_path / "instancefcn" / "data"
    room.mkdir(parents=True)
    (room / "open.py").write_text("from instancefcn.data.coco import load_coco\n")
    (room / "coco.py").write_text("from instancefcn.data.source import Source\n")
    (room / "source.py").write_text("import json\n")
    assert circle_of_files(room.parent) == []
    (room / "source.py").write_text(f"import json\n{line}\n")
    circle = circle_of_files(room.parent)
    assert set(circle) == {"data/open.py", "data/coco.py", "data/source.py"}
    assert circle[0] == circle[-1]


def test_everything_that_the_stub_lists_is_there() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(homes) == instancefcn.__all__ == dir(instancefcn)
    for name, home in homes.items():
        assert getattr(instancefcn, name) is getattr(importlib.import_module(f"instancefcn.{home}"), name)
    with pytest.raises(AttributeError, match="Detector"):
        _ = instancefcn.Detector


@pytest.mark.parametrize("command", [["-c", "import instancefcn"], ["-m", "instancefcn", "--help"]])
def test_torch_is_imported_late(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "instancefcn" in imported or command[0] == "-m"
    assert imported.isdisjoint({"torch", "numpy", "timm", "PIL"})


def test_proposing_imports_no_compiler(tmp_path: Path) -> None:
    write_photograph(tmp_path / "a.jpg")
    command = ["-m", "instancefcn", "propose", str(tmp_path / "a.jpg"), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "torch" in imported
    assert imported.isdisjoint({"timm", "torchvision", "torch._dynamo", "sympy", "scipy.ndimage", "matplotlib"})
