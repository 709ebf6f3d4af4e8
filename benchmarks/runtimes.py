"""The network alone in torch, ONNX Runtime and OpenVINO, each in a process of its own: seconds of one 640 x 480 image.

    python benchmarks/runtimes.py
    python benchmarks/runtimes.py --openvino /tmp/openvino/bin/python    # of an environment with openvino and numpy

The network of the shipped checkpoint is exported once; the others read that file. Median and least of 15 calls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from instancefcn.inference.proposer import Proposer
from openvino_network import export_network

HEIGHT, WIDTH = 512, 640  # 480 rows are padded to 512
TIMED = """
import sys, time
def timed(call):
    for _ in range(4):
        call()
    seconds = []
    for _ in range(15):
        before = time.perf_counter(), time.process_time()
        call()
        seconds.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    wall, processor = (sorted(1000 * one for one in of) for of in zip(*seconds))
    print(f"{wall[7]:.0f} ms (least {wall[0]:.0f}), processor {processor[7]:.0f} ms")
threads = int(sys.argv[1])
"""
WAYS = {
    "torch": """
import torch
from instancefcn import Proposer, keep_freed_memory
keep_freed_memory()
torch.set_num_threads(threads)
network = Proposer.from_checkpoint(device="cpu").network
pixels = torch.zeros(1, 3, 512, 640).to(memory_format=torch.channels_last)
with torch.inference_mode():
    timed(lambda: network(pixels))
""",
    "onnxruntime": """
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession("network.onnx", options, providers=["CPUExecutionProvider"])
pixels = numpy.zeros((1, 3, 512, 640), dtype=numpy.float32)
timed(lambda: session.run(None, {session.get_inputs()[0].name: pixels}))
""",
    "openvino": """
import numpy, openvino
core = openvino.Core()
settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
request = core.compile_model(core.read_model("network.onnx"), "CPU", settings).create_infer_request()
pixels = numpy.zeros((1, 3, 512, 640), dtype=numpy.float32)
timed(lambda: request.infer([pixels]))
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--openvino", type=Path, help="python of an environment that has openvino")
    options = parser.parse_args()
    interpreters = {"torch": sys.executable, "onnxruntime": sys.executable}
    if options.openvino is not None:
        interpreters["openvino"] = str(options.openvino)
    with TemporaryDirectory() as folder:
        network = Proposer.from_checkpoint(device="cpu").network
        export_network(network, (1, 3, HEIGHT, WIDTH), Path(folder) / "network.onnx")
        for threads in options.threads:
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "10000"}
            for name, interpreter in interpreters.items():
                command = [interpreter, "-c", TIMED + WAYS[name], str(threads)]
                done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
                print(f"{name}, {threads} threads: {done.stdout.splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
