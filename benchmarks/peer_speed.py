"""Seconds of a photograph, ours beside peers, each in turn on the same photographs: JSON and a chart.

    python benchmarks/peer_speed.py --out bench
    python benchmarks/peer_speed.py --out bench --repeats 1 --ways fp32 onnx

The photographs are those of `make bench`, 640 x 480. torchvision's Mask R-CNN R50-FPN has random weights, and so gives
its 100 boxes, and masks in them, of any photograph: what it finds is nothing, what it takes is the same.

How near the network is to the machine's limits is measured in the same run: its operations (torch's counter) beside
those a second of a product of 2,048 x 2,048 matrices, and the bytes that its layers read and write beside those of a
copy.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from instancefcn.allocator import keep_freed_memory
from instancefcn.data.images import read_image
from instancefcn.evaluation.curves import empty_figure, render, style
from instancefcn.inference.proposer import Proposer
from instancefcn.runtime import OnnxProposer
from openvino_network import OpenvinoNetwork
from speed import MAX_PROPOSALS, photographs, selective_search, skimage_folder

Way = Callable[[Path], Any]
WAYS = ("fp32", "auto", "openvino", "onnx", "selective search, fast", "selective search, quality", "Mask R-CNN R50-FPN")
ONNX_PROPOSALS = 100
MATRIX_SIDE = 2048
COPIED = 2**26  # numbers, far more than the caches hold


def ways(scratch: Path, wanted: list[str]) -> dict[str, Way]:
    """A call of each way that is wanted, from a file to its masks or boxes."""
    made: dict[str, Way] = {}
    for precision in ("fp32", "auto"):
        if precision in wanted:
            proposer = Proposer.from_checkpoint(precision=precision)
            name = precision if precision == "fp32" else f"auto ({proposer.precision} here)"
            made[name] = lambda path, by=proposer: by(path, max_proposals=MAX_PROPOSALS)
    if "openvino" in wanted:
        fp32 = Proposer.from_checkpoint(device="cpu")
        fp32.network = OpenvinoNetwork(fp32.network, torch.get_num_threads())
        made["network by OpenVINO"] = lambda path: fp32(path, max_proposals=MAX_PROPOSALS)
    if "onnx" in wanted:
        export = ["export", str(scratch / "lite.onnx"), "--max-proposals", str(ONNX_PROPOSALS)]
        subprocess.run([sys.executable, "-m", "instancefcn", *export], check=True)
        made["onnx"] = OnnxProposer(scratch / "lite.onnx", threads=torch.get_num_threads())
    for mode in ("fast", "quality"):
        if f"selective search, {mode}" in wanted:
            made[f"selective search, {mode}"] = lambda path, mode=mode: selective_search(path, mode)
    if "Mask R-CNN R50-FPN" in wanted:
        made["Mask R-CNN R50-FPN"] = mask_rcnn()
    return made


def mask_rcnn() -> Way:
    """torchvision's, with its own settings but for the least score, below which it would leave the masks out."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    from torchvision.transforms.functional import to_tensor

    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0).eval()

    @torch.inference_mode()
    def detect(path: Path) -> Any:
        return network([to_tensor(read_image(path))])

    return detect


def limits() -> dict[str, float]:
    """What the network does for 480 x 640 and in how many seconds, and what the machine does; the best of five each."""
    network = Proposer.from_checkpoint().network
    pixels = torch.zeros(1, 3, 512, 640).to(memory_format=torch.channels_last)  # 480 rows are padded to 512
    left = right = torch.zeros(MATRIX_SIDE, MATRIX_SIDE)
    numbers = torch.zeros(COPIED)
    copy = torch.empty_like(numbers)
    moved = bytes_of_layers(network, pixels)  # with gradients, for which each layer is called by itself
    with FlopCounterMode(display=False) as counter:
        network(pixels)
    with torch.inference_mode():
        seconds = least_seconds(lambda: network(pixels))
        peak = 2 * MATRIX_SIDE**3 / least_seconds(lambda: left @ right)
        bandwidth = 2 * 4 * COPIED / least_seconds(lambda: copy.copy_(numbers))
    operations = counter.get_total_flops()
    return {
        "seconds": seconds,
        "GFLOP": operations / 1e9,
        "GFLOP/s of matrices": peak / 1e9,
        "share of seconds at that peak": operations / peak / seconds,
        "GB read and written": moved / 1e9,
        "GB/s of a copy": bandwidth / 1e9,
        "share of seconds at that bandwidth": moved / bandwidth / seconds,
    }


def bytes_of_layers(network: nn.Module, pixels: Tensor) -> int:
    """Those of what each layer takes and gives, as if nothing stayed in a cache; activations are part of a layer."""
    moved = 0

    def add(_: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        nonlocal moved
        moved += sum(one.nbytes for one in (*given, made) if isinstance(one, Tensor))

    uncounted = nn.Identity | nn.ReLU | nn.ReLU6
    layers = [module for module in network.modules() if not [*module.children()] and not isinstance(module, uncounted)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    network(pixels)
    for hook in hooks:
        hook.remove()
    return moved


def least_seconds(call: Callable[[], Any]) -> float:
    """Of five calls, after one that warms up."""
    call()
    taken: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken)


def draw(seconds: dict[str, float]) -> bytes:
    """A bar for each way."""
    figure = empty_figure(8, 0.6 + 0.5 * len(seconds))
    axes = figure.subplots()
    style(axes, "One photograph of 640 x 480, from file to masks or boxes", "seconds (median)", "")
    names = list(reversed(seconds))
    bars = axes.barh(names, [seconds[name] for name in names], color="#2a6fb0")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    return render(figure, "png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of bench.json and bench.png")
    parser.add_argument("--repeats", type=int, default=2, help="rounds after one that warms up")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        paths = photographs(skimage_folder(scratch), scratch, limit=4)
        calls = ways(scratch, options.ways)
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for repeat in range(options.repeats + 1):
            for path in paths:
                for name, call in calls.items():
                    started = time.perf_counter()
                    call(path)
                    if repeat:
                        taken[name].append(time.perf_counter() - started)
            print(f"round {repeat} of {options.repeats}", flush=True)
    seconds = {name: statistics.median(of) for name, of in taken.items()}
    found = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "seconds": seconds,
        "network": limits(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.out / "bench.png").write_bytes(draw(seconds))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
