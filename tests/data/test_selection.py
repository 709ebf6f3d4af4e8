from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instancefcn.data.selection import Selection
from synthetic import SyntheticScenes


def test_a_selection_has_the_chosen_images_in_order_under_ids_of_its_own() -> None:
    first, second = SyntheticScenes(3, 24, 32, seed=1), SyntheticScenes(3, 24, 32, seed=2)
    chosen = [(second, 2), (first, 0), (second, 0)]
    selection = Selection(chosen, "some")
    assert (len(selection), selection.name) == (3, "some")
    for index, (source, of_source) in enumerate(chosen):
        theirs, ours = source[of_source], selection[index]
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(selection.image(index), theirs.image)
        assert ours.instances is not None
        assert ours.instances.rles == theirs.instances.rles == selection.labels(index).instances.rles
        assert ours.image_id == selection.labels(index).image_id == index + 1
    with pytest.raises(IndexError):
        selection.labels(3)


def test_a_selection_is_partial_where_one_of_its_sources_is() -> None:
    whole, partial = SyntheticScenes(2, 24, 32), SyntheticScenes(2, 24, 32)
    partial.partial = True
    partial.categories = {1: "other", 9: "ninth"}
    assert not Selection([(whole, 0)], "").partial
    both = Selection([(whole, 0), (partial, 1)], "")
    assert both.partial
    assert both.categories == {**whole.categories, 9: "ninth"}
    assert Selection([], "").categories == {}


def test_samples_keep_what_their_source_says_of_them() -> None:
    class Void(SyntheticScenes):
        def __getitem__(self, index: int):
            return replace(super().__getitem__(index), partial=True)

    sample = Selection([(SyntheticScenes(1, 24, 32), 0), (Void(1, 24, 32), 0)], "")
    assert (sample[0].partial, sample[1].partial) == (False, True)
