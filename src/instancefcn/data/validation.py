"""Counts of labelled images and their instances."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from instancefcn.data.open import PARTIAL_PREFIX, lists_all_images
from instancefcn.data.source import Source
from instancefcn.geometry.rle import areas

SIZE_EDGES = (8, 16, 32, 64, 96, 128, 256, 512)  # square roots of areas, pixels; COCO's own are 32 and 96


@dataclass(frozen=True)
class Report:
    """Counts of the sound images and instances, which training sees."""

    images: int
    empty_images: int  # without instances: background alone, unless the source is partial
    instances: int  # crowds and ignored ones included
    crowds: int
    ignored: int
    instances_per_category: dict[str, int]
    size_histogram: dict[str, int]  # of all instances except crowds, by the square root of the area in pixels


def background_note(source: Source) -> str | None:
    """A line for the user where images without an object may be ones that nobody has labelled yet; else None."""
    every = [source.labels(index) for index in range(len(source))]
    empty = sum(not len(labels.with_rejected()) and not labels.partial for labels in every)
    if source.partial or not lists_all_images(source.name) or not 0 < empty < len(every):
        return None
    return (
        f"{empty} of {len(every)} images have no object and are taken as background; if nobody has looked at them yet, "
        f"delete them from the file, or say {PARTIAL_PREFIX}{source.name.partition(':')[0]}:... (`instancefcn label` "
        "leaves them out)"
    )


def count_labels(source: Source) -> Report:
    """Count what is in a source."""
    all_labels = [source.labels(index) for index in range(len(source))]
    all_instances = [labels.instances for labels in all_labels]
    categories = Counter(int(category_id) for instances in all_instances for category_id in instances.category_ids)
    sizes = [np.sqrt(areas(instances.rles))[~instances.crowd] for instances in all_instances]
    counts = np.bincount(np.digitize(np.concatenate([*sizes, []]), SIZE_EDGES), minlength=len(SIZE_EDGES) + 1)
    between = [f"{low}-{high}" for low, high in pairwise(SIZE_EDGES)]
    buckets = [f"<{SIZE_EDGES[0]}", *between, f">={SIZE_EDGES[-1]}"]
    return Report(
        images=len(all_labels),
        empty_images=sum(not len(instances) for instances in all_instances),
        instances=sum(len(instances) for instances in all_instances),
        crowds=sum(int(instances.crowd.sum()) for instances in all_instances),
        ignored=sum(int(instances.ignore.sum()) for instances in all_instances),
        instances_per_category={name: categories[category_id] for category_id, name in source.categories.items()},
        size_histogram=dict(zip(buckets, counts.tolist(), strict=True)),
    )
