"""Crowd masks that may well be single objects: CVAT, among others, marks every mask as a crowd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from instancefcn.cleaning import connected_parts
from instancefcn.data.source import FileSource, Labels
from instancefcn.geometry.rle import Rle
from instancefcn.geometry.runs import near_box


def count_crowds_of_one_part(source: FileSource) -> FileSource:
    """The same labels, in which a crowd counts as an instance if its mask is one connected part.

    What is marked as not to be judged stays so.
    """
    return replace(source, all_labels=[_labels(labels) for labels in source.all_labels])


def is_one_part(rle: Rle) -> bool:
    """Whether the pixels of a mask are connected, by sides or corners; an empty mask has no part."""
    _, _, mask = near_box(rle, 0)
    return connected_parts(mask, corners=True)[1] == 1


def _labels(labels: Labels) -> Labels:
    instances = labels.instances
    marks = zip(instances.rles, instances.crowd.tolist(), instances.ignore.tolist(), strict=True)
    crowd = [is_crowd and (ignore or not is_one_part(rle)) for rle, is_crowd, ignore in marks]
    return replace(labels, instances=replace(instances, crowd=np.array(crowd, dtype=bool)))
