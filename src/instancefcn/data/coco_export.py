"""Any source as a COCO ground-truth table."""

from __future__ import annotations

from typing import Any

from instancefcn.data.source import Source
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import area, to_json


def to_coco(source: Source) -> dict[str, Any]:
    """COCO ``images``, ``annotations`` and ``categories``, ready for JSON.

    Masks are compressed RLE, as text. Annotations are numbered anew from 1, since pycocotools takes a match with
    annotation 0 for none, and since the labels of label maps are unique within an image only.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(len(source)):
        labels = source.labels(index)
        images.append(
            {"id": labels.image_id, "file_name": labels.file_name, "width": labels.width, "height": labels.height}
        )
        instances = labels.instances
        for i, (rle, box_xywh) in enumerate(zip(instances.rles, xyxy_to_xywh(instances.boxes_xyxy), strict=True)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": labels.image_id,
                    "category_id": int(instances.category_ids[i]),
                    "segmentation": to_json(rle),
                    "bbox": box_xywh.tolist(),
                    "area": int(area(rle)),
                    "iscrowd": int(instances.crowd[i]),
                    "ignore": int(instances.ignore[i]),
                }
            )
    categories = [{"id": category_id, "name": name} for category_id, name in source.categories.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
