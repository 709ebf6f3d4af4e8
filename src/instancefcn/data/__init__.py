"""Labelled images: one loader per format, all yielding the same samples, and what turns them into training images."""

from __future__ import annotations

from instancefcn.data.coco import source_to_coco
from instancefcn.data.images import image_extensions, inspect_image, read_image, read_label_map
from instancefcn.data.open import open_source
from instancefcn.data.source import Labels, Problem, Source
from instancefcn.data.validation import Report, validate

__all__ = [
    "Labels",
    "Problem",
    "Report",
    "Source",
    "image_extensions",
    "inspect_image",
    "open_source",
    "read_image",
    "read_label_map",
    "source_to_coco",
    "validate",
]
