"""Random views: image and masks stay one picture, and what a crop leaves of an instance is judged rightly."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracles
from instancefcn.data.augmentation import Augmentation, augment, draw_shorter_side
from instancefcn.data.label_maps import split_label_map
from instancefcn.data.resizing import PADDING_VALUE, resized_size
from instancefcn.data.segmentations import to_instances
from instancefcn.data.training_image import TrainingImage
from instancefcn.geometry.rle import decode, encode
from instancefcn.structures import Sample
from pictures import masks_of
from synthetic import draw_scene

# Colours far from each other and from the padding: the first is background, the others belong to labels 1, 2, ...
PALETTE = np.array(
    [
        *([10, 200, 60], [240, 20, 20], [20, 30, 240], [230, 230, 10]),
        *([10, 230, 230], [230, 10, 230], [90, 90, 0], [0, 90, 160]),
    ],
    dtype=np.uint8,
)


def painted(
    label_map: np.ndarray,
    *,
    void: int | None = None,
    crowd: list[bool] | None = None,
    ignore: list[bool] | None = None,
    partial: bool = False,
) -> Sample:
    """An image whose every pixel has the colour of its label; one label may be void, the others are instances."""
    ids, rles = split_label_map(np.where(label_map == void, 0, label_map))
    instances = to_instances(ids, rles, [1] * len(ids), crowd, ignore)
    void_rle = encode(label_map == void) if void is not None else None
    return Sample(1, "a.png", PALETTE[label_map], instances, partial, void_rle)


def same_size(sample: Sample, **options: Any) -> Augmentation:
    """Keeps every pixel as it is, whole images, unless options say otherwise."""
    shorter_sides = (float(min(sample.image.shape[:2])),)
    plain: dict[str, Any] = {"crop": 0, "flip": False, "colour_jitter": 0.0, "copy_paste": 0.0}
    return Augmentation(shorter_sides=shorter_sides, draw="one_of", **(plain | options))


def view_of(sample: Sample, config: Augmentation, seed: int = 0) -> TrainingImage:
    return augment(sample, config, np.random.default_rng(seed))


def stripes(*widths: int, height: int = 20) -> np.ndarray:
    """Labels 0, 1, 2, ... side by side."""
    return np.tile(np.repeat(np.arange(len(widths)), widths), (height, 1))


def within(region: Tensor, radius: int) -> Tensor:
    """Pixels of a region [h, w] with nothing else within a radius."""
    return F.max_pool2d((~region)[None].float(), 2 * radius + 1, stride=1, padding=radius)[0] == 0


def label_shown(image: Tensor, region: Tensor) -> int | None:
    """The label whose colour all pixels of a region have; None of an empty region."""
    pixels = image[:, region].T.int()  # [n, 3]
    if not len(pixels):
        return None
    off = (pixels[:, None] - torch.from_numpy(PALETTE).int()).abs().amax(2)  # [n, labels]
    label = int(off[0].argmin())
    assert off[:, label].max() <= 1, "another colour is in the region"  # 1: rounding
    return label


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    crop=st.sampled_from([0, 48, 100]),
    flip=st.booleans(),
    rotate=st.booleans(),
)
def test_masks_void_and_background_lie_where_the_image_shows_them(
    seed: int, height: int, width: int, crop: int, flip: bool, rotate: bool
) -> None:
    label_map = draw_scene(height, width, seed, 0).label_map
    void = int(label_map.max())
    sample = painted(label_map, void=void)
    # Never smaller than it is: of a sliver a pixel wide, a smaller image may show a trace where no mask has it.
    config = Augmentation(
        shorter_sides=(90.0, 180.0), crop=crop, flip=flip, rotate=rotate, colour_jitter=0.0, copy_paste=0.0
    )
    view = view_of(sample, config, seed)

    masks = masks_of(view).bool()
    radius = math.ceil(max(1.0, view.scale)) + 1  # beyond it, interpolation mixes no other region in
    shown = [label_shown(view.image, within(mask, radius)) for mask in masks]
    labels = [label for label in shown if label is not None]
    assert labels == sorted(set(labels) - {0, void})  # each its own instance, in order
    assert label_shown(view.image, within(view.void, radius)) in (void, None)
    inside = (view.image != PADDING_VALUE).any(0)
    assert label_shown(view.image, within(inside & ~view.void & ~masks.any(0), radius)) in (0, None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    crop=st.sampled_from([0, 5, 16]),
    rotate=st.booleans(),
)
def test_any_view_of_any_size_is_well_formed(seed: int, height: int, width: int, crop: int, rotate: bool) -> None:
    sample = painted(np.random.default_rng(seed).integers(0, 3, (height, width)))
    config = Augmentation(shorter_sides=(2.0, 12.0), crop=crop, rotate=rotate, copy_paste=0.0)
    view = view_of(sample, config, seed)

    assert 2 <= view.shorter_side <= 12
    assert view.scale == pytest.approx(view.shorter_side / min(height, width))
    size = (crop, crop) if crop else (round(height * view.scale), round(width * view.scale))
    assert view.image.shape in {(3, *size), (3, *size[::-1])} if rotate else view.image.shape == (3, *size)
    size = view.image.shape[1:]
    assert view.void.shape == view.padding.shape == size
    assert view.padding.any() <= bool(crop)
    assert masks_of(view).shape == (len(view.gt_masks), *size)
    assert (view.image.dtype, masks_of(view).dtype, view.void.dtype) == (torch.uint8, torch.uint8, torch.bool)
    assert len(view.gt_masks) == len(view.gt_boxes) == len(view.gt_ignored) <= len(sample.instances)
    assert masks_of(view).flatten(1).amax(1).tolist() == [1] * len(view.gt_masks)  # 0 and 1, and none is empty
    assert view.gt_boxes.tolist() == [oracles.tight_box(mask) for mask in torch.unbind(masks_of(view))]


def test_twice_the_size_is_twice_every_pixel() -> None:
    sample = painted(np.array([[1, 1, 0, 2], [0, 1, 0, 2]]))
    view = view_of(sample, replace(same_size(sample), shorter_sides=(4.0,)))
    first = [[1, 1, 1, 1, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 0, 0, 0, 0]] * 2
    assert masks_of(view).tolist() == [first, [[0, 0, 0, 0, 0, 0, 1, 1]] * 4]
    assert view.gt_boxes.tolist() == [[0, 0, 4, 4], [6, 0, 8, 4]]
    assert view.scale == 2


def test_a_view_at_the_same_size_is_the_sample() -> None:
    label_map = draw_scene(30, 40, seed=3, index=0).label_map
    sample = painted(label_map, void=int(label_map.max()), partial=True)
    view = view_of(sample, same_size(sample))
    assert np.array_equal(view.image.permute(1, 2, 0).numpy(), sample.image)
    assert np.array_equal(masks_of(view).numpy(), np.stack([decode(rle) for rle in sample.instances.rles]))
    assert np.array_equal(view.gt_boxes.numpy(), sample.instances.boxes_xyxy)
    assert np.array_equal(view.void.numpy(), label_map == label_map.max())
    assert view.partial
    assert not view.gt_ignored.any()


def test_half_of_the_views_are_mirrored_as_a_whole() -> None:
    label_map = draw_scene(30, 40, seed=3, index=0).label_map
    sample = painted(label_map, void=int(label_map.max()))
    plain = view_of(sample, same_size(sample))
    boxes = [[40 - right, top, 40 - left, bottom] for left, top, right, bottom in plain.gt_boxes.tolist()]
    mirrored = 0
    for seed in range(40):
        view = view_of(sample, same_size(sample, flip=True), seed)
        if torch.equal(view.image, plain.image):
            assert torch.equal(masks_of(view), masks_of(plain))
            continue
        mirrored += 1
        assert torch.equal(view.image, plain.image.flip(2))
        assert torch.equal(masks_of(view), masks_of(plain).flip(2))
        assert torch.equal(view.void, plain.void.flip(1))
        assert view.gt_boxes.tolist() == boxes
    assert 10 <= mirrored <= 30


@pytest.mark.parametrize("flip", [False, True])
def test_views_are_turned_by_right_angles_as_a_whole(flip: bool) -> None:
    label_map = draw_scene(20, 30, seed=3, index=0).label_map
    sample = painted(label_map, void=int(label_map.max()))
    plain = view_of(sample, same_size(sample))
    pictures = {}  # by what the loops say
    for mirrored in (False, True)[: 1 + flip]:
        for turns in range(4):
            parts = (plain.image, masks_of(plain), plain.void[None])
            pictures[mirrored, turns] = [oracles.turned(part, turns, mirrored) for part in parts]
    seen = Counter()
    for seed in range(160):
        view = view_of(sample, same_size(sample, flip=flip, rotate=True), seed)
        for kind, (image, masks, void) in pictures.items():
            if view.image.shape == image.shape and torch.equal(view.image, image):
                assert torch.equal(masks_of(view), masks)
                assert torch.equal(view.void, void[0])
                assert view.gt_boxes.tolist() == [oracles.tight_box(mask) for mask in torch.unbind(masks)]
                seen[kind] += 1
    assert sum(seen.values()) == 160
    assert set(seen) == set(pictures)
    assert min(seen.values()) > 160 / len(pictures) / 2


def test_a_turned_crop_is_padded_below_and_to_the_right() -> None:
    sample = painted(stripes(10, 10, 10))  # 20 x 30
    shapes = set()
    for seed in range(20):
        view = view_of(sample, same_size(sample, crop=48, rotate=True), seed)
        inside = (view.image != PADDING_VALUE).any(0)
        _, _, width, height = oracles.tight_box(inside)
        assert torch.equal(view.padding, ~inside)
        assert not view.padding[:height, :width].any()
        shapes.add((height, width))
    assert shapes == {(20, 30), (30, 20)}


def test_a_crop_larger_than_the_image_is_padded_below_and_to_the_right() -> None:
    label_map = stripes(10, 10, 10)
    sample = painted(label_map, void=2)
    for seed in range(4):
        config = same_size(sample, crop=48, flip=True, colour_jitter=0.5)
        view = view_of(sample, config, seed)
        padding = torch.ones(48, 48, dtype=torch.bool)
        padding[:20, :30] = False
        assert (view.image[:, padding] == PADDING_VALUE).all()  # not shaken with the image's colours
        assert not masks_of(view)[:, padding].any()
        assert not view.void[padding].any()
        assert torch.equal(view.padding, padding)
        assert masks_of(view).sum() == view.void.sum() == 200


@pytest.mark.parametrize(("width", "ignored"), [(20, False), (133, False), (137, True), (400, True)])
def test_an_instance_of_which_a_crop_shows_too_little_is_ignored(width: int, ignored: bool) -> None:
    # It is as wide as the image, and the crop shows 40 or 41 columns of it: 0.3 of 133, less of 137.
    sample = painted(stripes(0, width, height=40))
    for seed in range(10):
        view = view_of(sample, same_size(sample, crop=40, flip=True), seed)
        assert view.gt_ignored.tolist() == [ignored]


def test_an_instance_outside_the_crop_is_gone() -> None:
    sample = painted(stripes(0, 10, 20, 10))  # three side by side, of which 15 columns see one or two
    seen = set()
    for seed in range(30):
        view = view_of(sample, same_size(sample, crop=15), seed)
        assert (masks_of(view).sum(0) == 1).all()
        assert len(view.gt_masks) == len(view.gt_boxes) == len(view.gt_ignored)
        seen.add(len(view.gt_masks))
    assert seen == {1, 2}


def test_crowds_and_ignored_instances_are_ignored() -> None:
    sample = painted(stripes(5, 5, 5, 5), crowd=[True, False, False], ignore=[False, True, False])
    assert view_of(sample, same_size(sample)).gt_ignored.tolist() == [True, True, False]


@pytest.mark.parametrize("crop", [0, 12, 48])
def test_an_image_without_instances(crop: int) -> None:
    sample = painted(np.zeros((20, 30), dtype=int))
    view = view_of(sample, same_size(sample, crop=crop))
    assert masks_of(view).shape == (0, *view.image.shape[1:])
    assert view.gt_boxes.shape == (0, 4)
    assert view.gt_ignored.shape == (0,)
    assert not view.void.any()


def test_colours_are_shaken_and_masks_are_not() -> None:
    sample = painted(draw_scene(30, 40, seed=3, index=0).label_map)
    plain = view_of(sample, same_size(sample, crop=32, flip=True))
    shaken = view_of(sample, same_size(sample, crop=32, flip=True, colour_jitter=0.3))
    assert not torch.equal(plain.image, shaken.image)
    assert torch.equal(masks_of(plain), masks_of(shaken))
    # Within a factor of brightness, contrast and saturation, each at most 1.3 or at least 0.7, of where it was.
    assert (shaken.image.float().mean() / plain.image.float().mean()).item() == pytest.approx(1, abs=0.35)


def test_a_view_depends_on_its_generator_alone() -> None:
    sample = painted(draw_scene(60, 80, seed=3, index=0).label_map)
    config = Augmentation(shorter_sides=(40.0, 120.0), crop=48)
    first, again, other = (view_of(sample, config, seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(masks_of(first), masks_of(again))
    assert not torch.equal(first.image, other.image)


def test_shorter_sides_are_drawn_as_asked() -> None:
    sample, rng = painted(np.zeros((10, 20), dtype=int)), np.random.default_rng(0)
    one_of = Augmentation(shorter_sides=(100.0, 200.0, 300.0), draw="one_of")
    assert {draw_shorter_side(sample, one_of, rng) for _ in range(50)} == {100.0, 200.0, 300.0}
    between = Augmentation(shorter_sides=(100.0, 400.0))
    drawn = np.array([draw_shorter_side(sample, between, rng) for _ in range(1000)])
    assert drawn.min() >= 100
    assert drawn.max() <= 400
    assert np.mean(drawn < 200) == pytest.approx(0.5, abs=0.06)  # the geometric mean: log-uniform


def test_a_shorter_side_that_suits_an_instance() -> None:
    label_map = np.zeros((100, 200), dtype=int)
    label_map[10:30, 10:50], label_map[60:70, 100:180], label_map[80:100, 0:5] = 1, 2, 3  # 40, 80 and 20 pixels long
    sides = (100.0, 150.0, 200.0, 300.0)
    config = replace(same_size(painted(label_map)), shorter_sides=sides, draw="one_of", object_side=90.0)
    sample = painted(label_map, crowd=[False, False, True])
    # 40 pixels become 90 at 225 and 80 at 112: nearest, as ratios, are 200 and 100.
    assert {view_of(sample, config, seed).shorter_side for seed in range(20)} == {100.0, 200.0}
    nothing = painted(np.zeros((100, 200), dtype=int))
    assert {view_of(nothing, config, seed).shorter_side for seed in range(40)} == set(sides)


def test_factors_of_the_image_as_it_is_are_drawn() -> None:
    scales = (0.25, 0.5**0.5, 1.5)
    for height, width in ((100, 200), (160, 120)):
        sample = painted(np.zeros((height, width), dtype=int))
        config = replace(same_size(sample), image_scales=scales)
        views = [view_of(sample, config, seed) for seed in range(30)]
        assert {round(view.scale, 9) for view in views} == {round(scale, 9) for scale in scales}
        expected = {(3, round(height * scale), round(width * scale)) for scale in scales}
        assert {tuple(view.image.shape) for view in views} == expected


@pytest.mark.parametrize("crop", [0, 64])
def test_a_thin_image_keeps_a_pixel(crop: int) -> None:
    sample = painted(np.zeros((1, 500), dtype=int))
    view = view_of(sample, replace(same_size(sample, crop=crop), image_scales=(0.25,)))
    assert tuple(view.image.shape) == ((3, crop, crop) if crop else (3, 1, 125))
    assert int((~view.padding).sum()) == (crop or 125)


@pytest.mark.parametrize("size", [(20, 30), (3, 500), (500, 3), (1, 2000)])
def test_a_whole_image_is_bounded_as_in_proposing(size: tuple[int, int]) -> None:
    sample = painted(np.zeros(size, dtype=int))
    config = replace(same_size(sample), shorter_sides=(40.0,))
    view = augment(sample, config, np.random.default_rng(0), longest_side=100.0)
    assert tuple(view.image.shape[1:]) == resized_size(*size, 40.0, 100.0)
    assert view.longer_side == pytest.approx(60 if size == (20, 30) else 100)
    assert view.scale == pytest.approx(view.longer_side / max(size)) == view.shorter_side / min(size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"object_side": 90.0}, "set augmentation.draw"),
        ({"crop": 0}, "copy_paste needs crops"),
        ({"shorter_sides": (300.0,)}, "needs two shorter_sides, not 1"),
        ({"shorter_sides": (300.0, 400.0, 500.0)}, "needs two shorter_sides, not 3"),
        ({"shorter_sides": (800.0, 320.0)}, "must name the least first"),
        ({"shorter_sides": ()}, "must name one side at least"),
        ({"shorter_sides": (0.0, 600.0)}, "shorter_sides is 0.0; it must be from 1"),
        ({"image_scales": (1.0, 0.0), "draw": "one_of"}, r"image_scales is 0\.0; it must be from 1e-06 to 1000"),
        ({"image_scales": (0.5, 1.0)}, "image_scales are drawn one by one: set augmentation.draw = 'one_of'"),
    ],
)
def test_keys_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
