from __future__ import annotations

import numpy as np
import pytest

from instancefcn.geometry.rle import decode
from synthetic import KINDS, SyntheticScenes, draw_scene


def test_scenes_depend_on_seed_and_index_alone() -> None:
    first, longer, other = (
        SyntheticScenes(3, 50, 70, seed=5),
        SyntheticScenes(9, 50, 70, seed=5),
        SyntheticScenes(3, 50, 70),
    )
    draw_scene.cache_clear()
    images = [sample.image for sample in first]
    draw_scene.cache_clear()
    for index in (2, 0, 1):
        np.testing.assert_array_equal(longer[index].image, images[index])
        assert longer.labels(index).instances.rles == first[index].instances.rles
        assert (other[index].image != images[index]).any()
    assert (images[0] != images[1]).any()


def test_masks_are_disjoint_and_seen() -> None:
    for sample in SyntheticScenes(20, 60, 80, seed=1):
        masks = np.stack([decode(rle) for rle in sample.instances.rles])
        assert masks.shape[1:] == sample.image.shape[:2] == (60, 80)
        assert masks.sum(0).max() == 1
        assert masks.any((1, 2)).all()
        assert set(sample.instances.category_ids.tolist()) <= set(range(1, len(KINDS) + 1))


def test_scenes_overlap_but_hide_nothing() -> None:
    """Instances meet, where one is drawn over the other, in most scenes; every shape that was drawn is seen."""
    touching = 0
    for index in range(20):
        scene = draw_scene(60, 80, 1, index)
        label_map = scene.label_map
        pairs = np.stack([label_map[:, :-1].ravel(), label_map[:, 1:].ravel()])
        touching += bool(((pairs > 0).all(0) & (pairs[0] != pairs[1])).any())
        assert set(np.unique(label_map).tolist()) - {0} == set(range(1, len(scene.kinds) + 1))
    assert touching >= 10


def test_caller_may_write_into_the_image() -> None:
    scenes = SyntheticScenes(1, 20, 20)
    image = scenes.image(0)
    expected = image.copy()
    image[:] = 0
    np.testing.assert_array_equal(scenes.image(0), expected)


def test_end_of_the_scenes() -> None:
    assert len(list(SyntheticScenes(3, 20, 20))) == 3
    assert list(SyntheticScenes(0)) == []
    with pytest.raises(IndexError, match="scene 3 of 3"):
        SyntheticScenes(3)[3]
