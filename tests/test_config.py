"""Tables to dataclasses: what can be meant is read, anything else is an error that names its place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instancefcn.config import from_table, to_table
from instancefcn.training.recipe import RECIPES, Recipe, load_recipe

SHIPPED = sorted(recipe.name.removesuffix(".toml") for recipe in RECIPES.iterdir() if recipe.name.endswith(".toml"))


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)
    rates: tuple[float, ...] = (0.5,)
    mode: Literal["fast", "slow"] = "fast"


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    rate: float = 0.5
    on: bool = False
    inner: Inner = field(default_factory=Inner)


def test_the_empty_recipe_is_lite(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    assert load_recipe(str(tmp_path / "empty.toml")) == load_recipe("lite") == Recipe()


def test_a_recipe_starts_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text('base = "paper"\n[network]\nk = 7\n')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "few.toml").write_text('base = "../wide.toml"\nseed = 3\n[optimization]\niterations = 9\n')
    paper = load_recipe("paper")
    assert load_recipe(str(tmp_path / "sub" / "few.toml")) == replace(
        paper,
        seed=3,
        network=replace(paper.network, k=7),
        optimization=replace(paper.optimization, iterations=9),
    )


def test_bases_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ValueError, match=r"b\.toml: base leads back to 'a\.toml'"):
        load_recipe(str(tmp_path / "a.toml"))
    (tmp_path / "c.toml").write_text('base = "pape"\n')
    with pytest.raises(ValueError, match=r"c\.toml: base 'pape' is neither a file nor one of lite, paper"):
        load_recipe(str(tmp_path / "c.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_survive_a_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    table = to_table(recipe)
    assert from_table(Recipe, table, name) == recipe
    assert from_table(Recipe, json.loads(json.dumps(table)), name) == recipe  # as a checkpoint's metadata has it


def test_every_default_of_a_recipe_is_of_its_own_type() -> None:
    # Reading checks the types of what a file states; what it leaves out is taken as it is.
    table = to_table(Recipe())
    for group in fields(Recipe):
        default = getattr(Recipe(), group.name)
        if is_dataclass(default):
            assert from_table(type(default), table[group.name], group.name) == default
            assert set(table[group.name]) == {key.name for key in fields(default)}


@given(
    st.builds(
        Outer,
        name=st.text(),
        count=st.integers(),
        rate=st.floats(allow_nan=False),
        on=st.booleans(),
        inner=st.builds(
            Inner,
            sizes=st.lists(st.integers()).map(tuple),
            rates=st.lists(st.floats(allow_nan=False)).map(tuple),
            mode=st.sampled_from(["fast", "slow"]),
        ),
    )
)
def test_any_value_survives_a_round_trip_through_json(config: Outer) -> None:
    assert from_table(Outer, json.loads(json.dumps(to_table(config))), "x") == config


def test_nested_tables_arrays_and_defaults() -> None:
    config = from_table(Outer, {"name": "a", "inner": {"sizes": [3]}}, "a.toml")
    assert config == Outer("a", 1, 0.5, False, Inner((3,), (0.5,), "fast"))


def test_a_whole_number_will_do_for_a_float() -> None:
    config = from_table(Outer, {"name": "a", "rate": 2, "inner": {"rates": [1, 0.5]}}, "a.toml")
    assert (config.rate, config.inner.rates) == (2.0, (1.0, 0.5))
    assert type(config.rate) is type(config.inner.rates[0]) is float


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nmae": "a"}, "unknown key 'nmae'; known here: count, inner, name, on, rate"),
        ({"inner": {"size": [1]}}, "inner: unknown key 'size'; known here: mode, rates, sizes"),
        ({"count": "1"}, "count must be int, not '1'"),
        ({"count": 1.0}, "count must be int, not 1.0"),
        ({"count": True}, "count must be int, not True"),
        ({"rate": True}, "rate must be float, not True"),
        ({"rate": "0.5"}, "rate must be float, not '0.5'"),
        ({"on": 1}, "on must be bool, not 1"),
        ({"name": 3}, "name must be str, not 3"),
        ({"inner": 3}, "inner must be a table, not 3"),
        ({"inner": {"sizes": 3}}, "inner: sizes must be an array, not 3"),
        ({"inner": {"sizes": "12"}}, "inner: sizes must be an array, not '12'"),
        ({"inner": {"sizes": [1, True]}}, "inner: sizes must be int, not True"),
        ({"inner": {"rates": [0.5, "1"]}}, "inner: rates must be float, not '1'"),
        ({"inner": {"mode": "fats"}}, "inner: mode is 'fats'; it must be one of 'fast', 'slow'"),
    ],
)
def test_an_error_names_its_place(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.toml: ") as raised:
        from_table(Outer, {"name": "a"} | changed, "a.toml")
    assert str(raised.value) == f"a.toml: {message}"


def test_a_key_without_a_default_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"a\.toml: .*missing.*'name'"):
        from_table(Outer, {"count": 1}, "a.toml")
