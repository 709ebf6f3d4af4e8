"""Make training data small enough to send to another machine: photographs as WebP, large ones resized.

    python tools/shrink_data.py ../shared/data shrunk

These are the four sets that the shipped checkpoint is trained on (52 MB). Boxes and polygons are scaled with the
photographs; a set with run-length masks keeps its size.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from instancefcn.data.images import read_image


@dataclass(frozen=True)
class CocoSet:
    """How a set in COCO's format is written."""

    name: str
    quality: int  # WebP's
    shorter_side: int | None = None  # pixels, at most; only where all masks are polygons


COCO_SETS = (CocoSet("coco-mini", 80), CocoSet("coco-partial", 76), CocoSet("animals", 64, shorter_side=432))
LABEL_MAPS, QUALITY = "pennfudan", 82


def shrink_coco(chosen: CocoSet, data: Path, out: Path) -> None:
    """Write ``NAME/train.json`` and ``NAME/train``."""
    table = json.loads((data / chosen.name / "annotations" / "instances_train.json").read_bytes())
    scales: dict[int, tuple[float, float]] = {}
    for entry in table["images"]:
        width, height = entry["width"], entry["height"]
        scale = min(1.0, chosen.shorter_side / min(width, height)) if chosen.shorter_side else 1.0
        size = round(width * scale), round(height * scale)
        name = Path(entry["file_name"])
        photograph = Image.fromarray(read_image(data / chosen.name / "train" / name, (height, width)))
        write_webp(
            photograph.resize(size, Image.Resampling.LANCZOS), out / chosen.name / "train" / name, chosen.quality
        )
        entry["file_name"], (entry["width"], entry["height"]) = name.with_suffix(".webp").as_posix(), size
        scales[entry["id"]] = size[0] / width, size[1] / height
    for annotation in table["annotations"]:
        if (scale := scales[annotation["image_id"]]) != (1.0, 1.0):
            scale_annotation(annotation, scale)
    (out / chosen.name / "train.json").write_text(json.dumps(table), encoding="utf-8")


def scale_annotation(annotation: dict[str, Any], scale: tuple[float, float]) -> None:
    """Scale polygons, box and area, in x and in y."""
    assert isinstance(annotation["segmentation"], list), "run lengths keep their size: leave shorter_side out"
    for polygon in annotation["segmentation"]:
        polygon[:] = [round(value * scale[index % 2], 2) for index, value in enumerate(polygon)]
    annotation["bbox"] = [round(value * scale[index % 2], 2) for index, value in enumerate(annotation["bbox"])]
    annotation["area"] *= scale[0] * scale[1]


def write_webp(photograph: Image.Image, path: Path, quality: int) -> None:
    """Write a photograph with the suffix .webp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph.save(path.with_suffix(".webp"), quality=quality, method=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()

    for chosen in COCO_SETS:
        shrink_coco(chosen, arguments.data, arguments.out)
    train = arguments.data / LABEL_MAPS / "train"
    for source in sorted((train / "images").iterdir()):
        target = arguments.out / LABEL_MAPS / "train" / "images" / source.name
        write_webp(Image.fromarray(read_image(source)), target, QUALITY)
    shutil.copytree(train / "masks", arguments.out / LABEL_MAPS / "train" / "masks", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
