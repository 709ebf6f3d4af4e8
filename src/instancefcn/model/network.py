"""Networks from images to score maps: the paper's, of one stride, and one with a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.backbones import Backbone
from instancefcn.model.heads import MaskHead, PaperMaskHead, PaperScoreHead, ScoreHead, density_of_level
from instancefcn.model.pyramid import Pyramid
from instancefcn.structures import ScoreMaps, WindowSize


class Network(nn.Module):
    """Base of all networks: ``forward`` maps images to ScoreMaps, one for each window size."""

    backbone: Backbone
    size_multiple: int  # image sides must be multiples of it: the trunk's coarsest stride
    window_sizes: list[WindowSize]  # of each ScoreMaps that ``forward`` returns, in order
    training_window_sizes: list[WindowSize]  # the same in training mode

    @property
    def coarsest_stride(self) -> int:
        """Pixels from one window to the next, of the windows that lie farthest apart."""
        return max(size.stride for size in self.window_sizes)

    @property
    def largest_window(self) -> int:
        """Side of the largest windows, in pixels."""
        return max(size.side for size in self.window_sizes)

    def large_windows(self, images: Float[Tensor, "b 3 h w"], least: float) -> list[ScoreMaps]:
        """The ScoreMaps of windows of ``least`` pixels a side or more, without what they don't need."""
        return [maps for maps, size in zip(self(images), self.window_sizes, strict=True) if size.side >= least]


class InstanceFCN(Network):
    """The paper's network (Fig. 4): one trunk, two branches, one window size; scales come from an image pyramid.

    Args:
        backbone: a trunk with one feature map.
        m: window side, in positions.
    """

    def __init__(self, backbone: Backbone, mask_head: PaperMaskHead, score_head: PaperScoreHead, m: int = 21) -> None:
        super().__init__()
        assert len(backbone.strides) == 1, "the paper's network reads one map of its trunk"
        self.backbone, self.mask_head, self.score_head = backbone, mask_head, score_head
        self.size_multiple = backbone.strides[0]
        self.window_sizes = self.training_window_sizes = [WindowSize(self.size_multiple, m)]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        (features,) = self.backbone(images)
        return [ScoreMaps(self.mask_head(features), self.score_head(features)[:, 0], None, *self.window_sizes[0])]


class PyramidInstanceFCN(Network):
    """All scales in one pass: a feature pyramid, heads shared by its levels, several window sizes on each level.

    Args:
        backbone: a trunk whose first map has half the stride of the finest level; only the mask head reads that map.
        pyramid: of the trunk's other maps.
        window_sizes: m of the windows on every level, in positions.
        finest_window_sizes: m of further windows on the finest level.
    """

    def __init__(
        self,
        backbone: Backbone,
        pyramid: Pyramid,
        mask_head: MaskHead,
        score_head: ScoreHead,
        window_sizes: Sequence[int],
        finest_window_sizes: Sequence[int],
    ) -> None:
        super().__init__()
        self.backbone, self.pyramid, self.mask_head, self.score_head = backbone, pyramid, mask_head, score_head
        self.window_sizes = self.training_window_sizes = [
            WindowSize(backbone.strides[1] * 2**level, m, density_of_level(level))
            for level in range(pyramid.levels)
            for m in (*window_sizes, *(finest_window_sizes if level == 0 else ()))
        ]
        self.size_multiple = backbone.strides[-1]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[ScoreMaps]:
        return self._from_level(images, 0)

    def large_windows(self, images: Float[Tensor, "b 3 h w"], least: float) -> list[ScoreMaps]:
        strides = sorted({size.stride for size in self.window_sizes})  # of the levels
        large = [size.stride for size in self.window_sizes if size.side >= least]
        every = self._from_level(images, strides.index(min(large))) if large else []
        return [maps for maps in every if maps.m * maps.stride >= least]

    def _from_level(self, images: Float[Tensor, "b 3 h w"], first: int) -> list[ScoreMaps]:
        """The ScoreMaps of all windows on a level and on the coarser ones."""
        sizes = [size for size in self.window_sizes if size.stride >= self.backbone.strides[1] * 2**first]
        maps = self.backbone(images)
        instances: list[Tensor] = []
        scores: list[Tensor] = []
        for level, features in enumerate(self.pyramid(maps[1:], first), first):
            instances += self.mask_head(features, maps, level)
            scores += self.score_head(features, level)
        return [
            ScoreMaps(instance, score[:, 0], score[:, 1], *size)
            for instance, score, size in zip(instances, scores, sizes, strict=True)
        ]
