"""From the pixels of an image to the network's input, in the graph; as ``data.resizing``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnxscript import OpBuilder

from instancefcn.data.resizing import PADDING_VALUE


@dataclass(frozen=True)
class Size:
    """Height and width, in pixels, as int64 tensors of one element."""

    height: ir.Value
    width: ir.Value

    @classmethod
    def of(cls, op: OpBuilder, pixels: ir.Value) -> Size:
        """The size of an image [h, w, 3]."""
        return cls(op.Shape(pixels, start=0, end=1), op.Shape(pixels, start=1, end=2))

    @property
    def sides(self) -> tuple[ir.Value, ir.Value]:
        """Both."""
        return self.height, self.width


def resized_size(op: OpBuilder, size: Size, shorter_side: float, longest_side: float, factor: bool = False) -> Size:
    """As ``data.resizing.resized_size``, in double precision as there.

    Args:
        factor: ``shorter_side`` is a factor of the image's own shorter side.
    """
    height, width = (op.Cast(side, to=ir.DataType.DOUBLE) for side in size.sides)
    shorter = op.Min(height, width)
    wanted, longest = (op.Constant(value=ir.tensor(np.array([side]))) for side in (shorter_side, longest_side))
    wanted = op.Mul(shorter, wanted) if factor else wanted
    scale = op.Min(op.Div(wanted, shorter), op.Div(longest, op.Max(height, width)))
    rounded = (op.Cast(op.Round(op.Mul(side, scale)), to=ir.DataType.INT64) for side in (height, width))
    return Size(*(op.Max(side, [1]) for side in rounded))


def network_input(op: OpBuilder, pixels: ir.Value, size: Size, multiple: int) -> ir.Value:
    """As ``data.resizing.network_input``: an image [h, w, 3] of 8 bits becomes [1, 3, _, _], float.

    It is resized with antialiasing, as Pillow does it, and padded to multiples of ``multiple``.
    """
    images = op.Unsqueeze(op.Transpose(pixels, perm=[2, 0, 1]), [0])
    shape = op.Concat([1, 3], *size.sides, axis=0)
    resized = op.Resize(
        images, None, None, shape, mode="linear", antialias=1, coordinate_transformation_mode="half_pixel"
    )
    missing = (op.Mod(op.Neg(side), [multiple]) for side in size.sides)  # the sign is the divisor's
    pads = op.Concat([0, 0, 0, 0, 0, 0], *missing, axis=0)
    return op.Pad(op.Cast(resized, to=ir.DataType.FLOAT), pads, float(PADDING_VALUE))
