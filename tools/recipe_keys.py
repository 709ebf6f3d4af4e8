"""Write the tables of docs/recipes.md: keys of recipes with type, values, meaning (the comment beside it), and source.

python tools/recipe_keys.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

from instancefcn.classifier.config import ClassifierRecipe, load_classifier_recipe
from instancefcn.training.recipe import Recipe, load_recipe

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
START, END = "<!-- keys: made by tools/recipe_keys.py -->", "<!-- end of keys -->"


# Where a key comes from: "paper" is Dai et al., ECCV 2016. A key without a source here is this project's own.
SOURCES = {
    "network": {
        "kind": "paper 3.3; feature pyramid: Lin et al., CVPR 2017",
        "backbone": "paper 3.3: VGG-16; EfficientNet: Tan and Le, ICML 2019",
        "k": "paper 3.1, Table 1",
        "channels": "paper 3.3",
        "window_sizes": "paper 3.3",
        "blocks": "after ConvNeXt, Liu et al., CVPR 2022",
    },
    "augmentation": {
        "shorter_sides": "paper 3.3",
        "draw": "one_of: paper 3.3",
        "copy_paste": "Ghiasi et al., CVPR 2021",
    },
    "assignment": {
        "rule": "deepmask: Pinheiro et al., NIPS 2015",
        "object_to_window": "Pinheiro et al., NIPS 2015",
        "center_tolerance": "Pinheiro et al., NIPS 2015",
        "center_negative": "Pinheiro et al., NIPS 2015",
        "scale_tolerance": "Pinheiro et al., NIPS 2015",
    },
    "sampling": {"windows": "paper 3.3"},
    "loss": {
        "objectness": "paper 3.3; focal: Lin et al., ICCV 2017, for soft targets Li et al., NeurIPS 2020",
        "mask_weight": "paper 3.3",
        "dice_weight": "V-Net, Milletari et al., 3DV 2016",
    },
    "optimization": {
        "optimizer": "paper 3.3: SGD; AdamW: Loshchilov and Hutter, ICLR 2019",
        "learning_rate": "paper 3.3",
        "weight_decay": "paper 3.3",
        "batch_size": "paper 3.3",
        "iterations": "paper 3.3",
    },
    "inference": {
        "shorter_sides": "paper 3.3",
        "stability_power": "Segment Anything, Kirillov et al., ICCV 2023",
        "blend_tiles": "false: paper 3.1",
        "nms_threshold": "paper 3.3",
        "soft_nms_threshold": "Bodla et al., ICCV 2017",
        "vote_threshold": "after the mask voting of MNC, Dai et al., CVPR 2016",
    },
    "classifier": {"trunk": "MNC, Dai et al., CVPR 2016", "width": "MNC, Dai et al., CVPR 2016"},
    "learning": {
        "optimizer": "sgd: MNC, Dai et al., CVPR 2016",
        "label_smoothing": "Szegedy et al., CVPR 2016",
    },
    "naming": {
        "proposals": "paper 4, Table 4",
        "nms_threshold": "MNC, Dai et al., CVPR 2016",
        "vote_threshold": "MNC, Dai et al., CVPR 2016",
    },
}
TYPES = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text"}


def page_with_keys(page: str) -> str:
    """The page with the tables between its two marks made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    tables = [
        f"### Of `train`\n\n{key_tables(Recipe(), load_recipe('paper'))}",
        f"### Of `train-classifier`\n\n{key_tables(ClassifierRecipe(), load_classifier_recipe('paper'))}",
    ]
    return f"{before}{START}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}"


def key_tables(lite: Any, paper: Any) -> str:
    """Markdown: one table of the keys outside any table of the recipe, and one for each of its tables."""
    tables = {name: value for name, value in vars(lite).items() if dataclasses.is_dataclass(value)}
    parts = [table_of_keys("top of the file", {}, lite, paper, without=tables)]
    for name, value in tables.items():
        parts.append(table_of_keys(f"`[{name}]`", SOURCES[name], value, getattr(paper, name)))
    return "\n\n".join(parts)


def table_of_keys(title: str, sources: dict[str, str], lite: Any, paper: Any, without: Any = ()) -> str:
    """Markdown of one dataclass: a row for each key."""
    comments = comments_of_fields(type(lite))
    fields = [field for field in dataclasses.fields(lite) if field.name not in without]
    unknown = sources.keys() - {field.name for field in fields}
    assert not unknown, f"SOURCES names keys of {title} that are gone: {unknown}"
    rows = []
    for field in fields:
        values = [f"`{toml(getattr(recipe, field.name))}`" for recipe in (lite, paper)]
        cells = [f"`{field.name}`", type_of(field), *values, comments[field.name], sources.get(field.name, "")]
        assert comments[field.name], f"{field.name} of {title} has no comment that says what it means"
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"| {title} | type | `lite` | `paper` | meaning | source |", "|---|---|---|---|---|---|", *rows])


def type_of(field: Any) -> str:
    """The type of a key in words, of a dataclass whose annotations are text."""
    kind, _, inner = field.type.removesuffix("]").partition("[")
    if kind == "Literal":
        return " or ".join(f'`"{value}"`' for value in ast.literal_eval(f"({inner},)"))
    return f"list of {TYPES[inner.split(',')[0]]}s" if kind == "tuple" else TYPES[kind]


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
