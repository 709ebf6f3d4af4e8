from .allocator import keep_freed_memory as keep_freed_memory
from .classifier.segmenter import Segmenter as Segmenter
from .data.arrays import ArraySource as ArraySource
from .data.coco import source_to_coco as source_to_coco
from .data.images import to_rgb as to_rgb
from .data.open import open_source as open_source
from .data.source import Source as Source
from .devices import choose_device as choose_device
from .evaluation.average_recall import average_recall as average_recall
from .evaluation.evaluate import evaluate as evaluate
from .geometry.rle import Rle as Rle
from .inference.config import InferenceConfig as InferenceConfig
from .inference.proposer import Proposer as Proposer
from .objects import ObjectRule as ObjectRule
from .proposals import Proposal as Proposal
from .proposals import Proposals as Proposals
from .proposals import Segments as Segments
from .structures import Instances as Instances
from .structures import Sample as Sample
from .training.loop import train as train
from .training.recipe import Recipe as Recipe
from .training.recipe import load_recipe as load_recipe

__version__: str
