"""Seconds and memory to open a COCO file as large as COCO's own training set, twice.

    python benchmarks/large_coco.py --data ../shared/data/coco-mini --out /tmp/large-coco

Its images are links to those of coco-mini, each under many names, and its polygons are coco-mini's. The second opening
finds what the first one kept (``INSTANCEFCN_CACHE`` says where). The folder stays, for another run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CODE = """
import os, resource, sys, time
started = time.perf_counter()
from instancefcn.data.open import open_source
imported, busy = time.perf_counter(), time.process_time()
packages = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
source = open_source(sys.argv[1])
opened, cores = time.perf_counter(), time.process_time() - busy
instances = sum(len(source.labels(index).instances) for index in range(len(source)))
counted = time.perf_counter()
from instancefcn.training.fingerprint import Fingerprint
from instancefcn.training.keeping_out import divide
from instancefcn.training.learnable import check_learnable
check_learnable([source])
images = divide([source], [], 0)
Fingerprint.of(images.training, images.validation)
started_training = time.perf_counter()
with open("/proc/self/status") as status:
    held = next(int(line.split()[1]) / 1e6 for line in status if line.startswith("VmRSS"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{len(source)} images, {instances} instances, {len(source.problems)} problems, {len(source.notes)} notes")
print(f"  opened in {opened - imported:.1f} s ({cores:.1f} s of cores), all gone through in {counted - opened:.1f} s; "
      f"what a training looks at first takes {started_training - counted:.1f} s; "
      f"{held:.2f} GB held, {peak:.2f} GB at most, "
      f"{packages:.2f} GB before; {os.getloadavg()[0]:.1f} processes want to run")
"""


def write(data: Path, out: Path, image_count: int, annotation_count: int) -> None:
    """Write a COCO file and link its images."""
    table = json.loads((data / "annotations" / "instances_train.json").read_text())
    (out / "originals").mkdir(parents=True)
    (out / "images").mkdir()
    annotations_of: dict[int, list[dict[str, object]]] = {image["id"]: [] for image in table["images"]}
    for annotation in table["annotations"]:
        annotations_of[annotation["image_id"]].append(annotation)
    for image in table["images"]:
        shutil.copy(data / "train" / image["file_name"], out / "originals" / image["file_name"])
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    whole = list(table["images"])
    for index in range(image_count):
        image = whole[index % len(whole)]
        name = f"{index:012}.jpg"
        os.link(out / "originals" / image["file_name"], out / "images" / name)
        images.append(image | {"id": index + 1, "file_name": name})
        own = annotations_of[image["id"]]
        wanted = annotation_count * (index + 1) // image_count - len(annotations)
        annotations += [
            own[number % len(own)] | {"id": len(annotations) + number + 1, "image_id": index + 1}
            for number in range(wanted if own else 0)
        ]
    content = {"images": images, "annotations": annotations, "categories": table["categories"]}
    (out / "instances.json").write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/coco-mini"))
    parser.add_argument("--out", type=Path, required=True, help="folder, made where there is none")
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--annotations", type=int, default=860_000)
    arguments = parser.parse_args()
    out = arguments.out
    if not (out / "instances.json").exists():
        write(arguments.data, out, arguments.images, arguments.annotations)
    print(f"{(out / 'instances.json').stat().st_size / 1e6:.0f} MB of JSON")
    environment = os.environ | {"INSTANCEFCN_CACHE": str(out / "cache")}
    shutil.rmtree(out / "cache", ignore_errors=True)
    for _ in range(2):
        started = time.perf_counter()
        command = [sys.executable, "-c", CODE, f"coco:{out / 'instances.json'},{out / 'images'}"]
        subprocess.run(command, check=True, env=environment)
        print(f"  the whole process: {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
