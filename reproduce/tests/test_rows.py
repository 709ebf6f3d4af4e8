"""Rows made one by one, on several machines: what is read again, what is trained anew, what goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reproduce.recall as recall_module
from instancefcn.files import read_json
from reproduce.datasets import ImageSelection, open_images
from reproduce.experiments import make_row, reproduce
from reproduce.methods import CROPS, OURS
from reproduce.recall import load_recall, measure, measured_seconds
from reproduce.runner import Runner, UnfinishedError
from reproduce.settings import Settings, parse_change
from reproduce.sources import sources_of
from reproduce.tests.conftest import SMALL, write_coco_scenes, write_scenes
from synthetic import SyntheticScenes

pytestmark = pytest.mark.usefixtures("one_thread")


def settings(tree: Path, out: Path, **more: Any) -> Settings:
    return Settings("mini", tree, out, device="cpu", workers=0, dry=True, changes=SMALL, **more)


def test_a_row_by_itself_is_the_row_of_the_page(mini_tree: Path, tmp_path: Path) -> None:
    asked = settings(mini_tree, tmp_path / "out", seeds=2)
    make_row("table2", "ours-k5", Runner(asked), seed=0)
    runs = asked.folder / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["ours-k5-seed0"]
    assert not (asked.folder / "table2.md").exists()
    page = reproduce("table2", Runner(replace(asked, finished=True)))
    rows = [row for row in read_json(page.with_suffix(".json"))["rows"] if row["seeds"]]  # the others are the paper's
    assert {row["method"] for row in rows} == {"ours, full images"}
    assert {len(row["seeds"]) for row in rows} == {1}
    assert sorted(path.name for path in runs.iterdir()) == ["ours-k5-seed0"]  # nothing was trained
    with pytest.raises(ValueError, match=r"table2 has no row 'lite-5' .* deepmask, .*ours-k5-crops, .*ours-k5"):
        make_row("table2", "lite-5", Runner(asked))


def test_weights_are_trained_anew_only_where_something_is_to_be_measured(mini_tree: Path, tmp_path: Path) -> None:
    asked = settings(mini_tree, tmp_path / "out")
    make_row("table1", "ours-k3", Runner(asked))
    folder = asked.folder / "runs" / "ours-k3-seed0"
    weights, arrays = folder / "best.safetensors", folder / "voc2007-segm.npz"
    weights.unlink()
    make_row("table1", "ours-k3", Runner(asked))
    assert not weights.exists()
    found = load_recall(arrays)
    arrays.unlink()
    make_row("table1", "ours-k3", Runner(asked))
    assert weights.exists()
    np.testing.assert_array_equal(load_recall(arrays).matched, found.matched)


def test_another_machine_reads_what_one_made(mini_tree: Path, tmp_path: Path) -> None:
    asked = settings(mini_tree, tmp_path / "out")
    make_row("table1", "ours-k3", Runner(asked))
    (asked.folder / "runs/ours-k3-seed0/best.safetensors").unlink()
    elsewhere = shutil.copytree(mini_tree, tmp_path / "elsewhere" / "photographs")
    make_row("table1", "ours-k3", Runner(replace(asked, data_root=elsewhere, device="auto", workers=3)))
    assert not (asked.folder / "runs/ours-k3-seed0/best.safetensors").exists()
    with pytest.raises(ValueError, match="is of another run"):
        make_row("table1", "ours-k3", Runner(replace(asked, changes=("optimization.weight_decay=0.5",))))


def test_measuring_goes_on_after_the_last_whole_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_module, "BLOCK", 2)
    scenes, seen, stop = SyntheticScenes(5, height=48, width=64, seed=0), [], [3]

    def propose(image: np.ndarray, image_id: int) -> list[dict[str, Any]]:
        if len(seen) == stop[0]:
            raise KeyboardInterrupt
        seen.append(image_id)
        return [{"image_id": image_id, "category_id": 1, "bbox": [0.0, 0.0, 64.0, 48.0], "score": 1.0}]

    with pytest.raises(KeyboardInterrupt):
        measure(propose, scenes, ("bbox",), "cut", tmp_path / "parts")
    of_whole_blocks = measured_seconds(tmp_path / "parts")
    first, stop[0], seen = list(seen), 99, []
    cut = measure(propose, scenes, ("bbox",), "cut", tmp_path / "parts")["bbox"]
    assert (len(first), len(of_whole_blocks)) == (3, 2)
    seconds = measured_seconds(tmp_path / "parts")
    assert (len(seconds), seconds[:2]) == (5, of_whole_blocks)  # the seconds survive, too, one for each image
    assert len(seen) == 3  # the third image is of the block that was cut
    seen = []
    whole = measure(propose, scenes, ("bbox",), "whole", tmp_path / "others")["bbox"]
    assert (len(seen), whole.image_ids) == (5, cut.image_ids)
    np.testing.assert_array_equal(whole.matched, cut.matched)


def test_a_tenth_is_kept_out(tmp_path: Path) -> None:
    write_coco_scenes(tmp_path, Path("a.json"), Path("a"), 23, 0)
    images = ImageSelection((f"coco:{tmp_path}/a.json,{tmp_path}/a",))
    all_names, fit, kept_out = (
        [labels.file_name for source in open_images(replace(images, tenth=tenth)) for labels in source.all_labels]
        for tenth in ("", "left out", "alone")
    )
    assert (len(fit), len(kept_out)) == (20, 3)
    assert sorted(fit + kept_out) == sorted(all_names)
    assert kept_out == [all_names[0], all_names[10], all_names[20]]


def test_changes_of_recipes_are_checked(mini_tree: Path, tmp_path: Path) -> None:
    assert parse_change("loss.dice_weight=2") == {"loss": {"dice_weight": 2}}
    assert parse_change("augmentation.shorter_sides=[100.0, 200]") == {"augmentation": {"shorter_sides": [100.0, 200]}}
    changed = replace(settings(mini_tree, tmp_path), changes=("optimization.precision=bf16", "seed=3"), dry=False)
    recipe, plain = (Runner(asked).recipe(OURS, 5) for asked in (changed, replace(changed, changes=())))
    assert (recipe.optimization.precision, recipe.seed) == ("bf16", 3)
    assert replace(recipe, optimization=plain.optimization, seed=5) == plain
    assert "--set optimization.precision=bf16" in changed.command("table2")
    for wrong, message in (("optimization.steps=3", "unknown key 'steps'"), ("loss", "TABLE.KEY=VALUE")):
        with pytest.raises(ValueError, match=message):
            Runner(replace(changed, changes=(wrong,))).recipe(OURS, 0)


def test_searched_rates_reach_the_rows(mini_tree: Path, tmp_path: Path) -> None:
    asked = settings(mini_tree, tmp_path / "out")
    searched = Runner(replace(asked, searched_rates=True))
    with pytest.raises(
        ValueError, match=r"rates.json has no learning rate for ours-k5 yet: run python -m reproduce rates"
    ):
        searched.recipe(OURS, 0)
    page = reproduce("rates", Runner(asked))
    assert page.read_text().count("**best**") == 3
    table = read_json(page.with_suffix(".json"))
    assert {slug: sorted(tries) for slug, tries in table["tries"].items()} == {
        slug: ["0.5", "1", "2"] for slug in ("deepmask", "ours-k5", "ours-k5-crops")
    }
    page.with_suffix(".json").write_text(json.dumps({"best": {"ours-k5": 2.0, "ours-k5-crops": 0.5}}))
    plain = {method.slug: Runner(asked).recipe(method, 0).optimization.learning_rate for method in (OURS, CROPS)}
    k3 = replace(OURS, slug="ours-k3", k=3, rate_of=OURS.slug)
    rates = [searched.recipe(method, 0).optimization.learning_rate for method in (OURS, CROPS, k3)]
    assert rates == [2 * plain["ours-k5"], plain["ours-k5-crops"] / 2, 2 * plain["ours-k5"]]
    plan = read_json(asked.folder / "runs/rates-deepmask-x2/run.json")
    assert plan["images"]["tenth"] == "left out"


def test_finished_pages_train_nothing(mini_tree: Path, tmp_path: Path) -> None:
    asked = settings(mini_tree, tmp_path / "out", finished=True)
    made = asked.folder / "runs" / "ours-k3-seed0"
    with pytest.raises(UnfinishedError):
        make_row("table1", "ours-k3", Runner(asked))
    make_row("table1", "ours-k3", Runner(replace(asked, finished=False)))
    for gone in ("best.safetensors", "voc2007-segm.npz"):
        (made / gone).unlink()
    with pytest.raises(UnfinishedError):
        make_row("table1", "ours-k3", Runner(asked))  # trained on another machine, and not measured
    shutil.rmtree(asked.folder / "runs")
    for name in ("rates", "sources", "sizes", "table1"):
        assert reproduce(name, Runner(asked)).exists()
    assert not (asked.folder / "runs").exists()


def test_sources_are_added_to_todays(mini_tree: Path, tmp_path: Path) -> None:
    for name in ("coco-partial", "corn", "food", "aerial-buildings"):
        split = "train" if name == "coco-partial" else "val"
        write_coco_scenes(mini_tree, Path(name) / f"annotations/instances_{split}.json", Path(name) / split, 2, 5)
    for folder in ("pennfudan/train", "pennfudan/val", "nuclei/val"):
        maps = write_scenes(mini_tree / folder / "images", 2, 6)
        (mini_tree / folder / "masks").mkdir()
        for path, label_map in zip(sorted((mini_tree / folder / "images").iterdir()), maps, strict=True):
            Image.fromarray(label_map).save(mini_tree / folder / "masks" / f"{path.stem}.png")
    asked = settings(mini_tree, tmp_path / "out")
    make_row("sources", "today", Runner(asked))
    page = reproduce("sources", Runner(replace(asked, finished=True)))
    rows = read_json(page.with_suffix(".json"))["rows"]
    assert set(rows) == {"today"}
    assert set(rows["today"]) == {
        *("coco-mini", "animals", "pennfudan", "voc2007", "corn", "food", "aerial-buildings", "nuclei")
    }
    kinds = [spec.partition(f"{mini_tree}/")[::2] for spec in sources_of("facade", mini_tree).specs]
    assert [(kind, rest.partition("/")[0]) for kind, rest in kinds] == [
        ("coco:", "coco-mini"),
        ("partial+coco:", "coco-partial"),
        ("partial+coco:", "animals"),
        ("labels:", "pennfudan"),
        ("coco:", "facade"),
    ]
