"""Class-agnostic instance masks: instance-sensitive fully convolutional networks (Dai et al., ECCV 2016).

>>> from instancefcn import Proposer
>>> proposer = Proposer.from_checkpoint()  # doctest: +SKIP
>>> proposals = proposer(image)  # uint8 [h, w, 3] or a PIL image  # doctest: +SKIP

Names, listed in ``__init__.pyi``, are imported when they are first used: ``import instancefcn`` waits for no torch.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("instancefcn")
