"""Every number of a recipe has a range, so that a slip of the pen is told of and not trained with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from instancefcn.classifier.config import ClassifierRecipe, load_classifier_recipe
from instancefcn.config import check_values
from instancefcn.objects import ObjectRule
from instancefcn.training.recipe import Recipe, load_recipe


def numbers(config: Any, table: str = "") -> Iterator[tuple[Any, str, str, type]]:
    """Each number of a recipe: its dataclass, its table, its key and its type; arrays of numbers, too."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if is_dataclass(value):
            yield from numbers(value, field.name)
        elif hint in (int, float) or get_args(hint)[:1] in ((int,), (float,)):
            yield config, table, field.name, hint


ALL = [*numbers(Recipe()), *numbers(ClassifierRecipe())]


@pytest.mark.parametrize(("config", "table", "key", "hint"), ALL, ids=[f"{table}.{key}" for _, table, key, _ in ALL])
def test_every_number_has_a_range(config: Any, table: str, key: str, hint: Any) -> None:
    number = hint if hint in (int, float) else get_args(hint)[0]
    for wrong in [number(-1e12), number(1e12), *([math.nan, math.inf] if number is float else [])]:
        value = wrong if hint is number else tuple(wrong for _ in range(max(1, len(getattr(config, key)))))
        together = {"draw": "one_of"} if key == "image_scales" and table == "augmentation" else {}
        with pytest.raises(ValueError, match=rf"(^|\.|and ){key}( |\b)"):
            replace(config, **{key: value}, **together)


def test_both_ends_are_allowed() -> None:
    recipe = Recipe(seed=3)
    check_values(recipe, "", seed=(3, 4))
    check_values(recipe, "", seed=(2, 3))
    with pytest.raises(ValueError, match=r"^seed is 3; it must be from 4 to 5$"):
        check_values(recipe, "", seed=(4, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[augmentation]\ncrop = -1\n", r"bad.toml: augmentation\.crop is -1; it must be from 0 to 16384$"),
        ("[network]\nk = 0\n", r"bad.toml: network\.k is 0"),
        ("[network]\nwindow_sizes = []\n", "network.window_sizes has 0 entries"),
        ("[optimization]\nlearning_rate = nan\n", "optimization.learning_rate is nan"),
        (f"[optimization]\nlearning_rate = 1{'0' * 400}\n", "learning_rate is 1000000000.* too large"),
        (f"[optimization]\nlearning_rate = 1{'0' * 5000}\n", "bad.toml: not TOML"),
        (
            "[loss]\nobjectness_weight = 0\nmask_weight = 0\ndice_weight = 0\nquality_weight = 0\n",
            "all weights are 0, so there is nothing to learn by",
        ),
        ("seed = -3\n", r"bad.toml: seed is -3; it must be from 0 to 4\.29497e\+09"),
        (f"x = {'[' * 5000}{']' * 5000}\n", "bad.toml: not TOML"),
    ],
)
def test_a_file_with_a_wrong_number_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(str(path))


def test_a_classifier_has_ranges_too(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[learning]\nepochs = 0\n")
    with pytest.raises(ValueError, match=r"bad.toml: learning\.epochs is 0; it must be from 1 to"):
        load_classifier_recipe(str(tmp_path / "bad.toml"))


CHOICES = [
    (config, key)
    for config in (*vars(Recipe()).values(), *vars(ClassifierRecipe()).values())
    if is_dataclass(config)
    for key, hint in get_type_hints(type(config)).items()
    if get_origin(hint) is Literal
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("config", "key"), CHOICES, ids=[key for _, key in CHOICES])
def test_choices_are_checked_in_python_too(config: Any, key: str) -> None:
    for value in ("another", None):
        with pytest.raises(ValueError, match=rf"{key} is {value!r}; it must be one of '"):
            replace(config, **{key: value})


@pytest.mark.usefixtures("unchecked")
def test_arrays_are_tuples_in_python() -> None:
    for value in ([7], 7):
        with pytest.raises(ValueError, match=r"^network\.window_sizes must be a tuple, not"):
            replace(Recipe().network, window_sizes=value)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^objects\.scores must be a tuple"):
        ObjectRule(0.2, scores=np.array([0.1]), chances=(0.1,))  # pyright: ignore[reportArgumentType]
