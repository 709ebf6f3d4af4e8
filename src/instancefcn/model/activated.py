"""A convolution with its activation in one pass over the map; by themselves, activations take a tenth of the time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.convolutions import ShiftedConv2d

# oneDNN's name of each activation, and its limits, as torch's own compiler gives them to the operator below.
_NAMES: dict[type[nn.Module], tuple[str, list[float]]] = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0])}


def activated(
    convolution: nn.Module, activation: nn.Module, input: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b _ _ _"]:
    """``activation(convolution(input))``, bit for bit, but for rounding on maps of a few positions.

    On a CPU and without gradients, oneDNN applies a ReLU or ReLU6 to each output while it is in the cache. The two
    modules are not called then, so their hooks are not either.
    """
    name = _NAMES.get(type(activation))
    if name is None or not isinstance(convolution, nn.Conv2d) or not _is_for_onednn(input):
        return activation(convolution(input))
    padding, (top, left) = convolution.padding, (0, 0)
    if isinstance(convolution, ShiftedConv2d):
        padding, (top, left) = convolution.placed(input)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    output = torch.ops.mkldnn._convolution_pointwise(
        input.to(dtype), convolution.weight.to(dtype), None if convolution.bias is None else convolution.bias.to(dtype),
        padding, convolution.stride, convolution.dilation, convolution.groups, *name, "",
    )  # fmt: skip
    return output[..., top:, left:]


def _is_for_onednn(input: Tensor) -> bool:
    """Whether torch's operator for oneDNN, which no public function calls, is there and may be called."""
    return (
        input.device.type == "cpu"
        and input.dtype in (torch.float32, torch.bfloat16)
        and not torch.is_grad_enabled()  # it has no gradient
        and not torch.compiler.is_exporting()  # ONNX does not know it
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )
