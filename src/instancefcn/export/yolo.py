"""YOLO segmentation: a text file of polygons for each image, and data.yaml."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from shapely import MultiPolygon, Polygon, STRtree

from instancefcn.data.source import Labels
from instancefcn.data.yolo import images_in, in_labels
from instancefcn.export.polygons import holes, rings, to_polygons
from instancefcn.export.writer import LabelledObject, Place, Writer, images_root, relative_path
from instancefcn.files import write_whole

DATA = "data.yaml"


class YoloWriter(Writer):
    """Writer of ``labels/STEM.txt`` and ``data.yaml``, as Ultralytics trains on them.

    Where the name of an image leads through a folder ``images``, that becomes ``labels``: ``train/images/a.jpg`` has
    ``train/labels/a.txt``.

    A line is ``class x y x y ...``, in parts of the image's width and height; classes count from 0 in the order of
    category ids. A line holds one ring: several parts are joined by lines without width, as Ultralytics' own converter
    does, and holes are filled. ``data.yaml`` names the images where they lie.
    """

    tool = "YOLO"
    suffix = ".txt"
    holds_scores = False
    holds_crowds = False
    turns_upright = True

    def __init__(self, place: Place, categories: Mapping[int, str]) -> None:
        super().__init__(place, categories)
        self.classes = {category_id: index for index, category_id in enumerate(sorted(categories))}
        self.roots: dict[Path, Path] = {}  # folders of images, and where Ultralytics would look for ours
        self.joined = 0

    def name_in_folder(self, file_name: str) -> str:
        name = PurePosixPath(file_name)
        return str(name if ".." in name.parts else in_labels(name))

    def common_files(self) -> list[Path]:
        return [self.place.out / DATA]

    def write(self, labels: Labels, objects: Sequence[LabelledObject]) -> None:
        if root := images_root(labels):
            holder = images_in(PurePosixPath(labels.file_name)) or PurePosixPath()
            self.roots[root / holder] = self.place.out / (holder if holder.name else "images")
        lines: list[str] = []
        for found in objects:
            outline = to_polygons(found.rle, self.place.tolerance)
            self.leave_out("hole", holes(outline))
            self.joined += len(outline.geoms) > 1
            ring = join(filled(outline)) / (labels.width, labels.height)
            numbers = " ".join(f"{number:.6f}".rstrip("0").rstrip(".") for number in ring.ravel())
            lines.append(f"{self.classes[found.category_id]} {numbers}\n")
        self.put(self.path(labels), "".join(lines))

    def close(self) -> None:
        ways = [relative_path(root, self.place.out) for root in self.roots]
        images = json.dumps(ways[0] if len(ways) == 1 else ways or "images", ensure_ascii=False)
        names = [json.dumps(self.categories[key], ensure_ascii=False) for key in self.classes]
        listed = "".join(f"  {index}: {name}\n" for index, name in enumerate(names))
        path = self.place.out / DATA
        self.refuse_to_overwrite(path)
        head = "# Images, relative to this file. Training wants a part of them as val.\n"
        write_whole(path, f"{head}train: {images}\nval: {images}\nnames:\n{listed}")

    def notes(self) -> list[str]:
        lines = super().notes()
        if self.joined:
            lines.append(f"the parts of {self.joined} objects are joined by lines of no width: YOLO has one ring each")
        found = [(root, place) for root, place in self.roots.items() if root != Path(os.path.abspath(place))]
        if found:
            root, place = found[0]
            lines.append(
                f"Ultralytics looks for labels/ beside images/: put or link the images of {root} into {place}, and "
                f"name that in {DATA}; to read it back as it is: yolo:{self.place.out},."
            )
        return lines


def filled(outline: MultiPolygon) -> list[Float[np.ndarray, "_ 2"]]:
    """The outer rings of an outline's parts, without parts that lie in a hole of another, which will be filled."""
    parts = [Polygon(rings(part)[0]) for part in outline.geoms]
    inner, outer = STRtree(parts).query(parts, predicate="within")
    inside = set(inner[inner != outer].tolist())
    return [np.array(rings(part)[0]) for index, part in enumerate(outline.geoms) if index not in inside]


def join(parts: Sequence[Float[np.ndarray, "_ 2"]]) -> Float[np.ndarray, "n 2"]:
    """One ring through several: each next one is reached from its nearest point, and left the same way.

    Example:
        >>> join([np.array([[0.0, 0], [2, 0], [2, 2]]), np.array([[3.0, 0], [5, 0], [5, 2]])])[:, 0].tolist()
        [0.0, 2.0, 3.0, 5.0, 5.0, 3.0, 2.0, 2.0]
    """
    firsts: list[int] = np.cumsum([0, *map(len, parts)]).tolist()
    points, owner = np.concatenate(parts), np.repeat(np.arange(len(parts)), list(map(len, parts)))
    behind = [place for first, end in pairwise(firsts) for place in (*range(first + 1, end), first)]  # round each part
    behind[firsts[1] - 1] = -1  # the ring begins and ends with the first
    order = list(range(len(points)))  # of each place of the ring, its point: those of the way back come twice
    squares, nearest = np.full(len(points), np.inf), np.zeros(len(points), dtype=int)  # of each point, to the ring
    left, joined = owner > 0, 0
    while left.any():
        to_joined = np.square(parts[joined][:, None] - points).sum(2)
        closer = to_joined.min(0) < squares
        squares[closer], nearest[closer] = to_joined.min(0)[closer], firsts[joined] + to_joined.argmin(0)[closer]
        there = int(np.where(left, squares, np.inf).argmin())
        here, joined = int(nearest[there]), int(owner[there])
        left &= owner != joined
        before = there - 1 if there > firsts[joined] else firsts[joined + 1] - 1
        order += [there, here]
        behind += [len(order) - 1, behind[here]]
        behind[here], behind[before] = there, len(order) - 2
    ring, place = list[int](), 0
    while place >= 0:
        ring.append(order[place])
        place = behind[place]
    return points[ring]
