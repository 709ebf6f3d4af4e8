"""Small networks with random weights, for graphs that are exported in seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer
from instancefcn.model.backbones import Backbone
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.convolutions import shift_same_padding
from instancefcn.model.network import Network
from instancefcn.objects import ObjectRule
from instancefcn.onnx_graph.build import without_left_out

RULE = ObjectRule(
    0.05, max_iou=0.4, max_filled=0.5, max_inside=1, smoothing=0.0, scores=(0.1, 0.3, 0.6), chances=(0.1, 0.2, 0.9)
)


class SmallTrunk(Backbone):
    """One convolution a stride, with TensorFlow's padding and activations in place, as the ``lite`` trunk has."""

    def __init__(self, strides: tuple[int, ...]) -> None:
        super().__init__((120.0,) * 3, (60.0,) * 3)
        depth = int(np.log2(strides[-1]))
        self.layers = nn.ModuleList(
            nn.Sequential(Conv2dSame(8 if index else 3, 8, 5 if index % 2 else 3, stride=2), nn.ReLU6(inplace=True))
            for index in range(depth)
        )
        shift_same_padding(self)
        self.strides, self.channels = strides, (8,) * len(strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, x = {}, self.normalize(images)
        for index, layer in enumerate(self.layers):
            maps[2 ** (index + 1)] = x = layer(x)
        return [maps[stride] for stride in self.strides]


def random_network(config: NetworkConfig, strides: tuple[int, ...] = ()) -> Network:
    """A network whose score maps differ enough that masks have an outline and scores an order.

    Args:
        strides: of a ``SmallTrunk``; without, the trunk is the config's.
    """
    torch.manual_seed(0)
    network = build_network(config, backbone=SmallTrunk(strides) if strides else None).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "predict" in name or name.startswith(("mask_head.2", "score_head.2")):
                parameter.copy_(torch.randn(parameter.shape) * (0.5 if parameter.ndim > 1 else 1.0))
            elif parameter.ndim == 4 and not name.startswith("backbone"):
                parameter.copy_(torch.randn(parameter.shape) * parameter[0].numel() ** -0.5)
    return network


@dataclass(frozen=True)
class Exported:
    """A network, and its graph as the exporter gives it."""

    network: Network
    graph: ir.Graph
    config: InferenceConfig

    def proposer(self, **keys: object) -> Proposer:
        """By torch, without what graphs leave out."""
        config = without_left_out(replace(self.config, **keys))
        return Proposer(self.network, config, device="cpu", rule=RULE)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of colour, uint8 [h, w, 3], without edges that resizing by two programs would draw differently."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 5, 6)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return smooth[0].clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
