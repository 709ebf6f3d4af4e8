"""What the paper's tables compare and claim, as values: rows, claims, and the images of each scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from instancefcn.evaluation.published import TABLE_1, TABLE_2, TABLE_3, TABLE_5, PublishedTable
from reproduce.images import ImageSelection

Scale = Literal["paper", "mini"]
SIZES = (50, 100, 200, 400, 0)  # images to train on; 0 for all
TRAINING_SET = "training images"  # as a test set: the first of the images that a run was trained on


@dataclass(frozen=True)
class Method:
    """One row: something that proposes."""

    slug: str  # names its runs
    label: str
    published: str = ""  # its row in the published table
    recipe: str | None = None  # suffix of the scale's recipe, where it is to be trained
    k: int = 5
    only_boxes: bool = False


@dataclass(frozen=True)
class Claim:
    """What is said of two rows: that the first does better, or, with a margin, that they do as well."""

    text: str
    first: str  # slugs
    second: str
    margin: float = 0.0  # percentage points
    boxes: bool = False  # where one of the two has no masks


@dataclass(frozen=True)
class Experiment:
    """One table."""

    name: str
    published: PublishedTable
    methods: tuple[Method, ...]
    claims: tuple[Claim, ...]

    def method(self, slug: str) -> Method:
        """The row of a name."""
        return next(method for method in self.methods if method.slug == slug)


@dataclass(frozen=True)
class Naming:
    """One row of Table 4: whose proposals are named, and how.

    The classifier is one trained on proposals of the same method, also where it names the labelled masks themselves.
    """

    method: Method
    n: int = 300  # best proposals of an image that are named
    voted: bool = True
    suppressed: bool = True
    ground_truth: bool = False  # labelled masks instead of proposals: what is lost then is the classifier's alone

    @property
    def slug(self) -> str:
        """Names its measurements."""
        masks = "labelled-masks" if self.ground_truth else f"n{self.n}"
        return (
            f"{self.method.slug}-{masks}{'' if self.voted else '-unvoted'}{'' if self.suppressed else '-unsuppressed'}"
        )

    @property
    def label(self) -> str:
        """How its row begins."""
        without = [name for name, done in (("suppression", self.suppressed), ("voting", self.voted)) if not done]
        masks = "labelled masks in place of proposals" if self.ground_truth else f"{self.method.label}; N = {self.n}"
        return masks + (f", no {' and no '.join(without)}" if without else "")


_OURS = Method("ours-k5", "ours, full images", "InstanceFCN", "")
_DEEPMASK = Method("deepmask", "~DeepMask, crops", "~DeepMask", "-deepmask")
_SELECTIVE_SEARCH = Method("selective-search", "Selective Search, boxes", "Selective Search", only_boxes=True)
_SHIPPED = Method("lite", "`lite`, the shipped checkpoint (longer training, more data)")
_PEERS = (
    Claim("finds more than Selective Search (boxes)", "ours-k5", "selective-search", boxes=True),
    Claim("finds more than ~DeepMask", "ours-k5", "deepmask"),
)

EXPERIMENTS = (
    Experiment(
        "table1",
        TABLE_1,
        tuple(replace(_OURS, slug=f"ours-k{k}", label=f"k = {k}", published=f"k = {k}", k=k) for k in (3, 5, 7)),
        (
            Claim("k = 5 finds more than k = 3", "ours-k5", "ours-k3"),
            Claim("k = 7 finds as much as k = 5, within 1 point", "ours-k7", "ours-k5", margin=1.0),
        ),
    ),
    Experiment(
        "table2",
        TABLE_2,
        (
            replace(_DEEPMASK, published="~DeepMask, crops"),
            Method("ours-k5-crops", "ours, crops", "InstanceFCN, crops", "-crops"),
            replace(_OURS, published="InstanceFCN, full images"),
        ),
        (
            Claim("on crops, ours finds more than ~DeepMask", "ours-k5-crops", "deepmask"),
            Claim("full images teach more than crops", "ours-k5", "ours-k5-crops"),
            Claim("ours, as the paper trains it, finds more than ~DeepMask", "ours-k5", "deepmask"),
        ),
    ),
    Experiment("table3", TABLE_3, (_SELECTIVE_SEARCH, _DEEPMASK, _OURS, _SHIPPED), _PEERS),
    Experiment(
        "table5", TABLE_5, (_SELECTIVE_SEARCH, replace(_DEEPMASK, published="DeepMask"), _OURS, _SHIPPED), _PEERS
    ),
)
SIZE_METHODS = (_DEEPMASK, _OURS)


def namings(scale: Scale) -> tuple[Naming, ...]:
    """Rows of Table 4: one, and what varies it; then other proposals, the slowest last."""
    main = Naming(_OURS if scale == "paper" else _SHIPPED)
    return (
        main,
        replace(main, n=100),
        replace(main, n=1000),
        replace(main, voted=False),
        replace(main, ground_truth=True),
        replace(main, ground_truth=True, voted=False, suppressed=False),
        *(() if main.method == _OURS else (Naming(_OURS),)),
        Naming(_DEEPMASK),
    )


def naming_claims(scale: Scale) -> tuple[Claim, ...]:
    """What is said of the rows of Table 4; the first is the paper's."""
    main, fewer, more, unvoted, *_ = (naming.slug for naming in namings(scale))
    ours, peer = Naming(_OURS).slug, Naming(_DEEPMASK).slug
    shipped = Claim(
        "the shipped checkpoint's proposals (trained longer) get better segments than ~DeepMask's", main, peer
    )
    return (
        Claim("our proposals get better segments than ~DeepMask's, trained alike", ours, peer),
        *(() if main == ours else (shipped,)),
        Claim("N = 300 is better than N = 100", main, fewer),
        Claim("N = 1000 is as good as N = 300, within 1 point", more, main, margin=1.0),
        Claim("mask voting is better than none", main, unvoted),
    )


def named_images(scale: Scale, root: Path) -> dict[str, tuple[ImageSelection, ImageSelection]]:
    """What the classifiers of Table 4 are trained on and measured on, by name."""
    if scale == "mini":

        def split(name: str, part: str) -> ImageSelection:
            return ImageSelection((f"coco:{root}/{name}/annotations/instances_{part}.json,{root}/{name}/{part}",))

        return {name: (split(name, "train"), split(name, "val")) for name in ("animals", "coco-mini")}
    return {"VOC 2012, SBD": (_sbd(root, "train"), _sbd(root, "val"))}


def training_images(scale: Scale, root: Path, experiment: str) -> ImageSelection:
    """What the rows of an experiment are trained on."""
    if scale == "mini":
        coco, animals = root / "coco-mini", root / "animals"
        return ImageSelection(
            (
                f"coco:{coco}/annotations/instances_train.json,{coco}/train",
                f"partial+coco:{animals}/annotations/instances_train.json,{animals}/train",
            )
        )
    if experiment == "table5":
        return ImageSelection((f"coco:{root}/coco/annotations/instances_train2014.json,{root}/coco/train2014",))
    return _sbd(root, "train")


def test_images(scale: Scale, root: Path, experiment: str) -> dict[str, ImageSelection]:
    """What the rows of an experiment are measured on, by name."""
    if scale == "mini":
        coco = root / "coco-mini"
        return {
            "coco-mini val": ImageSelection((f"coco:{coco}/annotations/instances_val.json,{coco}/val",)),
            "voc2007": ImageSelection((f"voc:{root}/voc2007/VOCdevkit/VOC2007,val",)),
        }
    if experiment == "table5":
        spec = f"coco:{root}/coco/annotations/instances_val2014.json,{root}/coco/val2014"
        return {"COCO val2014, first 5,000": ImageSelection((spec,), first=5000)}
    return {"VOC 2012 val, SBD": _sbd(root, "val")}


def _sbd(root: Path, split: str) -> ImageSelection:
    """SBD's annotations of the images of a split of VOC 2012: SDS has 5,623 and 5,732 (SBD splits them otherwise)."""
    specs = tuple(f"sbd:{root}/benchmark_RELEASE/dataset,{part}" for part in ("train", "val"))
    return ImageSelection(specs, listed_in=f"{root}/VOCdevkit/VOC2012/ImageSets/Main/{split}.txt")
