"""The networks: the paper's, at one stride, and one with a feature pyramid. Both map images to score maps."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.backbones import Backbone
from instancefcn.model.heads import MaskHead, PaperMaskHead, PaperScoreHead, ScoreHead
from instancefcn.model.pyramid import Pyramid
from instancefcn.structures import ScoreMaps, WindowSize


class Network(nn.Module):
    """What training and proposing ask of a network: ``forward`` maps images to ScoreMaps, one for each window size."""

    backbone: Backbone
    size_multiple: int  # the sides of images must be multiples of it

    @property
    def window_sizes(self) -> list[WindowSize]:
        """Of each ScoreMaps that ``forward`` gives, in order."""
        raise NotImplementedError

    @property
    def training_window_sizes(self) -> list[WindowSize]:
        """The same in training, where they may differ."""
        return self.window_sizes


class InstanceFCN(Network):
    """The paper's network (Fig. 4): one trunk, two branches, one window size; scales come from an image pyramid."""

    def __init__(self, backbone: Backbone, k: int = 5, m: int = 21, channels: int = 512) -> None:
        super().__init__()
        assert len(backbone.strides) == 1, "the paper's network reads one map of its trunk"
        self.backbone = backbone
        self.mask_head = PaperMaskHead(backbone.channels[0], k, channels)
        self.score_head = PaperScoreHead(backbone.channels[0], channels)
        self.m = m
        self.size_multiple = backbone.strides[0]

    @property
    def window_sizes(self) -> list[WindowSize]:
        return [WindowSize(self.backbone.strides[0], self.m)]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        (features,) = self.backbone(images)
        instance = self.mask_head(features)
        objectness = self.score_head(features)[:, 0]
        (size,) = self.window_sizes
        return [ScoreMaps(instance, objectness, None, *size)]


class PyramidInstanceFCN(Network):
    """Every scale in one pass: a feature pyramid, heads shared by its levels, several window sizes on each.

    Args:
        channels: of the pyramid and the heads.
        k: relative positions along one side of a window.
        density: cells of the instance-sensitive maps per position.
        detail: outlines come from the trunk's map of half a level's stride; the first map has no level of its own.
        fine_from_stride: with detail, levels of this stride and coarser ones have outlines from the map of a quarter of
            their stride too, and twice the density; 0 for none.
        window_sizes: m of the windows on every level, in positions.
        finest_window_sizes: m of further windows on the finest level.
        extra_levels: levels above the trunk's last map, each of twice the stride; at most 1 with detail.
        blocks: residual blocks of each level of the pyramid but the finest.
        finest_blocks: of the finest.
        coarse_logits: score maps of the level alone, enlarged, are added to the finer ones.
        head_layers: convolutions of a level in each head before it predicts.
    """

    def __init__(
        self,
        backbone: Backbone,
        channels: int = 96,
        k: int = 5,
        density: int = 2,
        detail: bool = False,
        fine_from_stride: int = 0,
        window_sizes: Sequence[int] = (21, 30),
        finest_window_sizes: Sequence[int] = (11, 15),
        extra_levels: int = 0,
        blocks: int = 0,
        finest_blocks: int = 0,
        coarse_logits: bool = False,
        head_layers: int = 2,
    ) -> None:
        super().__init__()
        assert not detail or density == 2, "the map before a level has twice its density"
        assert not 0 < fine_from_stride < 8, "no map has a quarter of that stride"
        self.backbone = backbone
        # With detail, the trunk's first map is for outlines alone, and each level has the map before its own.
        self.first = 1 if detail else 0
        trunk_strides, trunk_channels = backbone.strides[self.first :], backbone.channels[self.first :]
        self.strides = [*trunk_strides, *(trunk_strides[-1] * 2 ** (i + 1) for i in range(extra_levels))]
        self.pyramid = Pyramid(trunk_channels, channels, extra_levels, blocks=blocks, finest_blocks=finest_blocks)
        # Of each level, the maps that its outlines come from: of half the stride, and of a quarter.
        self.details_of_level = [
            [level, level - 1][: 2 if 0 < fine_from_stride <= stride else 1] if detail else []
            for level, stride in enumerate(self.strides)
        ]
        half_channels = [backbone.channels[maps[0]] for maps in self.details_of_level if maps]
        quarter_channels = [backbone.channels[maps[1]] for maps in self.details_of_level if len(maps) == 2]
        self.mask_head = MaskHead(
            channels,
            half_channels,
            quarter_channels,
            k,
            density,
            window_sizes,
            finest_window_sizes,
            coarse_logits,
            head_layers,
        )
        self.score_head = ScoreHead(channels, window_sizes, finest_window_sizes, head_layers)
        self.sizes_of_level = [
            [
                WindowSize(stride, m, 2 ** len(maps) if detail else density)
                for m in (*window_sizes, *(finest_window_sizes if level == 0 else ()))
            ]
            for level, (stride, maps) in enumerate(zip(self.strides, self.details_of_level, strict=True))
        ]
        self.size_multiple = self.strides[-1]

    @property
    def window_sizes(self) -> list[WindowSize]:
        return [size for sizes in self.sizes_of_level for size in sizes]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        maps = self.backbone(images)
        levels = self.pyramid(maps[self.first :])
        score_maps: list[ScoreMaps] = []
        for level, (x, sizes) in enumerate(zip(levels, self.sizes_of_level, strict=True)):
            details = [maps[index] for index in self.details_of_level[level]]
            instances = self.mask_head(x, details, level - len(levels), finest=level == 0)
            scores = self.score_head(x, finest=level == 0)
            for size, instance, score in zip(sizes, instances, scores, strict=True):
                score_maps.append(ScoreMaps(instance, score[:, 0], score[:, 1], *size))
        return score_maps
