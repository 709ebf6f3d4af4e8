"""Labelled images: one loader per format, all yielding the same samples, and what turns them into training images."""

from __future__ import annotations

from instancefcn.data.coco_export import to_coco
from instancefcn.data.images import read_image
from instancefcn.data.problems import Problem
from instancefcn.data.source import Labels, Source, open_source

__all__ = ["Labels", "Problem", "Source", "open_source", "read_image", "to_coco"]
