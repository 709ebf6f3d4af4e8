"""~DeepMask, the baseline of the paper's Table 2: masks from fully connected layers, "our implementation of DeepMask".

It is trained on crops of 224 pixels. The trunk turns a crop into a map of 14 x 14; fc 512 and fc 56^2, with nothing
between them (Pinheiro et al., NeurIPS 2015), turn the map into a mask, and another branch turns it into objectness. On
an image the layers slide. A window takes every second place of the trunk's map at stride 8 ("a trous"), which are the
14 x 14 places of a crop, so there are as many windows as InstanceFCN has.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from instancefcn.model.backbones import Backbone
from instancefcn.model.heads import init_gaussian
from instancefcn.model.network import Network
from instancefcn.structures import ScoreMaps, WindowSize

CROP = 224  # pixels
MAP = 14  # side of the map of a crop
MASK = 56  # side of a mask
STRIDE = 8  # of the trunk
STEP = CROP // MAP // STRIDE  # positions of the trunk's map between neighbouring places of a crop's map
_WINDOWS_AT_ONCE = 256  # bounds the memory: 512 channels * 14 * 14 floats each


class MaskLayer(nn.Module):
    """The two fully connected layers, 53 million parameters at VGG-16's width. Inputs are flattened y, x, channel."""

    def __init__(self, channels: int = 512, fc_channels: int = 512) -> None:
        super().__init__()
        self.reduce = nn.Linear(MAP * MAP * channels, fc_channels)
        self.expand = nn.Linear(fc_channels, MASK * MASK)
        self.apply(init_gaussian)

    def forward(self, maps: Float[Tensor, "n c 14 14"]) -> Float[Tensor, "n 56 56"]:
        return self.expand(self.reduce(maps.permute(0, 2, 3, 1).flatten(1))).view(-1, MASK, MASK)

    def of_crops(
        self, maps: Float[Tensor, "b c 14 14"], image_index: Int[Tensor, "n"], positions_yx: Int[Tensor, "n 2"]
    ) -> Float[Tensor, "n 56 56"]:
        """Masks of whole crops, each of which has one window, at position 0 0."""
        return self(maps[image_index])

    def of_windows(
        self, features: Float[Tensor, "b c h w"], image_index: Int[Tensor, "n"], positions_yx: Int[Tensor, "n 2"]
    ) -> Float[Tensor, "n 56 56"]:
        """Masks of the windows at these positions; features are zero beyond the image."""
        _, _, height, width = features.shape
        taps = STEP * (torch.arange(MAP, device=features.device) - MAP // 2)
        masks: list[Tensor] = []
        for image, position in zip(
            image_index.split(_WINDOWS_AT_ONCE), positions_yx.split(_WINDOWS_AT_ONCE), strict=True
        ):
            rows, columns = position[:, :1] + taps, position[:, 1:] + taps  # [n, 14]
            inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
            rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
            windows = features.permute(0, 2, 3, 1)[image[:, None, None], rows, columns] * inside[..., None]
            masks.append(self(windows.permute(0, 3, 1, 2).to(self.reduce.weight.dtype)))
        return torch.cat(masks)


class ScoreBranch(nn.Module):
    """2x2 max pooling, fc 512, fc 1024, one score (DeepMask), dropout between."""

    def __init__(self, in_channels: int, fc_channels: int = 512) -> None:
        super().__init__()
        self.side = MAP // 2
        self.fc1 = nn.Linear(self.side**2 * in_channels, fc_channels)
        self.fc2 = nn.Linear(fc_channels, 2 * fc_channels)
        self.predict = nn.Linear(2 * fc_channels, 1)
        self.dropout = nn.Dropout(0.5)
        self.apply(init_gaussian)

    def forward(self, maps: Float[Tensor, "b c 14 14"]) -> Float[Tensor, "b"]:
        x = F.max_pool2d(maps, 2).permute(0, 2, 3, 1).flatten(1)
        return self._rest(F.relu(self.fc1(x)))[:, 0]

    def slide(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        """The score of the window at every position; features are zero beyond the image."""
        before = STEP * (MAP // 2)
        after = STEP * (MAP - 1) - before
        x = F.max_pool2d(F.pad(features, (before, after, before, after)), 2, stride=1, dilation=STEP)
        kernel = self.fc1.weight.view(-1, self.side, self.side, features.shape[1]).permute(0, 3, 1, 2)
        x = F.relu(F.conv2d(x, kernel, self.fc1.bias, dilation=2 * STEP))
        return self._rest(x.permute(0, 2, 3, 1))[..., 0]

    def _rest(self, x: Tensor) -> Tensor:
        return self.predict(self.dropout(F.relu(self.fc2(self.dropout(x)))))


class DeepMask(Network):
    """In training a network of crops, which have one window each; else a sliding one, with a window at every position.

    Args:
        backbone: a trunk of one map, at stride 8.
        channels: of the 1x1 convolution before the mask layer.
        fc_channels: of the fully connected layers.
    """

    def __init__(self, backbone: Backbone, channels: int = 512, fc_channels: int = 512) -> None:
        super().__init__()
        assert backbone.strides == (STRIDE,), "the taps of the layers are made for a trunk of one map, at stride 8"
        self.backbone = backbone
        self.reduce = nn.Sequential(nn.Conv2d(backbone.channels[0], channels, 1), nn.ReLU())
        self.reduce.apply(init_gaussian)
        self.mask_layer = MaskLayer(channels, fc_channels)
        self.score_branch = ScoreBranch(backbone.channels[0], fc_channels)
        self.size_multiple = STRIDE
        self.window_sizes = [WindowSize(STRIDE, CROP // STRIDE, MASK // (CROP // STRIDE))]
        self.training_window_sizes = [WindowSize(CROP, 1, MASK)]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        return self.of_crops(images) if self.training else self.slide(images)

    def of_crops(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        """Each image as one window.

        Raises:
            ValueError: the images are no crops of 224 x 224.
        """
        if images.shape[-2:] != (CROP, CROP):
            raise ValueError(
                f"~DeepMask learns from crops of {CROP} x {CROP} pixels, not {list(images.shape[-2:])}: set "
                "crops.per_image in its recipe"
            )
        (features,) = self.backbone(images)
        maps = features[:, :, ::STEP, ::STEP]
        scores = self.score_branch(maps)[:, None, None]
        (size,) = self.training_window_sizes
        return [ScoreMaps(self.reduce(maps), scores, None, *size, mask_layer=self.mask_layer.of_crops)]

    def slide(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        """A window centred at every position of the trunk's map."""
        (features,) = self.backbone(images)
        scores = self.score_branch.slide(features)
        (size,) = self.window_sizes
        return [ScoreMaps(self.reduce(features), scores, None, *size, mask_layer=self.mask_layer.of_windows)]
