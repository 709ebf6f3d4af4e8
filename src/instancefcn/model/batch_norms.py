"""Batch norms of a pretrained trunk: folded into its convolutions, or frozen."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place: its statistics and affine are frozen.

    Relies on timm and torchvision declaring a norm right after its convolution. An activation inside a norm layer of
    timm takes the place of the norm.
    """
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                if conv.weight.is_meta:  # nothing to compute: a folded convolution has a bias
                    conv.bias = norm.bias
                else:
                    conv.weight, conv.bias = fuse_conv_bn_weights(
                        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                    )
                setattr(parent, name, getattr(norm, "act", nn.Identity()))


def freeze_batch_norms(module: nn.Module) -> None:
    """Keep running statistics and affine of batch norms fixed; call it again after every ``train()``."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
            norm.requires_grad_(False)
