"""Counts that the data's own description gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from instancefcn.data.open import open_source
from instancefcn.data.validation import count_labels


@pytest.mark.parametrize(
    ("spec", "images", "instances", "crowds"),
    [
        ("coco:{0}/coco-mini/annotations/instances_val.json,{0}/coco-mini/val", 129, 1143, 13),
        ("partial+coco:{0}/coco-partial/annotations/instances_train.json,{0}/coco-partial/train", 149, 2488, 48),
        ("coco:{0}/animals/annotations/instances_val.json,{0}/animals/val", 207, 293, 0),
        ("labels:{0}/pennfudan/val", 35, 96, 0),
        ("labels:{0}/nuclei/val", 50, 2077, 0),
        ("voc:{0}/voc2007/VOCdevkit/VOC2007,val", 14, 29, 0),
    ],
)
def test_real_data_is_sound(shared_data: Path, spec: str, images: int, instances: int, crowds: int) -> None:
    source = open_source(spec.format(shared_data))
    report = count_labels(source)
    assert list(source.problems) == []
    assert (report.images, report.instances - report.crowds, report.crowds) == (images, instances, crowds)
    for index in (0, len(source) - 1):
        sample, labels = source[index], source.labels(index)
        assert sample.image.shape == (labels.height, labels.width, 3)
        assert all(rle["size"] == [labels.height, labels.width] for rle in sample.instances.rles)
    assert (source[0].void is not None) == spec.startswith("voc")
