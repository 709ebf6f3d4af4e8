"""Batches: what lies beyond an image in them is padding, of which no loss learns."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from instancefcn.data.augmentation import augment
from instancefcn.data.resizing import PADDING_VALUE
from instancefcn.model.build import build_network
from instancefcn.training.assignment import IGNORED, NEGATIVE, POSITIVE
from instancefcn.training.batch import BatchMaker
from instancefcn.training.dataset import TrainingStream
from instancefcn.training.recipe import Recipe
from synthetic import SyntheticScenes
from tiny import TINY, scenes

WHOLE = replace(TINY.augmentation, shorter_sides=(40.0, 150.0), draw="one_of", crop=0, copy_paste=0.0)
CROPS = replace(TINY.augmentation, shorter_sides=(40.0, 60.0), crop=96)


def recipe_of(augmentation: str, objectness: str) -> Recipe:
    return replace(
        TINY,
        augmentation=WHOLE if augmentation == "whole" else CROPS,
        loss=replace(TINY.loss, objectness=objectness),  # pyright: ignore[reportArgumentType]
    )


@pytest.mark.parametrize("augmentation", ["whole", "crops"])
@pytest.mark.parametrize("objectness", ["logistic", "focal"])
def test_windows_centred_on_padding_are_ignored(augmentation: str, objectness: str) -> None:
    recipe = recipe_of(augmentation, objectness)
    sizes = build_network(recipe.network).window_sizes
    stream = TrainingStream([scenes()], recipe.augmentation, 1.0, 0)
    batch = BatchMaker(recipe, sizes, 64)([stream[index] for index in range(6)])
    # Scenes have no pixel of the padding's colour in all channels, but where one was pasted onto padding.
    padding = (batch.pixels == PADDING_VALUE).all(1)
    assert padding.flatten(1).float().mean(1).max() > 0.3
    for (stride, m, _), labels, windows in zip(sizes, batch.labels, batch.sampled, strict=True):
        offset = stride // 2 if m % 2 else 0
        centers = padding[:, offset::stride, offset::stride]
        assert centers.shape == labels.shape
        assert (labels[centers] == IGNORED).all()
        if objectness == "focal":  # all windows are judged, not a sample
            assert (labels[~centers] == NEGATIVE).any()
        assert not centers[windows.image_index, *windows.positions_yx.T].any()  # no near misses either
    assert sum(len(windows.positive) for windows in batch.sampled) > 10


def test_scales_that_are_bounded_alike_are_one() -> None:
    thin, found = SyntheticScenes(4, height=32, width=160), []
    for sides in ((60.0,), (60.0, 150.0)):  # either is 40, as the longer side may have 200
        recipe = replace(
            TINY,
            augmentation=replace(WHOLE, shorter_sides=sides, flip=False, colour_jitter=0.0),
            assignment=replace(TINY.assignment, rule="nearest_scale"),
            inference=replace(TINY.inference, longest_side=200.0),
        )
        rng = np.random.default_rng(0)
        views = [augment(sample, recipe.augmentation, rng, recipe.longest_view) for sample in thin]
        found.append(BatchMaker(recipe, build_network(recipe.network).window_sizes, 64)(views))
    assert tuple(found[0].pixels.shape[2:]) == (64, 256)
    for one, other in zip(found[0].labels, found[1].labels, strict=True):
        assert torch.equal(one, other)
    assert any((labels == POSITIVE).any() for labels in found[0].labels)


def test_a_batch_names_its_images_also_after_a_process_has_sent_it() -> None:
    recipe = replace(TINY, augmentation=replace(TINY.augmentation, copy_paste=1.0))
    stream = TrainingStream([scenes()], recipe.augmentation, 1.0, 0)
    views = [replace(stream[0], names=("a.png", "b.png")), replace(stream[1], lost=("c.png: cannot be read",))]
    assert len(views[1].names) == 2  # what was pasted in has a name, too
    batch = BatchMaker(recipe, build_network(recipe.network).window_sizes, 64)(views)
    for one in (batch, batch.to(batch.pixels.device), pickle.loads(pickle.dumps(batch))):
        assert one.names == ["a.png", "b.png", *views[1].names]
        assert one.lost == ["c.png: cannot be read"]
