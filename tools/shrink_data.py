"""Make data sets small enough to send to another machine: photographs as WebP, those of training sets resized.

    python tools/shrink_data.py ../shared/data scratch/data --for tables

The folders keep their layout, so that commands differ in ``--data-root`` alone. Labels are scaled with the photographs.
Photographs to measure on keep their size.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from instancefcn.data.images import read_image
from instancefcn.data.segmentations import segmentation_to_rle
from instancefcn.geometry.rle import decode, encode, to_json

QUALITY = {"train": 50, "val": 65}  # WebP's
SHORTER_SIDE = 320  # pixels, at most, of photographs to train on
# Sets of each purpose, with the splits to take.
COCO_SETS = {
    "tables": {"coco-mini": ("train", "val"), "animals": ("train",)},
    # Measured at home, with the weights that come back.
    "sources": dict.fromkeys(
        ("coco-mini", "coco-partial", "animals", "coco-extra", "tabletop-rmgc", "facade"), ("train",)
    ),
}
LABEL_MAPS = {"tables": {}, "sources": {"pennfudan": ("train",)}}


def shrink_photograph(source: Path, target: Path, split: str) -> tuple[int, int]:
    """Write a photograph of a split, and return its width and height."""
    photograph = Image.fromarray(read_image(source))
    scale = min(1.0, SHORTER_SIDE / min(photograph.size)) if split == "train" else 1.0
    size = round(photograph.width * scale), round(photograph.height * scale)
    target.parent.mkdir(parents=True, exist_ok=True)
    photograph.resize(size, Image.Resampling.LANCZOS).save(target, quality=QUALITY[split], method=4)
    return size


def shrink_coco(folder: Path, out: Path, split: str) -> None:
    """Write a split's annotations and photographs."""
    annotations = Path("annotations") / f"instances_{split}.json"
    table = json.loads((folder / annotations).read_bytes())
    scales: dict[int, tuple[float, float]] = {}
    for entry in track(table["images"], f"{folder.name} {split}", transient=True):
        width, height = entry["width"], entry["height"]
        name = Path(entry["file_name"])
        size = shrink_photograph(folder / split / name, out / split / name.with_suffix(".webp"), split)
        entry["file_name"], (entry["width"], entry["height"]) = name.with_suffix(".webp").as_posix(), size
        scales[entry["id"]] = size[0] / width, size[1] / height
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in table["images"]}
    for annotation in table["annotations"]:
        if (scale := scales[annotation["image_id"]]) != (1.0, 1.0):
            scale_annotation(annotation, scale, sizes[annotation["image_id"]])
    (out / annotations).parent.mkdir(parents=True, exist_ok=True)
    (out / annotations).write_text(json.dumps(table), encoding="utf-8")


def scale_annotation(annotation: dict[str, Any], scale: tuple[float, float], size: tuple[int, int]) -> None:
    """Scale polygons or run lengths, box and area, in x and in y; ``size`` is the new height and width."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        for polygon in segmentation:
            polygon[:] = [round(value * scale[index % 2], 2) for index, value in enumerate(polygon)]
    else:
        mask = Image.fromarray(decode(segmentation_to_rle(segmentation, *segmentation["size"])).astype(np.uint8))
        resized = mask.resize((size[1], size[0]), Image.Resampling.NEAREST)
        annotation["segmentation"] = to_json(encode(np.asarray(resized, dtype=bool)))
    annotation["bbox"] = [round(value * scale[index % 2], 2) for index, value in enumerate(annotation["bbox"])]
    annotation["area"] *= scale[0] * scale[1]


def shrink_label_maps(folder: Path, out: Path, split: str) -> None:
    """Write photographs and label maps of a split."""
    for source in sorted((folder / split / "images").iterdir()):
        size = shrink_photograph(source, (out / split / "images" / source.name).with_suffix(".webp"), split)
        for path in (folder / split / "masks").glob(f"{source.stem}.*"):
            target = out / split / "masks" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as label_map:
                label_map.resize(size, Image.Resampling.NEAREST).save(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--for", dest="purpose", choices=list(COCO_SETS), required=True, help="jobs of the queue")
    arguments = parser.parse_args()

    for shrink, sets in ((shrink_coco, COCO_SETS), (shrink_label_maps, LABEL_MAPS)):
        for name, splits in sets[arguments.purpose].items():
            for split in splits:
                shrink(arguments.data / name, arguments.out / name, split)
    shutil.copytree(arguments.data / "voc2007", arguments.out / "voc2007", dirs_exist_ok=True)
    total = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {total / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
