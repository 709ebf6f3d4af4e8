"""The network run by OpenVINO, in the place of torch's: all else of a ``Proposer`` stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from instancefcn.model.network import Network
from instancefcn.structures import ScoreMaps


class Maps(nn.Module):
    """A network whose outputs are plain tensors: instance maps, objectness, quality of each window size."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        return [one for maps in self.network(images) for one in (maps.instance, maps.objectness, maps.quality)]


def export_network(network: Network, shape: Sequence[int], path: Path) -> None:
    """Write the network as ONNX, for images of one shape."""
    program = torch.onnx.export(
        Maps(network).eval(), (torch.zeros(*shape),), dynamo=True, opset_version=18, verbose=False
    )
    assert program is not None
    program.save(str(path))


class OpenvinoNetwork(Network):
    """Compiled anew for each shape of images, in fp32."""

    def __init__(self, network: Network, threads: int) -> None:
        super().__init__()
        self.network, self.threads, self.compiled = network, threads, dict[tuple[int, ...], Any]()
        self.size_multiple, self.window_sizes = network.size_multiple, network.window_sizes
        self.training_window_sizes = network.training_window_sizes

    def forward(self, images: Tensor) -> list[ScoreMaps]:
        shape = tuple(images.shape)
        if shape not in self.compiled:
            self.compiled[shape] = self._compile(shape)
        made = self.compiled[shape].infer([images.contiguous().numpy()], share_inputs=True, share_outputs=True)
        tensors = [torch.from_numpy(made[index]) for index in range(len(made))]
        return [
            ScoreMaps(instance, objectness, quality, *size)
            for instance, objectness, quality, size in zip(
                tensors[0::3], tensors[1::3], tensors[2::3], self.window_sizes, strict=True
            )
        ]

    def _compile(self, shape: Sequence[int]) -> Any:
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": self.threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
        with TemporaryDirectory() as folder:
            export_network(self.network, shape, Path(folder) / "network.onnx")
            model = core.read_model(f"{folder}/network.onnx")
            return core.compile_model(model, "CPU", settings).create_infer_request()
