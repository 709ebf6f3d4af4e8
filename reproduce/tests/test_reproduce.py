"""Whole experiments, dry: every network is built, trained for two steps and measured, on trees like the real ones."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.config import from_table, to_table
from instancefcn.geometry.rle import encode, to_json
from reproduce import peers
from reproduce.ablation import parts, reproduce_ablation
from reproduce.datasets import ImageSelection, open_images
from reproduce.experiments import reproduce
from reproduce.methods import EXPERIMENTS
from reproduce.networks import build_network, mask_parameters
from reproduce.recall_tables import reproduce_table
from reproduce.recipe import load_recipe
from reproduce.runner import Runner
from reproduce.settings import Settings
from reproduce.tests.conftest import SMALL
from synthetic import SyntheticScenes

pytestmark = pytest.mark.usefixtures("one_thread")


def fake_search(image: np.ndarray, image_id: int) -> list[dict[str, Any]]:
    height, width = image.shape[:2]
    return [{"image_id": image_id, "category_id": 1, "bbox": [0, 0, width, height], "score": 1.0}]


def fake_masks(image: np.ndarray, image_id: int) -> list[dict[str, Any]]:
    whole = to_json(encode(np.ones(image.shape[:2], dtype=bool)))
    return [{"image_id": image_id, "category_id": 1, "segmentation": whole, "score": 1.0}]


def test_the_papers_recipes_on_two_processes(paper_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # as if it were not installed
    settings = Settings("paper", paper_tree, tmp_path / "out", processes=2, device="cpu", workers=0, dry=True)
    # Without ~DeepMask, whose 81 million parameters would take a minute; `mini` trains one below.
    table3 = next(experiment for experiment in EXPERIMENTS if experiment.name == "table3")
    methods = tuple(method for method in table3.methods if method.slug != "deepmask")
    page = reproduce_table(replace(table3, methods=methods), Runner(settings))
    text = page.read_text()
    assert "DRY RUN" in text
    assert "Left out: Selective Search" in text
    assert "38.9 49.7 52.6" in text  # the paper's own
    assert "lists, with seeds 0 to 0" in text  # of all of SBD's images those of VOC's train list
    assert f"of these those that `{paper_tree}/VOCdevkit/VOC2012/ImageSets/Main/train.txt`" in text
    assert "fingerprint `" in text
    masks = [line for line in text.split("masks\n")[1].split("## ")[0].splitlines() if line.startswith("|")][2:]
    names = [line.split("|")[1].strip() for line in masks]
    assert names == ["Selective Search", "MCG", "~DeepMask", "MNC", "ours, full images", methods[-1].label]
    assert "| MCG | - | 18.9 36.8 49.5 | - | - | - | - | - | - |" in masks
    table = json.loads(page.with_suffix(".json").read_text())
    assert table["dry_run"] is True
    trained = [row for row in table["rows"] if row["iterations"]]
    assert {row["method"] for row in trained} == {"ours, full images"}
    assert all((row["iterations"], row["mask_parameters"]) == ([2], 115_200) for row in trained)
    run = json.loads((page.parent / "runs/ours-k5-seed0/run.json").read_text())
    assert run["recipe"]["network"] == json.loads(json.dumps(to_table(load_recipe("paper").network)))
    assert run["recipe"]["optimization"]["batch_size"] == 2
    images = [len(source) for source in open_images(from_table(ImageSelection, run["images"], "run.json"))]
    assert images == [1, 1]  # of VOC's list, from both of SBD's splits


def test_a_table_of_mini_goes_on_where_it_was_stopped(
    mini_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reproduce import runner as module

    monkeypatch.setattr(module, "selective_search", fake_search)
    monkeypatch.setattr(module, "propose_masks", fake_masks)
    settings = Settings("mini", mini_tree, tmp_path / "out", seeds=2, device="cpu", workers=0, dry=True, changes=SMALL)
    page = reproduce("table3", Runner(settings))
    first = json.loads(page.with_suffix(".json").read_text())
    by_row = {(row["test"], row["regions"], row["method"]): row for row in first["rows"]}
    searched = {key: row for key, row in by_row.items() if row["seeds"] and "Selective" in key[2]}
    boxes, masks = "Selective Search, OpenCV's boxes", "Selective Search, its regions as masks"
    assert {key[1:] for key in searched} == {("boxes", boxes), ("masks", masks)}
    assert by_row["voc2007", "masks", masks]["published"] == [7.0, 23.5, 43.3]
    assert by_row["voc2007", "boxes", boxes]["published"] is None  # the paper's numbers are of masks
    assert len(by_row["voc2007", "masks", "~DeepMask, crops"]["seeds"]) == 2
    assert {len(row["seconds_an_image"]) for row in by_row.values()} == {0, 1, 2}
    assert all(len(row["seconds_an_image"]) == len(row["seeds"]) for row in by_row.values())
    assert "- Seconds an image: to propose" in page.read_text()
    verdicts = {(found["claim"], found["test"]) for found in first["findings"]}
    for regions in ("boxes", "masks"):
        assert (f"finds more than Selective Search ({regions})", "coco-mini val") in verdicts
    written = {path: path.stat().st_mtime_ns for path in (page.parent / "runs").rglob("*.safetensors")}
    assert len(written) == 4
    page.unlink()
    (page.parent / "runs/selective-search/voc2007-bbox.npz").unlink()
    reproduce("table3", Runner(settings))
    again = json.loads(page.with_suffix(".json").read_text())
    both = zip(first["rows"], again["rows"], strict=True)
    anew = [one["method"] for one, other in both if one.pop("seconds_an_image") != other.pop("seconds_an_image")]
    assert anew == ["Selective Search, OpenCV's boxes"]
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (page.parent / "runs").rglob("*.safetensors")} == written
    other = Settings("mini", mini_tree, tmp_path / "out", processes=3, device="cpu", workers=0, dry=True, changes=SMALL)
    with pytest.raises(ValueError, match=r"run\.json is of another run .* give another --out"):
        reproduce("table3", Runner(other))


def test_a_curve_over_sizes(mini_tree: Path, tmp_path: Path) -> None:
    settings = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True, changes=SMALL)
    page = reproduce("sizes", Runner(settings))
    table = json.loads(page.with_suffix(".json").read_text())
    rows = {(row["test"], row["method"]) for row in table["rows"]}
    assert ("training images", "ours, full images, 2 images") in rows
    assert ("voc2007", "~DeepMask, crops, 6 images") in rows
    assert any("gap is larger from 2 images than from 6" in found["claim"] for found in table["findings"])
    assert (page.parent / "sizes-coco-mini-val.png").read_bytes().startswith(b"\x89PNG")
    images = json.loads((page.parent / "runs/ours-k5-n2-seed0/run.json").read_text())["images"]
    assert images["drawn"] == 2
    for method in ("ours-k5", "deepmask"):  # as a run of Table 2 leaves it, whose weights were not kept
        for path in (page.parent / f"runs/{method}-seed0").glob("training-images-*"):
            path.unlink()
        (page.parent / f"runs/{method}-seed0/best.safetensors").unlink()
    reproduce("sizes", Runner(replace(settings, finished=True)))
    table = json.loads(page.with_suffix(".json").read_text())
    assert {(row["test"], row["method"]) for row in table["rows"]} == {
        row for row in rows if row[0] != "training images" or "2 images" in row[1]
    }
    assert any("gap is larger from 2 images than from 6" in found["claim"] for found in table["findings"])


def test_an_ablation_takes_off_one_part_at_a_time(mini_tree: Path, tmp_path: Path) -> None:
    settings = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True)
    of_slug = {part.slug: part for part in parts()}
    page = reproduce_ablation(Runner(settings), [of_slug["lite"], of_slug["complete-labels"]])
    table = json.loads(page.with_suffix(".json").read_text())
    assert (table["dry_run"], table["not_made_yet"]) == (True, [])
    rows = table["rows"]
    assert [(row["row"], row["iterations"]) for row in rows] == [("lite", 2), ("complete-labels", 2)]
    assert rows[0]["difference"] == 0
    assert all(row["seconds_an_image"] > 0 for row in rows)
    specs = [
        [spec.partition(":")[0] for spec in json.loads(plan.read_text())["images"]["specs"]]
        for plan in (page.parent / f"runs/ablation-{slug}-seed0/run.json" for slug in ("lite", "complete-labels"))
    ]
    assert specs == [["coco", "partial+coco"], ["coco", "coco"]]
    with pytest.raises(ValueError, match="leave --scale at mini"):
        reproduce_ablation(Runner(replace(settings, scale="paper")))


def test_every_part_of_the_ablation_makes_a_network_whose_windows_leave_no_gap() -> None:
    networks = {part.slug: build_network(part.recipe.network) for part in parts()}
    first = parts()[0].recipe
    for part in parts():
        assert part.slug == "lite" or part.recipe != first or not part.partial
        sides = sorted({size.stride * size.m for size in networks[part.slug].window_sizes})
        if part.slug != "no-pyramid":  # whose scales close them
            steps = np.divide(sides[1:], sides[:-1])
            assert (steps <= part.recipe.assignment.scale_tolerance**2).all()


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_rows_of_a_table_differ_in_nothing_else(scale: Any) -> None:
    runner = Runner(Settings(scale, Path("data"), Path("out"), iterations=7))
    recipes = {
        method.slug: runner.recipe(method, seed=4)
        for experiment in EXPERIMENTS
        for method in experiment.at(scale).methods
        if method.recipe is not None
    }
    slugs = {"ours-k3", "ours-k5", "ours-k7", "ours-k5-crops", "deepmask", "deepmask-same-scales"}
    only_here = {"mini": "ours-k5-few-windows", "paper": "ours-k5-gapless"}[scale]
    assert set(recipes) == slugs | {only_here}
    assert {recipe.seed for recipe in recipes.values()} == {4}
    crops = recipes["ours-k5-crops"].crops.per_image
    as_crops = recipes["ours-k5-few-windows" if scale == "mini" else "ours-k5"]
    assert as_crops.sampling.windows == crops  # as many windows of an image, alone or together
    for slug, recipe in recipes.items():
        assert recipe.optimization.iterations == 7
        assert recipe.optimization.batch_size == recipes["ours-k5"].optimization.batch_size
        differs = {"ours-k5-few-windows": "sampling", "ours-k5-gapless": "assignment"}.get(slug)
        for table in {"assignment", "loss", "sampling"} - {differs}:
            assert getattr(recipe, table) == getattr(recipes["ours-k5"], table)
        # An object has the size that windows are made for, 96 of 168 pixels or 128 of 224; or the very same scales.
        larger = 4 / 3 if slug == "deepmask" else 1.0
        for room in ("augmentation", "inference"):
            ours, theirs = (getattr(other, room).shorter_sides for other in (recipes["ours-k5"], recipe))
            np.testing.assert_allclose(theirs, np.array(ours) * larger, rtol=1e-3)
    assert recipes["ours-k3"].network.k == 3
    parameters = {slug: mask_parameters(recipe.network) for slug, recipe in recipes.items()}
    if scale == "paper":
        assert (parameters["ours-k5"], parameters["deepmask"]) == (115_200, 52_985_856)
    assert parameters["ours-k3"] < parameters["ours-k5"] < parameters["deepmask"]


def test_published_rows_are_named_as_in_the_paper() -> None:
    for experiment in EXPERIMENTS:
        rows = dict(experiment.published.rows)
        assert all(method.published in rows for method in experiment.methods if method.published)
        slugs = {method.slug for method in experiment.methods}
        assert {slug for claim in experiment.claims for slug in (claim.first, claim.second)} <= slugs


def test_selective_search_ranks_boxes_inside_the_image() -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV's contributed modules: instancefcn[bench]")
    if not hasattr(cv2, "ximgproc"):
        pytest.skip("needs OpenCV's contributed modules: instancefcn[bench]")
    image = SyntheticScenes(1, height=96, width=128, seed=0).image(0)
    results = peers.selective_search(image, 7, limit=50)
    assert len(results) == 50
    assert results == peers.selective_search(image, 7, limit=50)
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)
    boxes = np.array([result["bbox"] for result in results])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [128, 96]).all()
    assert (boxes[:, 2:] > 0).all()
