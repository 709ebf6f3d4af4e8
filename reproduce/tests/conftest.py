"""Trees like the real data sets, of a few synthetic scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

from instancefcn.data.coco import source_to_coco
from instancefcn.geometry.rle import decode
from synthetic import SyntheticScenes

SMALL = ("network.channels=16",)  # changes of every recipe: networks that are built and written sooner


def write_scenes(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    """Images as JPEG, by COCO's names; their label maps."""
    folder.mkdir(parents=True)
    maps = []
    for labels, sample in zip((source := SyntheticScenes(count, height=96, width=128, seed=seed)), source, strict=True):
        Image.fromarray(sample.image).save(folder / sample.file_name.replace("png", "jpg"))
        label_map = np.zeros(sample.image.shape[:2], dtype=np.uint8)
        for value, rle in enumerate(labels.instances.rles, start=1):
            label_map[decode(rle)] = value
        maps.append(label_map)
    return maps


def write_coco_scenes(root: Path, annotations: Path, images: Path, count: int, seed: int) -> None:
    write_scenes(root / images, count, seed)
    coco = source_to_coco(SyntheticScenes(count, height=96, width=128, seed=seed))
    for image in coco["images"]:
        image["file_name"] = image["file_name"].replace("png", "jpg")
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / annotations).write_text(json.dumps(coco))


@pytest.fixture
def mini_tree(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name, split, seed in (
        *(("coco-mini", "train", 0), ("coco-mini", "val", 1), ("animals", "train", 2), ("animals", "val", 4)),
    ):
        write_coco_scenes(root, Path(name) / f"annotations/instances_{split}.json", Path(name) / split, 3, seed)
    voc = root / "voc2007/VOCdevkit/VOC2007"
    maps = write_scenes(voc / "JPEGImages", 2, 3)
    for folder in ("SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for index, label_map in enumerate(maps, start=1):
        Image.fromarray(label_map).save(voc / f"SegmentationObject/{index:06d}.png")
        Image.fromarray((label_map > 0).astype(np.uint8)).save(voc / f"SegmentationClass/{index:06d}.png")
    (voc / "ImageSets/Segmentation/val.txt").write_text("000001\n000002\n")
    return root


@pytest.fixture
def paper_tree(tmp_path: Path) -> Path:
    """VOC 2012's lists, and SBD, which splits the same images otherwise."""
    root = tmp_path / "data"
    sbd, lists = root / "benchmark_RELEASE/dataset", root / "VOCdevkit/VOC2012/ImageSets/Main"
    maps = write_scenes(sbd / "img", 4, 0)
    for name, struct in (("inst", "GTinst"), ("cls", "GTcls")):
        (sbd / name).mkdir()
        for index, label_map in enumerate(maps, start=1):
            segmentation = label_map if name == "inst" else (label_map > 0).astype(np.uint8)
            scipy_io.savemat(sbd / name / f"{index:06d}.mat", {struct: {"Segmentation": segmentation}})
    lists.mkdir(parents=True)
    for folder, split, stems in (
        (sbd, "train", (1, 2, 3)),
        (sbd, "val", (4,)),
        (lists, "train", (1, 4)),
        (lists, "val", (2, 3, 9)),  # SBD does not have all of VOC
    ):
        (folder / f"{split}.txt").write_text("".join(f"{stem:06d}\n" for stem in stems))
    return root
