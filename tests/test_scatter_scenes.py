"""Pictures of many things of a kind (tools/scatter_scenes.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instancefcn.data.open import open_source
from instancefcn.geometry.rle import decode
from synthetic import SyntheticScenes
from tools import scatter_scenes
from tools.scatter_scenes import HEIGHT, WIDTH, Order, cast_shadow, cut_out, make_scene, turned

SOURCES = [SyntheticScenes(8, 240, 320, seed=3)]


def test_a_seed_makes_one_picture() -> None:
    (picture, labels), again, other = (make_scene(np.random.default_rng([seed, 0]), SOURCES) for seed in (0, 0, 1))
    np.testing.assert_array_equal(picture, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert (picture != other[0]).any()


def test_the_picture_changes_where_the_labels_say_that_a_thing_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same picture without its things is the ground alone."""
    monkeypatch.setattr(scatter_scenes, "finished", lambda rng, canvas: canvas)  # its blur would reach beyond things
    grounds: list[np.ndarray] = []
    ground = scatter_scenes.ground
    monkeypatch.setattr(scatter_scenes, "ground", lambda *args: grounds.append(ground(*args)) or grounds[-1].copy())
    for number in range(6):
        picture, labels = make_scene(np.random.default_rng([7, number]), SOURCES)
        changed = np.abs(picture - grounds[-1]).max(-1)
        assert labels.max() >= 5
        assert (changed[labels > 0] > 3).mean() > 0.9
        assert np.median(changed[labels == 0]) < 1  # shadows and soft edges lie beside things


@pytest.mark.parametrize("overlap", [0.0, 0.2])
def test_no_thing_covers_more_of_another_than_its_share(overlap: float) -> None:
    rng, covers = np.random.default_rng(0), np.ones((60, 40), dtype=bool)
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    order = Order(overlap, 0, np.array([HEIGHT / 2, WIDTH / 2]), 9.0 * WIDTH)
    most, placed = 0.0, 0
    for number in range(1, 80):
        before = labels.copy()
        place = order.find_place(rng, labels, covers)
        if place is None:
            continue
        labels[place][covers] = number
        order.areas[number] = covers.size
        placed += 1
        for label in order.areas:  # one by one, over the whole picture
            lost = (before == label).sum() - (labels == label).sum()
            most = max(most, lost / covers.size if label != number else 0.0)
    assert placed > 20
    assert most <= overlap
    assert (most > 0) == (overlap > 0)


def test_things_keep_their_distance_and_their_heap() -> None:
    rng, covers = np.random.default_rng(1), np.ones((14, 14), dtype=bool)
    order = Order(0.0, 5, np.array([200.0, 300.0]), 80.0)
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    corners: list[tuple[int, int]] = []
    for number in range(1, 60):
        place = order.find_place(rng, labels, covers)
        if place is not None:
            labels[place][covers], order.areas[number] = number, int(covers.sum())
            corners.append((place[0].start, place[1].start))
    assert len(corners) > 4
    for index, (top, left) in enumerate(corners):
        assert np.hypot(top + 7 - 200, left + 7 - 300) <= 80
        for other_top, other_left in corners[:index]:
            down, across = abs(top - other_top) - 14, abs(left - other_left) - 14
            if across < 0:  # one lies above the other
                assert down >= 5
            if down < 0:
                assert across >= 5


def test_what_is_cut_out_is_an_instance_and_its_pixels() -> None:
    source, found = SOURCES[0], 0
    for seed in range(10):
        cut = cut_out(np.random.default_rng(seed), SOURCES)
        if cut is None:
            continue
        pixels, covers = cut
        found += 1
        matches = [
            np.array_equal(sample.image[mask], pixels[covers])
            for sample in source
            for mask in map(decode, sample.instances.rles)
            if mask.sum() == covers.sum()
        ]
        assert any(matches)
    assert found > 3


def test_turning_keeps_a_thing() -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:41, :81]
    covers = ((x - 40) / 40) ** 2 + ((y - 20) / 20) ** 2 <= 1
    for _ in range(5):
        pixels, shown = turned(rng, np.full((41, 81, 3), 200.0), covers)
        assert shown.sum() == pytest.approx(covers.sum(), rel=0.05)
        assert shown.any(0).all()
        assert shown.any(1).all()
        assert np.abs(pixels[shown] - 200).mean() < 8  # what was outside is black


def test_a_shadow_darkens_the_free_ground_alone() -> None:
    canvas, free = np.full((HEIGHT, WIDTH, 3), 100.0), np.ones((HEIGHT, WIDTH), dtype=bool)
    free[:, :110] = False
    cast_shadow(canvas, free, np.ones((30, 30), dtype=bool), slice(100, 130), slice(90, 120), 0.5, 4.0)
    assert (canvas[~free] == 100).all()
    assert canvas.max() == 100
    assert canvas[118, 118, 0] < 70
    assert (canvas[:100] == 100).all()


def test_the_command_leaves_a_data_set(tmp_path: Path) -> None:
    things = tmp_path / "things"
    for folder in ("images", "masks"):
        (things / folder).mkdir(parents=True)
    picture, labels = make_scene(np.random.default_rng(0), SOURCES)
    Image.fromarray(picture).save(things / "images" / "a.png")
    Image.fromarray(labels.astype(np.uint16)).save(things / "masks" / "a.png")
    command = [sys.executable, scatter_scenes.__file__, str(tmp_path / "out"), "--count", "2", "--things"]
    subprocess.run([*command, f"labels:{things}"], check=True, capture_output=True)
    source = open_source(f"labels:{tmp_path / 'out'}")
    assert len(source) == 2
    assert not source.problems
    for sample in source:
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        assert len(sample.instances) >= 3
