"""GeoJSON for QuPath: a collection of features for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import shapely

from instancefcn.data.source import Labels
from instancefcn.export.coco import dumps
from instancefcn.export.polygons import to_polygons
from instancefcn.export.writer import LabelledObject, Writer


class GeoJsonWriter(Writer):
    """Writer of ``STEM.geojson``: drag it onto the open image in QuPath, or run ``importObjectsFromFile`` there.

    Coordinates are pixels of the image in full resolution. An object is an annotation with a Polygon, or a MultiPolygon
    where it has several parts, with holes; its category is the classification, its score the measurement "score", as
    QuPath writes them from 0.4 on. Crowds have the metadata "iscrowd", what is not to be judged "ignore".
    """

    tool = "QuPath"
    suffix = ".geojson"
    names_image = True
    turns_upright = True

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        features = [self._feature(found) for found in objects]
        collection = {"type": "FeatureCollection", "features": features}
        self.put(self.path(labels), dumps(collection))

    def _feature(self, found: LabelledObject) -> dict[str, Any]:
        outline = shapely.orient_polygons(to_polygons(found.rle, self.place.tolerance))
        geometry = outline.geoms[0] if len(outline.geoms) == 1 else outline
        properties: dict[str, Any] = {"objectType": "annotation", "classification": {"name": found.category}}
        if found.score is not None:
            properties["measurements"] = {"score": found.score}
        if found.crowd or found.ignore:
            properties["metadata"] = {"iscrowd" if found.crowd else "ignore": "1"}
        return {"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties}
