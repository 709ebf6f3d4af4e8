"""Memory of training: it must not grow with instances times the area of the image."""

from __future__ import annotations

from memory import megabytes_for

SETUP = """
import numpy as np
from instancefcn.data.augmentation import Augmentation, augment, copy_paste
from instancefcn.data.label_maps import split_label_map
from instancefcn.data.segmentations import to_instances
from instancefcn.structures import Sample, WindowSize
from instancefcn.training.batch import BatchMaker
from instancefcn.training.recipe import load_recipe

def sample(across, side):
    # Squares in rows and columns, half a cell wide.
    cell = side // across
    places = np.arange(side)
    inside = (places % cell < cell // 2) & (places < across * cell)
    label_map = (inside[:, None] & inside) * (places[:, None] // cell * across + places // cell + 1)
    ids, rles = split_label_map(label_map)
    image = np.zeros((side, side, 3), dtype=np.uint8)
    return Sample(1, "a.png", image, to_instances(ids, rles, [1] * len(ids)))

def batch(of_sample):
    rng = np.random.default_rng(0)
    views = [augment(of_sample, Augmentation(crop=512, shorter_sides=(320.0, 512.0)), rng) for _ in range(3)]
    maker = BatchMaker(load_recipe("lite"), [WindowSize(8, 7, 2), WindowSize(16, 9, 4)], 32)
    return [len(view.gt_masks) for view in views], maker([copy_paste(views[0], views[1], rng), views[2]])

batch(sample(2, 1200))
"""


def test_a_batch_takes_little_however_many_instances_there_are() -> None:
    """3,025 on 1.4 megapixels; each mask at the image's size took 4.4 GB, and at the view's 0.8 GB."""
    measured = """
counts, _ = batch(many)
assert min(counts) == 55**2, counts
"""
    assert megabytes_for(measured, setup=f"{SETUP}\nmany = sample(55, 1200)") < 120
