"""How many times larger images are looked at for small objects, and which sides a training keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from instancefcn.inference.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from instancefcn.inference.tiles import closer
from instancefcn.model.build import build_network
from instancefcn.training import sides
from instancefcn.training.coverage import coverage
from instancefcn.training.recipe import Recipe
from instancefcn.training.sides import candidates, hint, looking_closer, store_sides, times_needed
from tiny import TINY, scenes
from training.test_coverage import Boxes


def of_sides(*lengths: int) -> Boxes:
    """An image of 600 x 800 pixels with squares; a shorter side of 480 shows it at 0.8."""
    return Boxes([(length, length) for length in lengths])


def advice(source: Boxes, recipe: Recipe) -> str:
    return hint(source, recipe, coverage(source, recipe))


def test_a_recipe_that_looks_closer() -> None:
    recipe = looking_closer(Recipe(), 3)
    assert recipe.inference == replace(Recipe().inference, shorter_sides=(480.0, 1440.0), tiles=True)
    assert recipe.augmentation.shorter_sides == (320.0, 2400.0)
    assert recipe.assignment.judged_in == "view"
    assert looking_closer(Recipe(), 1) == Recipe()
    several = replace(Recipe().inference, shorter_sides=(300.0, 600.0))
    assert closer(several, 2).shorter_sides == (300.0, 600.0, 1200.0)
    one_of = replace(Recipe(), augmentation=replace(Recipe().augmentation, draw="one_of", shorter_sides=(300.0, 600.0)))
    assert looking_closer(one_of, 2).augmentation.shorter_sides == (300.0, 600.0, 1200.0)


@pytest.mark.parametrize(("length", "times"), [(10, 1), (9, 2), (7, 2), (6, 3), (5, 3), (4, 4), (1, 4)])
def test_the_least_number_of_times_at_which_instances_are_judged(length: int, times: int) -> None:
    # A square is judged with 100 pixels: 10 of the image as it is, or 0.8 times its length times the number.
    assert times_needed([of_sides(*[length] * 3, *[50] * 40), of_sides(*[50] * 40)], Recipe()) == times


def test_few_that_stay_too_small_ask_for_nothing() -> None:
    assert times_needed([of_sides(6, *[50] * 49)], Recipe()) == 1
    assert advice(of_sides(6, *[50] * 49), Recipe()) == ""


def test_a_hint_refuses_nothing() -> None:
    """Where tiles would be too small, larger images are not to be had."""
    recipe = Recipe(inference=replace(Recipe().inference, shorter_sides=(160.0,), longest_side=224.0))
    assert advice(of_sides(7, 7, 8, 2, *[50] * 60), recipe) == ""


def test_a_hint_says_the_side_and_how_many_it_brings_in() -> None:
    text = advice(of_sides(7, 7, 8, 2, *[50] * 300), Recipe())
    assert text == ""  # 4 of 304 are few
    assert advice(of_sides(7, 7, 8, 2, *[50] * 60), Recipe()) == (
        "--tiles 2 (a shorter side of 960) would bring in 3 of 4"
    )


def test_coverage_counts_by_the_pixels_of_the_largest_view() -> None:
    source = of_sides(6, 7, 50)
    assert coverage(source, Recipe()).tiny == 2
    assert coverage(source, looking_closer(Recipe(), 2)).tiny == 1
    assert coverage(source, looking_closer(Recipe(), 3)).tiny == 0


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        closer(Recipe().inference, 0)
    with pytest.raises(ValueError, match="image_scales take their place"):
        closer(replace(Recipe().inference, image_scales=(1.0,)), 2)


@pytest.mark.parametrize(
    ("recalls", "chosen"),
    [
        ({(64.0,): 10.0, (128.0,): 30.0, (64.0, 128.0): 20.0}, (128.0,)),
        ({(64.0,): 30.0, (128.0,): 30.0, (64.0, 128.0): 30.04}, (64.0,)),  # no better than the cheapest
        ({(64.0,): 10.0, (128.0,): 20.0, (64.0, 128.0): 30.0}, (64.0, 128.0)),
    ],
)
def test_the_best_sides_on_validation_images_are_stored(
    recalls: dict[tuple[float, ...], float], chosen: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = closer(TINY.inference, 2)
    saved = Checkpoint(TINY.network, config, build_network(TINY.network).state_dict(), {"iteration": 1})
    for name in ("best", "last"):
        save_checkpoint(saved, tmp_path / f"{name}.safetensors")

    measured = []

    def recall(proposer: Any, *_: Any, **__: Any) -> dict[str, dict[str, float]]:
        measured.append(proposer.config.shorter_sides)
        return {"scenes": {"AR@100": recalls[proposer.config.shorter_sides]}}

    monkeypatch.setattr(sides, "validate", recall)
    line = store_sides(tmp_path, [scenes()], torch.device("cpu"))
    assert line.startswith("proposes at a shorter side of " + " and ".join(f"{side:.0f}" for side in chosen))
    for name in ("best", "last"):
        stored = load_checkpoint(tmp_path / f"{name}.safetensors").inference
        assert stored == replace(config, shorter_sides=chosen)
    assert sorted(measured) == sorted(recalls)  # once, as both are of the same iteration


def test_one_side_leaves_nothing_to_choose() -> None:
    assert candidates(TINY.inference) == [TINY.inference]
