"""What a person's labels are taken for, and which files are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instancefcn.labelling.person_labels import guess_form
from labelled import coco_annotation


@pytest.mark.parametrize(
    ("annotations", "form"),
    [
        ([], "coco"),
        ([coco_annotation(1)], "coco"),
        ([coco_annotation(1, attributes={"blurred": True}), 3], "coco"),
        ([coco_annotation(1, attributes=None), coco_annotation(2, attributes={"occluded": False})], "cvat"),
    ],
)
def test_cvats_coco_is_told_by_its_attributes(tmp_path: Path, annotations: list[Any], form: str) -> None:
    """Its brush masks are instances, though they have iscrowd 1."""
    (tmp_path / "a.json").write_text(json.dumps({"images": [], "annotations": annotations, "categories": []}))
    assert guess_form(tmp_path / "a.json") == form
    assert guess_form(tmp_path) == form
