"""A classifier's recipe: defaults, the shipped files, and keys that older files of weights still carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from classifier.models import RECIPE, Scenes, proposal_network, train
from instancefcn.classifier.checkpoint import RETIRED, RETIRED_NAMING, SHIPPED, load_classifier
from instancefcn.classifier.config import (
    ClassifierConfig,
    ClassifierRecipe,
    LearningConfig,
    NamingConfig,
    load_classifier_recipe,
)

ANIMALS = SHIPPED / "animals.safetensors"


def test_the_empty_recipe_is_lite(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    assert load_classifier_recipe(str(tmp_path / "empty.toml")) == load_classifier_recipe("lite") == ClassifierRecipe()


def test_the_papers_recipe() -> None:
    assert load_classifier_recipe("paper") == ClassifierRecipe(
        classifier=ClassifierConfig(trunk="vgg16", shorter_side=600.0, longest_side=1000.0, width=4096),
        learning=LearningConfig(
            epochs=36,
            optimizer="sgd",
            learning_rate=0.001,
            weight_decay=0.0005,
            trunk_learning_rate=1.0,
            class_balance=0.0,
            label_smoothing=0.0,
        ),
        naming=NamingConfig(proposals=300, nms_threshold=0.3, vote_threshold=0.5, objectness_power=0.0),
    )


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def with_key(path: Path, out: Path, table: str, key: str, value: Any) -> Path:
    """A copy of a classifier's file with a key of a table set, or taken out where the value is None."""
    tables = metadata(path)
    changed = {name: old for name, old in (json.loads(tables[table]) | {key: value}).items() if old is not None}
    save_file(load_file(path), out, tables | {table: json.dumps(changed)})
    return out


def test_retired_keys_are_accepted_at_their_one_value(tmp_path: Path) -> None:
    retired = [("classifier", key, value) for key, value in RETIRED.items()]
    path = ANIMALS
    for table, key, value in [*retired, *(("naming", key, value) for key, value in RETIRED_NAMING.items())]:
        assert key not in json.loads(metadata(ANIMALS)[table])
        path = with_key(path, tmp_path / f"{key}.safetensors", table, key, value)
    assert load_classifier(path).naming == load_classifier("animals").naming


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("classifier", "head", "paper", "classifier: head is 'paper'.* only 'lite' is supported"),
        ("classifier", "strides", [8], r"classifier: strides is \[8\].* only \[16, 32\] is supported"),
        ("naming", "mask_threshold", 0.3, "naming: mask_threshold is 0.3.* only 0.4 is supported"),
        ("classifier", "depth", 3, "classifier: unknown key 'depth'"),
        ("naming", "objectness_power", None, "naming: key 'objectness_power' is missing"),
    ],
)
def test_a_key_that_would_be_misread_is_refused(table: str, key: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_classifier(with_key(ANIMALS, tmp_path / "changed.safetensors", table, key, value))


def test_a_new_file_needs_no_retired_key(tmp_path: Path, one_thread: None) -> None:
    network = proposal_network(tmp_path / "proposals.safetensors")
    path = train(RECIPE, [Scenes(1, {1: 1, 2: 1, 3: 1}, {1: "shape"})], network, tmp_path)
    checkpoint = load_classifier(path)
    assert (checkpoint.classifier, checkpoint.naming) == (RECIPE.classifier, RECIPE.naming)
    assert json.loads(metadata(path)["classifier"]).keys() == {"trunk", "shorter_side", "longest_side", "width"}
