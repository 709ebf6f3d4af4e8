"""Write the tables of docs/recipes.md from the dataclasses of the recipes: key, default, and the comment beside it.

python tools/recipe_keys.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

from instancefcn.classifier.config import ClassifierRecipe
from instancefcn.training.recipe import Recipe

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
START, END = "<!-- keys: made by tools/recipe_keys.py -->", "<!-- end of keys -->"


def page_with_keys(page: str) -> str:
    """The page with the tables between its two marks made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    tables = [
        f"### Of `train`\n\n{key_tables(Recipe())}",
        f"### Of `train-classifier`\n\n{key_tables(ClassifierRecipe())}",
    ]
    return f"{before}{START}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}"


def key_tables(recipe: Any) -> str:
    """Markdown: one table of the keys outside any table of the recipe, and one for each of its tables."""
    tables = {name: value for name, value in vars(recipe).items() if dataclasses.is_dataclass(value)}
    parts = [table_of_keys("top of the file", recipe, without=tables)]
    return "\n\n".join([*parts, *(table_of_keys(f"`[{name}]`", value) for name, value in tables.items())])


def table_of_keys(title: str, config: Any, without: Any = ()) -> str:
    """Markdown of one dataclass."""
    comments = comments_of_fields(type(config))
    rows = [
        f"| `{field.name}` | `{toml(getattr(config, field.name))}` | {comments.get(field.name, '')} |"
        for field in dataclasses.fields(config)
        if field.name not in without
    ]
    return "\n".join([f"| {title} | default | |", "|---|---|---|", *rows])


def comments_of_fields(cls: type) -> dict[str, str]:
    """The comment beside each field of a dataclass, or above it."""
    lines = inspect.getsource(cls).splitlines()
    comments: dict[str, str] = {}
    for node in ast.parse("\n".join(lines)).body[0].body:  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above = node.lineno - 1
        while lines[above - 1].strip().startswith("#"):
            above -= 1
        words = [line.strip()[1:].strip() for line in lines[above : node.lineno - 1]]
        words += [line.partition("  # ")[2] for line in lines[node.lineno - 1 : node.end_lineno]]
        comments[node.target.id] = " ".join(filter(None, words)).replace("|", "\\|")
    return comments


def toml(value: Any) -> str:
    """A value as a recipe has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:.10g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page_with_keys(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
