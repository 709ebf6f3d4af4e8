from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from instancefcn.data.augmentation import Augmentation
from instancefcn.data.training_image import TrainingImage
from instancefcn.inference.checkpoint import load_checkpoint
from instancefcn.model.backbones import VGG16
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import NEGATIVE, POSITIVE, AssignmentConfig, Grid
from instancefcn.training.batch import BatchMaker, assign_image
from instancefcn.training.dataset import TrainingStream
from instancefcn.training.loop import train
from instancefcn.training.optimization import OptimizationConfig
from instancefcn.training.targets import SamplingConfig, sample_windows
from reproduce.crops import CropStream, window_crops
from reproduce.deepmask import CROP, DeepMask
from reproduce.networks import DilatedBackbone, ExperimentNetwork, build_network
from reproduce.recipe import CropConfig, ExperimentRecipe
from synthetic import SyntheticScenes

CROPS = ExperimentRecipe(
    network=ExperimentNetwork(kind="dilated", channels=16, window_sizes=(21,), finest_window_sizes=()),
    augmentation=Augmentation(shorter_sides=(160.0, 240.0), draw="one_of", crop=0, copy_paste=0.0),
    crops=CropConfig(per_image=6),
    assignment=AssignmentConfig(object_to_window=128 / 224, scale_tolerance=1.5**0.5),
    sampling=SamplingConfig(near_misses=0),
    optimization=OptimizationConfig(batch_size=2),
)
# On the whole image, and on a crop: ours, and ~DeepMask's, whose crop is one window.
OURS = WindowSize(8, 21, 1), WindowSize(8, 21, 1)
DEEPMASK = WindowSize(8, 28, 2), WindowSize(224, 1, 56)


def scenes() -> SyntheticScenes:
    return SyntheticScenes(8, height=96, width=144, seed=3)  # at both sizes whole cells of 8 pixels


def views() -> TrainingStream:
    return TrainingStream([scenes()], CROPS.augmentation, 1.0, 0)


def windows_by_place(image: TrainingImage, window: WindowSize) -> dict[tuple[int, int], torch.Tensor]:
    """Target of every positive window."""
    assignments = assign_image(image, [Grid.over(*image.image.shape[-2:], window)], CROPS)
    everything = SamplingConfig(windows=10**6, near_misses=0)
    (sampled,) = sample_windows([window], [assignments], [image], everything, [torch.Generator()])
    return {(y, x): target for (y, x), target in zip(sampled.positions_yx.tolist(), sampled.targets, strict=True)}


@pytest.mark.parametrize(("whole", "crop"), [OURS, DEEPMASK])
def test_crops_and_whole_images_share_labels_and_targets(whole: WindowSize, crop: WindowSize) -> None:
    rng, seen = np.random.default_rng(0), {POSITIVE: 0, NEGATIVE: 0}
    for index in range(6):
        view = views()[index]
        (assignment,) = assign_image(view, [Grid.over(*view.image.shape[-2:], whole)], CROPS)
        targets = windows_by_place(view, whole)
        padded = F.pad(view.image, (224,) * 4, value=127)
        beyond = F.pad(view.padding, (224,) * 4, value=True)
        for image in window_crops(view, CROPS, whole, rng):
            # The pixels say where the crop was taken from: the same of the whole image, and nowhere else.
            places = [
                (y, x)
                for y, x in (assignment.labels == image.central_label).nonzero().tolist()
                if torch.equal(
                    padded[:, (top := 8 * y + 112) : top + 224, (left := 8 * x + 112) : left + 224], image.image
                )
            ]
            assert len(places) == 1
            top, left = (8 * place + 112 for place in places[0])
            assert torch.equal(image.padding, beyond[top : top + 224, left : left + 224])
            seen[assignment.labels[places[0]].item()] += 1
            of_crop = windows_by_place(image, crop)
            if image.central_label == NEGATIVE:
                assert of_crop == {}
            else:
                (target,) = of_crop.values()
                assert torch.equal(target, targets[places[0]])
    assert min(seen.values()) > 5


def test_half_of_the_crops_are_positive_and_negatives_fill_up() -> None:
    stream = CropStream([scenes()], CROPS, [WindowSize(8, 21)])
    counts = []
    for index in range(12):
        labels = [image.central_label for image in stream[index]]
        assert len(labels) == 6
        counts.append(labels.count(POSITIVE))
    assert max(counts) == 3
    assert all(torch.equal(a.image, b.image) for a, b in zip(stream[5], stream[5], strict=True))
    batch = BatchMaker(CROPS, [WindowSize(8, 21)], 8)([stream[0], stream[1]])
    assert batch.pixels.shape == (12, 3, 224, 224)
    assert [labels.shape for labels in batch.labels] == [(12, 28, 28)]


def test_crops_need_one_window_size() -> None:
    with pytest.raises(ValueError, match=r"crops\.per_image .* choose another network\.kind"):
        CropStream([scenes()], CROPS, [WindowSize(8, 21), WindowSize(16, 21)])
    with pytest.raises(ValueError, match=r"set augmentation\.crop = 0"):
        replace(CROPS, augmentation=replace(CROPS.augmentation, crop=224))


@pytest.mark.parametrize("kind", ["dilated", "deepmask"])
def test_both_networks_learn_from_crops(kind: Any, tmp_path: Path) -> None:
    recipe = replace(CROPS, network=replace(CROPS.network, kind=kind))
    network = build_network(recipe.network)
    if kind == "deepmask":
        network = DeepMask(network.backbone, channels=16, fc_channels=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stream = CropStream([scenes()], recipe, network.window_sizes)
    train(recipe, [], tmp_path, iterations=2, device="cpu", workers=0, network=network, stream=stream)
    weights = load_checkpoint(tmp_path / "last.safetensors", ExperimentNetwork).weights
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weights[name], before[name]) for name in weights)
    with pytest.raises(ValueError, match=r"network: kind is .*from a checkout, as `python -m reproduce`"):
        load_checkpoint(tmp_path / "last.safetensors")


@pytest.mark.parametrize("name", ["vgg16", "tf_efficientnet_lite0"])
def test_the_centre_of_a_crop_has_the_features_that_it_has_in_the_whole_image(name: str) -> None:
    torch.manual_seed(0)
    backbone = (VGG16(width=4) if name == "vgg16" else DilatedBackbone(name)).eval()
    image = torch.rand(1, 3, 320, 360) * 255
    top, left = 40, 72  # multiples of the stride, as crop_around's
    with torch.no_grad():
        (whole,), (of_crop,) = backbone(image), backbone(image[..., top : top + CROP, left : left + CROP])
    centre = CROP // 16
    here, there = of_crop[0, :, centre, centre], whole[0, :, top // 8 + centre, left // 8 + centre]
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5 * float(there.abs().max()))
    # Two positions from the border they differ, as zeros lie beyond the crop: the test can tell.
    beside = whole[0, :, top // 8 + 2, left // 8 + 2]
    assert (of_crop[0, :, 2, 2] - beside).abs().max() > 1e-4 * beside.abs().max()
