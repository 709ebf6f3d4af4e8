"""Checkpoints: what was saved comes back, anything else is refused by name, and nothing is ever half written."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from instancefcn.config import to_table
from instancefcn.container import read_container, write_container
from instancefcn.inference.checkpoint import FORMAT, RETIRED_NETWORK, Checkpoint, load_checkpoint, save_checkpoint
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.objects import ANY_NUMBER, ObjectRule

CONFIG = NetworkConfig(
    backbone="test_efficientnet",
    channels=16,
    k=3,
    window_sizes=(7,),
    finest_window_sizes=(5,),
    batch_norm="running",
)
INFERENCE = InferenceConfig(shorter_sides=(64.0, 96.0), nms_threshold=0.7)
TRAINING = {"iteration": 7, "validation": {"synthetic": {"AR@100": 12.5}}, "recipe": {"name": "Öl"}}


def checkpoint(config: NetworkConfig = CONFIG) -> Checkpoint:
    return Checkpoint(config, INFERENCE, build_network(config).state_dict(), TRAINING)


def metadata(**changed: str) -> dict[str, str]:
    tables = {"network": to_table(CONFIG), "inference": to_table(INFERENCE), "training": TRAINING}
    return {"format": FORMAT} | {key: json.dumps(table) for key, table in tables.items()} | changed


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, batch_norm="folded"),
        replace(CONFIG, kind="single", finest_window_sizes=()),
        replace(CONFIG, backbone="resnetblur18"),  # it has buffers that are in no file
    ],
    ids=lambda c: f"{c.kind}-{c.backbone}",
)
def test_what_was_saved_comes_back(config: NetworkConfig, tmp_path: Path) -> None:
    saved = checkpoint(config)
    save_checkpoint(saved, tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert (loaded.network, loaded.inference, loaded.training) == (config, INFERENCE, TRAINING)
    assert loaded.weights.keys() == saved.weights.keys()
    assert all(torch.equal(tensor, saved.weights[name]) for name, tensor in loaded.weights.items())

    network = build_network(config)
    network.load_state_dict(dict(saved.weights))
    built, images = loaded.build(), torch.rand(1, 3, 64, 96) * 255
    assert not any(module.training for module in built.modules())
    with torch.inference_mode():
        for ours, theirs in zip(built(images), network.eval()(images), strict=True):
            assert torch.equal(ours.instance, theirs.instance)
            assert torch.equal(ours.objectness, theirs.objectness)


def rewritten(path: Path, table: str, **keys: Any) -> Path:
    """The checkpoint again, with some keys of one of its tables changed, or left out where they are None."""
    weights, tables = read_container(path, FORMAT, "")
    changed = {key: value for key, value in (tables[table] | keys).items() if value is not None}
    write_container(path, FORMAT, weights, tables | {table: changed})
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(checkpoint(), tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_the_object_rule_comes_back_and_proposals_carry_it(tmp_path: Path) -> None:
    rule = ObjectRule(0.25, max_iou=0.5, scores=(0.1, 0.9), chances=(0.0, 1.0))
    save_checkpoint(replace(checkpoint(), objects=rule), tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors").objects == rule
    proposer = Proposer.from_checkpoint(tmp_path / "a.safetensors", device="cpu")
    assert proposer(np.zeros((64, 64, 3), dtype=np.uint8)).rule == rule


def test_a_retired_key_is_accepted_at_its_one_value(saved: Path) -> None:
    rewritten(saved, "inference", nms_overlap="box")
    assert load_checkpoint(saved).inference == INFERENCE
    with pytest.raises(ValueError, match=r"a\.safetensors: inference: nms_overlap is 'mask'.*only 'box'"):
        load_checkpoint(rewritten(saved, "inference", nms_overlap="mask"))


def test_networks_of_former_days_have_todays_keys(saved: Path) -> None:
    rewritten(saved, "network", m=21, **RETIRED_NETWORK)
    assert load_checkpoint(saved).network == CONFIG
    with pytest.raises(ValueError, match="network: density is 1"):
        load_checkpoint(rewritten(saved, "network", density=1))


def test_the_one_window_size_of_a_former_single_network_is_m(saved: Path) -> None:
    rewritten(saved, "network", kind="single", m=9, window_sizes=[21, 30], density=2, detail=False)
    network = load_checkpoint(saved).network
    assert (network.window_sizes, network.finest_window_sizes) == ((9,), ())


def test_a_rule_of_former_days_knows_no_number_of_parts_and_nothing_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(replace(checkpoint(), objects=ObjectRule(0.25, alike=0.5)), path)
    assert read_container(path, FORMAT, "")[1]["objects"]["max_inside"] == 8
    assert load_checkpoint(path).objects == ObjectRule(0.25, alike=0.5)
    rule = load_checkpoint(rewritten(path, "objects", max_inside=None, alike=None)).objects
    assert rule == ObjectRule(0.25, max_inside=ANY_NUMBER)


def test_a_key_that_came_later_has_the_value_that_its_lack_stood_for(saved: Path) -> None:
    assert INFERENCE.blend_tiles
    before = load_checkpoint(rewritten(saved, "inference", blend_tiles=None, overview=None)).inference
    assert not before.blend_tiles
    assert before.overview == 0 < INFERENCE.overview


@pytest.mark.parametrize(("table", "key"), [("inference", "vote_threshold"), ("network", "k")])
def test_no_default_stands_for_a_missing_key(table: str, key: str, saved: Path) -> None:
    with pytest.raises(ValueError, match=f"{table}: key '{key}' is missing"):
        load_checkpoint(rewritten(saved, table, **{key: None}))


def test_weights_in_any_memory_format_are_saved(tmp_path: Path) -> None:
    network = build_network(CONFIG).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    saved = Checkpoint(CONFIG, INFERENCE, network.state_dict(), TRAINING)
    save_checkpoint(saved, tmp_path / "a.safetensors")
    weights = load_checkpoint(tmp_path / "a.safetensors").weights
    assert all(torch.equal(tensor, saved.weights[name]) for name, tensor in weights.items())


def test_half_precision_halves_the_file_and_builds_a_single_precision_network(tmp_path: Path) -> None:
    saved = checkpoint()
    for dtype in (torch.float32, torch.float16):
        save_checkpoint(saved, tmp_path / str(dtype), dtype)
    single, half = ((tmp_path / str(dtype)).stat().st_size for dtype in (torch.float32, torch.float16))
    assert half < 0.6 * single
    loaded = load_checkpoint(tmp_path / "torch.float16")
    assert {tensor.dtype for tensor in loaded.weights.values()} == {torch.float16, torch.int64}  # counts stay counts
    network = loaded.build()
    for name, tensor in network.state_dict().items():
        expected = saved.weights[name]
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected.half().float() if tensor.is_floating_point() else expected)


def test_no_such_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(ValueError, match=f"{path.name}: no such file.*instancefcn train"):
            load_checkpoint(path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_what_is_no_safetensors_file_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(checkpoint(), path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a checkpoint", "cut": whole[:-1]}[damage])
    with pytest.raises(ValueError, match=r"a\.safetensors: not a safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize("foreign", [None, {"format": "pt"}, {"format": "instancefcn/0"}])
def test_somebody_elses_safetensors_file_is_named(foreign: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(2)}, path, foreign)
    with pytest.raises(ValueError, match=r"a\.safetensors: its format is"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ({"format": FORMAT}, "metadata is damaged.*network"),
        (metadata(inference="{"), "metadata is damaged"),
        (metadata(network='{"kk": 5}'), "network: unknown key 'kk'"),
        (metadata(network='{"k": "5"}'), "network: k must be int"),
    ],
)
def test_damaged_metadata_is_named(damaged: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(2)}, path, damaged)
    with pytest.raises(ValueError, match=rf"a\.safetensors: .*{message}"):
        load_checkpoint(path)


def spoiled(weights: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    name = next(iter(weights))
    others = {key: tensor for key, tensor in weights.items() if key != name}
    return {
        "missing": others,
        "another shape": others | {name: weights[name][:, :1]},
        "one more": weights | {"more.weight": torch.zeros(1)},
    }[how]


@pytest.mark.parametrize("how", ["missing", "another shape", "one more"])
def test_weights_of_another_network_are_refused(how: str, tmp_path: Path) -> None:
    saved = checkpoint()
    save_checkpoint(replace(saved, weights=spoiled(dict(saved.weights), how)), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors: weights do not fit the network that the checkpoint names"):
        load_checkpoint(tmp_path / "a.safetensors").build()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda tensor: tensor * torch.nan, "has infinite values or NaN"),
        (lambda tensor: tensor + torch.inf, "has infinite values or NaN"),
        (lambda tensor: tensor * 0, "all its weights are zero"),
    ],
)
def test_weights_that_find_nothing_are_refused(how: Callable[[Tensor], Tensor], message: str, tmp_path: Path) -> None:
    saved = checkpoint()
    weights = {name: how(tensor) if tensor.is_floating_point() else tensor for name, tensor in saved.weights.items()}
    save_checkpoint(replace(saved, weights=weights), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=rf"a\.safetensors: .*{message}"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_some_weights_may_be_zero(tmp_path: Path) -> None:
    saved = checkpoint()
    first = next(iter(saved.weights))
    weights = {name: tensor if name == first else tensor * 0 for name, tensor in saved.weights.items()}
    save_checkpoint(replace(saved, weights=weights), tmp_path / "a.safetensors")
    load_checkpoint(tmp_path / "a.safetensors")


def test_a_table_that_asks_for_more_than_the_file_holds_takes_no_memory(tmp_path: Path) -> None:
    large = replace(NetworkConfig(), channels=4096, k=64, blocks=64)  # 100 GB of weights
    save_checkpoint(replace(checkpoint(), network=large), tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"weights do not fit the network that the checkpoint names: .* are missing"):
        loaded.build()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(("key", "value"), [("blocks", 10**9), ("k", 10**6), ("window_sizes", [7] * 1000)])
def test_a_table_cannot_ask_for_a_network_without_end(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(checkpoint(), path)
    weights, tables = read_container(path, FORMAT, "")
    write_container(path, FORMAT, weights, tables | {"network": tables["network"] | {key: value}})
    with pytest.raises(ValueError, match=rf"a\.safetensors: network\.{key} (is|has) "):
        load_checkpoint(path)


def test_no_backbone_is_fetched_from_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"network\.backbone is 'hf-hub:somebody/model'"):
        NetworkConfig(backbone="hf-hub:somebody/model")


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_renamed_pickle_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    if kind == "torch":
        torch.save({"weight": torch.ones(2)}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(ValueError, match=r"a\.safetensors: not a safetensors file \(it is a pickle"):
        load_checkpoint(path)


def test_the_same_checkpoint_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Also where sets are in another order."""
    code = (
        "import sys, torch; from pathlib import Path; from instancefcn.container import write_container;"
        "weights = {'a': torch.ones(3), 'b': torch.zeros(1)};"
        "write_container(Path(sys.argv[1]), 'f', weights, dict.fromkeys('tsrqponm', 1))"
    )
    other_order = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = os.environ | {"PYTHONHASHSEED": other_order}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True, env=environment)
    weights, tables = {"a": torch.ones(3), "b": torch.zeros(1)}, dict.fromkeys("tsrqponm", 1)
    write_container(tmp_path / "b", "f", weights, tables)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    kept, kept_tables = read_container(tmp_path / "a", "f", "")
    assert torch.equal(kept["a"], torch.ones(3))
    assert kept_tables == tables


@pytest.mark.parametrize("table", ["[]", "3", "null", "[" * 100_000])
@pytest.mark.parametrize("name", ["network", "inference", "training", "objects"])
def test_a_table_that_is_none_is_named(name: str, table: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata() | {name: table})
    with pytest.raises(ValueError, match=r"a\.safetensors: its metadata is damaged"):
        load_checkpoint(path)


def test_figures_that_are_nan_are_null(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(replace(checkpoint(), training={"validation": {"val": {"AR@100": float("nan")}}}), path)
    content = path.read_bytes()
    assert b"NaN" not in content[8 : 8 + int.from_bytes(content[:8], "little")]
    assert load_checkpoint(path).training == {"validation": {"val": {"AR@100": None}}}
