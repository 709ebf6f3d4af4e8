"""Class-agnostic instance masks: instance-sensitive fully convolutional networks (Dai et al., ECCV 2016).

>>> from instancefcn import Proposer
>>> proposer = Proposer.from_checkpoint()  # doctest: +SKIP
>>> proposals = proposer(image)  # uint8 [h, w, 3] or a PIL image  # doctest: +SKIP

Names are imported when they are first used, so that ``import instancefcn`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instancefcn.allocator import keep_freed_memory
    from instancefcn.classifier.segmenter import Segmenter
    from instancefcn.data import Source, open_source, source_to_coco
    from instancefcn.evaluation.evaluate import evaluate
    from instancefcn.geometry.rle import Rle
    from instancefcn.inference.config import InferenceConfig
    from instancefcn.inference.export import to_coco_results, to_label_map
    from instancefcn.inference.proposer import Proposer
    from instancefcn.structures import Instances, Proposals, Sample, ScoreMaps, Segments
    from instancefcn.training.loop import train
    from instancefcn.training.recipe import Recipe, load_recipe
    from instancefcn.viz.overlays import draw_proposals

    __version__: str

__all__ = [
    "InferenceConfig",
    "Instances",
    "Proposals",
    "Proposer",
    "Recipe",
    "Rle",
    "Sample",
    "ScoreMaps",
    "Segmenter",
    "Segments",
    "Source",
    "__version__",
    "draw_proposals",
    "evaluate",
    "keep_freed_memory",
    "load_recipe",
    "open_source",
    "source_to_coco",
    "to_coco_results",
    "to_label_map",
    "train",
]

_HOMES = {
    "instancefcn.allocator": ("keep_freed_memory",),
    "instancefcn.classifier.segmenter": ("Segmenter",),
    "instancefcn.data": ("Source", "open_source", "source_to_coco"),
    "instancefcn.evaluation.evaluate": ("evaluate",),
    "instancefcn.geometry.rle": ("Rle",),
    "instancefcn.inference.export": ("to_coco_results", "to_label_map"),
    "instancefcn.inference.config": ("InferenceConfig",),
    "instancefcn.inference.proposer": ("Proposer",),
    "instancefcn.structures": ("Instances", "Proposals", "Sample", "ScoreMaps", "Segments"),
    "instancefcn.training.loop": ("train",),
    "instancefcn.training.recipe": ("Recipe", "load_recipe"),
    "instancefcn.viz.overlays": ("draw_proposals",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("instancefcn")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'instancefcn' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # so that the next use finds it at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
