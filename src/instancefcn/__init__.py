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
    from instancefcn.data.coco import source_to_coco
    from instancefcn.data.open import open_source
    from instancefcn.data.source import Source
    from instancefcn.devices import choose_device
    from instancefcn.evaluation.average_recall import average_recall
    from instancefcn.evaluation.evaluate import evaluate
    from instancefcn.geometry.rle import Rle
    from instancefcn.inference.config import InferenceConfig
    from instancefcn.inference.proposer import Proposer
    from instancefcn.proposals import Proposal, Proposals, Segments
    from instancefcn.structures import Instances, Sample
    from instancefcn.training.loop import train
    from instancefcn.training.recipe import Recipe, load_recipe

    __version__: str

__all__ = [
    "InferenceConfig",
    "Instances",
    "Proposal",
    "Proposals",
    "Proposer",
    "Recipe",
    "Rle",
    "Sample",
    "Segmenter",
    "Segments",
    "Source",
    "__version__",
    "average_recall",
    "choose_device",
    "evaluate",
    "keep_freed_memory",
    "load_recipe",
    "open_source",
    "source_to_coco",
    "train",
]

_HOMES = {
    "instancefcn.allocator": ("keep_freed_memory",),
    "instancefcn.classifier.segmenter": ("Segmenter",),
    "instancefcn.data.coco": ("source_to_coco",),
    "instancefcn.data.open": ("open_source",),
    "instancefcn.data.source": ("Source",),
    "instancefcn.devices": ("choose_device",),
    "instancefcn.evaluation.average_recall": ("average_recall",),
    "instancefcn.evaluation.evaluate": ("evaluate",),
    "instancefcn.geometry.rle": ("Rle",),
    "instancefcn.inference.config": ("InferenceConfig",),
    "instancefcn.inference.proposer": ("Proposer",),
    "instancefcn.proposals": ("Proposal", "Proposals", "Segments"),
    "instancefcn.structures": ("Instances", "Sample"),
    "instancefcn.training.loop": ("train",),
    "instancefcn.training.recipe": ("Recipe", "load_recipe"),
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
