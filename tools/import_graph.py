"""Draw the rooms of docs/architecture.md from the imports of the package: which room imports which.

python tools/import_graph.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "instancefcn"
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- imports: made by tools/import_graph.py -->", "<!-- end of imports -->"


def page_with_graph(page: str) -> str:
    """The page with the graph between its two marks made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    lines = [f"    {room} --> {', '.join(sorted(others))}" for room, others in sorted(reduced(room_imports()).items())]
    arrows = "\n".join(line.replace(", ", " & ") for line in lines if not line.endswith("--> "))
    return f"{before}{START}\n\n```mermaid\ngraph TD\n{arrows}\n```\n\n{END}{after}"


def room_imports() -> dict[str, set[str]]:
    """The rooms that each room imports: a folder is a room, and so is a file beside the folders."""
    rooms: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own.startswith("__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("instancefcn."):
                rooms.setdefault(own, set()).add(node.module.split(".")[1])
    return {own: others - {own} for own, others in rooms.items()}


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without an arrow where a longer way leads to the same room."""

    def reached(room: str) -> set[str]:
        others = graph.get(room, set())
        return others.union(*(reached(other) for other in others))

    return {
        room: {other for other in others if not any(other in reached(via) for via in others - {other})}
        for room, others in graph.items()
    }


if __name__ == "__main__":
    PAGE.write_text(page_with_graph(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
