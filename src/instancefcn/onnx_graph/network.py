"""The network as an ONNX graph, by torch's exporter, which traces it by ``torch.export`` (dynamo)."""

from __future__ import annotations

import copy
import warnings

import onnx_ir as ir
import torch
from jaxtyping import Float
from onnxscript import GraphBuilder
from torch import Tensor, nn

from instancefcn.model.convolutions import ShiftedConv2d
from instancefcn.model.network import Network

MOST_MULTIPLES = 1024  # of ``Network.size_multiple``, along an axis, that the exporter must allow for


class PaddedConv2d(nn.Module):
    """What ``ShiftedConv2d`` gives where sides are even, by padding the map: ONNX's Conv takes uneven paddings."""

    def __init__(self, shifted: ShiftedConv2d) -> None:
        super().__init__()
        self.front, self.behind = shifted.kernel_size[0] // 2 - 1, shifted.kernel_size[0] // 2
        self.convolution = nn.Conv2d(
            shifted.in_channels, shifted.out_channels, shifted.kernel_size[0], stride=2, groups=shifted.groups,
            device="meta",
        )  # fmt: skip
        self.convolution.weight, self.convolution.bias = shifted.weight, shifted.bias

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        return self.convolution(nn.functional.pad(x, (self.front, self.behind, self.front, self.behind)))


class _Outputs(nn.Module):
    """A network whose output is a flat list of tensors, as an exporter wants it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "1 3 h w"]) -> list[Tensor]:
        flat: list[Tensor] = []
        for maps in self.network(images):
            flat += [maps.instance, maps.objectness, *([] if maps.quality is None else [maps.quality])]
        return flat


def network_graph(network: Network, opset: int) -> ir.Graph:
    """Export a network for one image whose sides are any multiples of ``network.size_multiple``.

    Args:
        network: in evaluation mode; it stays as it is.
        opset: version of ONNX's operators.

    Returns:
        A graph with the input ``[1, 3, h, w]``, float, and, for each ScoreMaps, its instance maps, objectness, and
        quality where the network has it.
    """
    network = _for_export(network)
    multiple = network.size_multiple
    sides = {
        axis: multiple * torch.export.Dim(name, min=2, max=MOST_MULTIPLES)
        for axis, name in ((2, "rows"), (3, "columns"))
    }
    example = torch.zeros(1, 3, 4 * multiple, 5 * multiple)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own parts
        program = torch.onnx.export(
            _Outputs(network).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(sides,),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    return program.model.graph


def _for_export(network: Network) -> Network:
    """A copy on the CPU whose convolutions pad, instead of cutting off what they shift."""
    network = copy.deepcopy(network).cpu().float().eval()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ShiftedConv2d):  # the sides are even: no stride divides size_multiple by less than 2
                setattr(module, name, PaddedConv2d(child))
    return network


def insert(builder: GraphBuilder, graph: ir.Graph, prefix: str, *arguments: ir.Value) -> list[ir.Value]:
    """Add a copy of the nodes of a graph to the one that is being built; copies share the weights.

    Args:
        prefix: of the names of what the nodes of this copy give.

    Returns:
        The outputs of the copy.
    """
    known = builder.graph.initializers
    values = dict(zip(graph.inputs, arguments, strict=True))
    for name, initializer in graph.initializers.items():
        shared = f"network/{name}"
        if shared not in known:
            assert initializer.const_value is not None
            builder.initializer(initializer.const_value, shared)
        values[initializer] = known[shared]
    for node in graph:
        outputs = [ir.Value(name=f"{prefix}/{value.name}", type=value.type) for value in node.outputs]
        inputs = [None if value is None else values[value] for value in node.inputs]
        values |= dict(zip(node.outputs, outputs, strict=True))
        attributes = list(node.attributes.values())
        builder.graph.append(ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs))
    return [values[value] for value in graph.outputs]
