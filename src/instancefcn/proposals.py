"""Proposals: the masks of one image, best first. No torch is needed here."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, SupportsIndex, TypeVar, cast, overload

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from PIL import Image

from instancefcn.cleaning import clean
from instancefcn.drawing import draw_distinct, encoded, write_names
from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import Rle, area, areas, damaged, decode, from_json, tight_boxes, to_json
from instancefcn.geometry.runs import near_box
from instancefcn.objects import ObjectRule, choose_objects, eased, make_exclusive

CATEGORY_ID = 1  # proposals have no class; COCO results need a category
CATEGORY_NAME = "object"
NO_RULE = "these proposals carry no rule of a checkpoint: give objects(threshold=...)"
MAX_LABEL = np.iinfo(np.uint16).max
SHOWN, SHOWN_SEGMENTS = 10, 20  # masks that are drawn of many candidates
PREVIEW_SIDE = 640  # pixels: the longer side of a notebook's picture
PREVIEW_GROUND = 236  # grey behind its masks

Self = TypeVar("Self", bound="Proposals")
Selection = slice | Sequence[int] | Int[np.ndarray, "k"] | Bool[np.ndarray, "n"]


class _ByValue:
    """Dataclasses that are equal if they are of one type and hold the same; arrays by their values."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return False
        pairs = [(getattr(self, key.name), getattr(other, key.name)) for key in fields(cast(Any, self))]
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # arrays can change


@dataclass(frozen=True, eq=False)
class Proposal(_ByValue):
    """One mask of an image, with its box and score."""

    rle: Rle = field(repr=False)
    box_xyxy: Float[np.ndarray, "4"]  # tight, half-open pixels
    score: float
    name: str = CATEGORY_NAME
    category_id: int = CATEGORY_ID

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(area(self.rle))

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The mask at image size: ``image[proposals[0].mask()]`` are its pixels."""
        return decode(self.rle)


@dataclass(frozen=True, eq=False, repr=False)
class Proposals(_ByValue):
    """Class-agnostic masks of one image, best first, in the frame of that image.

    Example:
        >>> import numpy as np
        >>> from instancefcn.geometry.rle import encode
        >>> masks = np.zeros((2, 4, 6), dtype=bool)
        >>> masks[0, 1:3, 1:4] = masks[1, :, 5] = True
        >>> boxes_xyxy = np.array([[1.0, 1, 4, 3], [5, 0, 6, 4]])
        >>> proposals = Proposals([encode(mask) for mask in masks], boxes_xyxy, np.array([0.9, 0.4]), 4, 6)
        >>> proposals
        Proposals(2 masks of 4 x 6 pixels, scores 0.90 to 0.40)
        >>> len(proposals), proposals[0].area, len(proposals[:1]), len(proposals[proposals.areas < 5])
        (2, 6, 1, 1)
        >>> [round(proposal.score, 1) for proposal in proposals]
        [0.9, 0.4]
    """

    rles: list[Rle]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # tight around the masks, half-open pixels
    scores: Float[np.ndarray, "n"]  # in [0, 1]
    height: int  # of the image, in pixels, as ``width``
    width: int
    rule: ObjectRule | None = field(default=None, kw_only=True)  # the checkpoint's, for ``objects``
    distinct: bool = field(default=False, kw_only=True)  # these are objects: no two masks show the same thing

    @classmethod
    def from_coco(cls: type[Self], results: Sequence[Mapping[str, Any]], height: int, width: int, **more: Any) -> Self:
        """What ``to_coco`` gave, of one image: results of ``proposals.json`` whose ``image_id`` is the same.

        Example: ``Proposals.from_coco([one for one in json.load(file) if one["image_id"] == 7], 480, 640)``.

        Args:
            height: of the image, in pixels, as ``width``.
            more: other fields, such as ``rule``, or ``names`` of ``Segments``.

        Raises:
            ValueError: a mask's code is damaged, not compressed, or of an image of another size.
            KeyError: a result has no mask or score.
        """
        if any(not isinstance(result["segmentation"]["counts"], str) for result in results):
            raise ValueError("a mask's runs are a list of numbers, and not the compressed code that `to_coco` writes")
        rles = [from_json(result["segmentation"]) for result in results]
        if rles and damaged(rles).any():
            raise ValueError(f"the mask of result {int(damaged(rles).argmax())} is damaged")
        if other := next((rle for rle in rles if tuple(rle["size"]) != (height, width)), None):
            raise ValueError(f"a mask of {other['size']} pixels in an image of {height} x {width} (height x width)")
        scores = np.array([result["score"] for result in results], dtype=float)
        return cls(rles, tight_boxes(rles), scores, height, width, **cls._categories(results), **more)

    @classmethod
    def _categories(cls, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {}

    def __len__(self) -> int:
        return len(self.rles)

    def __iter__(self) -> Iterator[Proposal]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, chosen: int | np.integer) -> Proposal: ...
    @overload
    def __getitem__(self: Self, chosen: Selection) -> Self: ...
    def __getitem__(self: Self, chosen: int | np.integer | Selection) -> Proposal | Self:
        """One proposal by its rank, or several by a slice, indices, or a boolean for each.

        Example: ``proposals[0]``, ``proposals[:10]``, ``proposals[[2, 5]]``, ``proposals[proposals.scores > 0.5]``.

        Raises:
            IndexError: there is no such rank, not one boolean for each proposal, or indices in two dimensions.
        """
        if isinstance(chosen, SupportsIndex) and getattr(chosen, "ndim", 0) == 0:  # an array or a tensor of one, too
            rank = operator.index(chosen)
            values = self.rles[rank], self.boxes_xyxy[rank], float(self.scores[rank])
            return Proposal(*values, self._name(rank), self._category_ids()[rank])
        if not isinstance(chosen, slice):
            chosen = np.asarray(chosen)
            if chosen.ndim != 1 or (chosen.dtype == bool and len(chosen) != len(self)):
                raise IndexError(f"{list(chosen.shape)} {chosen.dtype} do not select among {len(self)} proposals")
            chosen = chosen if chosen.size else slice(0)  # an empty list has no type that selects
        indices = np.arange(len(self))[chosen]
        arrays = {key: values[indices] for key, values in vars(self).items() if isinstance(values, np.ndarray)}
        return replace(self, rles=[self.rles[index] for index in indices], **arrays)

    def __repr__(self) -> str:
        scores = f", scores {self.scores.max():.2f} to {self.scores.min():.2f}" if len(self) else ""
        return f"{type(self).__name__}({len(self)} masks of {self.height} x {self.width} pixels{scores})"

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows: the best masks on plain ground."""
        ground = np.full((self.height, self.width, 3), PREVIEW_GROUND, dtype=np.uint8)
        picture = Image.fromarray(self.draw(ground))
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        return encoded(picture, "png")

    @property
    def areas(self) -> Float[np.ndarray, "n"]:
        """Pixels of each mask: ``proposals[proposals.areas > 100]`` leaves out the small ones."""
        return areas(self.rles)

    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """Every mask at image size: n * height * width bytes, so select first, as in ``proposals[:10].masks()``."""
        decoded = np.zeros((len(self), self.height, self.width), dtype=bool)
        for mask, rle in zip(decoded, self.rles, strict=True):
            mask[:] = decode(rle)
        return decoded

    def at_least(self: Self, score: float) -> Self:
        """Those that score this or more: ``proposals.at_least(0.1)``."""
        return self[self.scores >= score]

    def objects(self: Self, threshold: float | None = None, *, exclusive: bool = False) -> Self:
        """The objects among these candidates: no duplicates, no clumps, none below a threshold, with clean masks.

        The rule is described in ``instancefcn.objects``; it goes by the scores, whatever the order. Objects are chosen
        among the candidates that there are, so take them from ``Proposer.objects`` or from many proposals: the best 100
        of 300 nuclei are no 300 objects.

        Args:
            threshold: the lowest score of an object; None for the rule's. With a rule, the score of an object is the
                chance that it is one at IoU 0.5; without, the candidate's own, and a threshold must be given.
            exclusive: a pixel belongs to one object at most, the best; else an object may lie inside another.

        Raises:
            ValueError: there is neither a rule nor a threshold, or the threshold is outside [0, 1].

        Example: ``proposer("plate.jpg", max_proposals=1000).objects(exclusive=True).label_map()``.
        """
        if threshold is None and self.rule is None:
            raise ValueError(NO_RULE)
        rule = self.rule or ObjectRule(threshold=0.0)
        best_first = self[np.argsort(-self.scores, kind="stable")]
        found = best_first.at_least(rule.lowest_of_any_image(threshold))
        found = found[found.areas > 0]  # the code of a mask from elsewhere may be empty
        found = found[choose_objects(found.rles, rule)]
        scores = eased(found.scores, rule.easing(found.scores, found.areas))
        found = replace(found, scores=rule.chance(scores), rule=None, distinct=True)
        found = found[scores >= rule.lowest_score(threshold)]
        masks = [clean(rle, rule.smoothing) for rle in found.rles]
        found = replace(found, rles=masks, boxes_xyxy=tight_boxes(masks))
        if exclusive:
            kept, masks = make_exclusive(found.rles)
            found = replace(found[kept], rles=masks, boxes_xyxy=tight_boxes(masks))
        return found

    def to_coco(self, image_id: int | np.integer) -> list[dict[str, Any]]:
        """COCO results, best first, which ``json.dump`` writes and pycocotools' ``loadRes`` reads.

        Each is ``{"image_id", "category_id", "segmentation": {"size": [h, w], "counts": text}, "bbox": [x, y, w, h],
        "score"}``, in pixels; the category of proposals is 1. Example: ``json.dump(proposals.to_coco(7), file)``.
        """
        image_id = operator.index(image_id)  # a NumPy number is none that JSON knows
        columns = (self._category_ids(), self.rles, xyxy_to_xywh(self.boxes_xyxy).tolist(), self.scores.tolist())
        return [
            {"image_id": image_id, "category_id": number, "segmentation": to_json(rle), "bbox": box, "score": score}
            for number, rle, box, score in zip(*columns, strict=True)
        ]

    def label_map(self) -> UInt16[np.ndarray, "h w"]:
        """One label a pixel: the rank, from 1, of the best proposal that covers it; 0 where none does.

        Masks are decoded one at a time. Example: ``Image.fromarray(proposals.label_map()).save("labels.png")``.

        Raises:
            ValueError: there are more proposals than 16 bits can number.
        """
        if len(self) > MAX_LABEL:
            raise ValueError(f"a 16-bit label map holds {MAX_LABEL} proposals, not {len(self)}; ask for fewer")
        labels = np.zeros((self.height, self.width), dtype=np.uint16, order="F")  # as masks are decoded
        for index in reversed(range(len(self))):  # so that better ones are written over worse ones
            rows, columns, mask = near_box(self.rles[index], 0)
            labels[rows, columns][mask] = index + 1
        return labels

    def draw(self, image: UInt8[np.ndarray, "h w 3"], top: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """A copy of the image with the best masks drawn over it, of those that show one object only the best.

        Example: ``Image.fromarray(proposals.draw(image)).show()``.

        Args:
            image: RGB, the one that was proposed on.
            top: how many masks to draw at most; None for all objects, or the ten best candidates.

        Raises:
            ValueError: the image has another size, or is no RGB array, or ``top`` is negative.
        """
        return self._drawn(image, top, SHOWN)[0]

    def crops(self, image: UInt8[np.ndarray, "h w 3"]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The part of an image in each tight box, with the pixels beside the mask as they are.

        Example: ``thumbnails = proposals[:20].crops(image)``.

        Raises:
            ValueError: the image has another size, or is no RGB array.
        """
        self._check_size(image)
        return [image[top:bottom, left:right] for left, top, right, bottom in self.boxes_xyxy.astype(int).tolist()]

    def to_supervision(self) -> Any:
        """``supervision.Detections``: boxes, masks, scores as ``confidence``, categories as ``class_id`` and by name.

        Names are ``data["class_name"]``, which ``supervision.LabelAnnotator`` writes.

        Example: ``supervision.MaskAnnotator().annotate(image, proposals.to_supervision())``.

        Raises:
            ModuleNotFoundError: the package is not installed.
        """
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_supervision needs `pip install supervision`", name="supervision") from error
        return supervision.Detections(
            xyxy=self.boxes_xyxy.astype(np.float32),
            mask=self.masks(),
            confidence=self.scores.astype(np.float32),
            class_id=np.array(self._category_ids(), dtype=int),
            data={"class_name": np.array([self._name(index) for index in range(len(self))], dtype=str)},
        )

    def _check_size(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                "an image to draw on or to crop must be a uint8 array [height, width, 3], RGB: "
                "instancefcn.data.images.to_rgb makes one of a path, any array or a PIL image"
            )
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"the image has {image.shape[0]} x {image.shape[1]} pixels (height x width), but the proposals are of "
                f"one with {self.height} x {self.width}"
            )

    def _drawn(self, image: UInt8[np.ndarray, "h w 3"], top: int | None, usual: int) -> tuple[np.ndarray, list[int]]:
        """The picture, and what it shows: of candidates as many as is usual, where nothing is asked for."""
        self._check_size(image)
        if top is not None and top < 0:
            raise ValueError(f"top must be 0 or more, not {top}")
        if self.distinct:
            return draw_distinct(image, self.rles, len(self) if top is None else top, max_iou=1.0)
        return draw_distinct(image, self.rles, usual if top is None else top)

    def _category_ids(self) -> list[int]:
        return [CATEGORY_ID] * len(self)

    def _name(self, index: int) -> str:
        return CATEGORY_NAME


@dataclass(frozen=True, eq=False, repr=False)
class Segments(Proposals):
    """Masks of one image with a category each, best first; a score is that of the category."""

    category_ids: Int[np.ndarray, "n"]  # as the data set numbers them
    names: Mapping[int, str] = field(default_factory=dict)  # of categories, by id

    @classmethod
    def _categories(cls, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"category_ids": np.array([result["category_id"] for result in results], dtype=int)}

    def draw(self, image: UInt8[np.ndarray, "h w 3"], top: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """As ``Proposals.draw``, with name and score at each mask.

        Raises:
            ValueError: the image has another size, or is no RGB array.
        """
        canvas, drawn = self._drawn(image, top, SHOWN_SEGMENTS)
        texts = [f"{self._name(index)} {self.scores[index]:.2f}" for index in drawn]
        return write_names(canvas, self.boxes_xyxy[drawn], texts)

    def _category_ids(self) -> list[int]:
        return self.category_ids.tolist()

    def _name(self, index: int) -> str:
        category_id = int(self.category_ids[index])
        return self.names.get(category_id, str(category_id))
