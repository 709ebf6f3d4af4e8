"""The methods that the paper's Tables 1, 2, 3 and 5 compare, and what it claims of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from instancefcn.evaluation.published import TABLE_1, TABLE_2, TABLE_3, TABLE_5, PublishedTable
from instancefcn.evaluation.regions import IouType
from reproduce.datasets import Scale


@dataclass(frozen=True)
class Method:
    """A row of a table: a network to train, the shipped one, or selective search."""

    slug: str  # part of the names of its runs
    label: str
    published: str = ""  # name of its row in the published table
    recipe: str | None = None  # suffix of the scale's recipe; None: nothing to train
    k: int = 5
    rate_of: str = ""  # slug of the row whose searched learning rate it takes; "" for its own
    search: Literal["", "boxes", "masks"] = ""  # selective search, and what it gives
    only_at: Scale | None = None  # the scale that has such a row


@dataclass(frozen=True)
class Claim:
    """The first of two rows does better or, with a margin, both do equally well."""

    text: str
    first: str  # slugs
    second: str
    margin: float = 0.0  # percentage points
    regions: IouType = "segm"  # "bbox" where one of the two has no masks


@dataclass(frozen=True)
class Experiment:
    """A table of the paper."""

    name: str
    published: PublishedTable
    methods: tuple[Method, ...]
    claims: tuple[Claim, ...]

    def at(self, scale: Scale) -> Experiment:
        """The table with the rows of a scale."""
        return replace(self, methods=tuple(method for method in self.methods if method.only_at in (None, scale)))


OURS = Method("ours-k5", "ours, full images", "InstanceFCN", "")
DEEPMASK = Method("deepmask", "~DeepMask, crops", "~DeepMask", "-deepmask")
CROPS = Method("ours-k5-crops", "ours, crops", "InstanceFCN, crops", "-crops")
_SEARCHES = (
    Method("selective-search", "Selective Search, OpenCV's boxes", search="boxes"),
    Method("selective-search-masks", "Selective Search, its regions as masks", "Selective Search", search="masks"),
)
SHIPPED = Method("lite", "`lite`, the shipped checkpoint (longer training, more data)")
_VGG16 = Method("vgg16", "ours with VGG-16, full images", "InstanceFCN", "-vgg16")
_PEERS = (
    Claim("finds more than Selective Search (masks)", "ours-k5", "selective-search-masks"),
    Claim("finds more than Selective Search (boxes)", "ours-k5", "selective-search", regions="bbox"),
    Claim("finds more than ~DeepMask", "ours-k5", "deepmask"),
)

EXPERIMENTS = (
    Experiment(
        "table1",
        TABLE_1,
        tuple(
            replace(OURS, slug=f"ours-k{k}", label=f"k = {k}", published=f"k = {k}", k=k, rate_of=OURS.slug)
            for k in (3, 5, 7)
        ),
        (
            Claim("k = 5 finds more than k = 3", "ours-k5", "ours-k3"),
            Claim("k = 7 finds as much as k = 5, within 1 point", "ours-k7", "ours-k5", margin=1.0),
        ),
    ),
    Experiment(
        "table2",
        TABLE_2,
        (
            replace(DEEPMASK, published="~DeepMask, crops"),
            Method(
                "deepmask-same-scales",
                "~DeepMask, crops, at our scales, where objects are 3/4 of the size that its window is made for",
                recipe="-deepmask-same-scales",
                rate_of=DEEPMASK.slug,
            ),
            CROPS,
            Method(
                "ours-k5-few-windows",
                "ours, full images, four windows of each, as the crops",
                recipe="-few-windows",
                rate_of=OURS.slug,
                only_at="mini",
            ),
            replace(OURS, published="InstanceFCN, full images"),
            Method("ours-k5-gapless", "ours, full images, no gaps between scales", recipe="-gapless", only_at="paper"),
        ),
        (
            Claim("on crops, ours finds more than ~DeepMask", "ours-k5-crops", "deepmask"),
            Claim("on crops, ours finds more than ~DeepMask at our scales", "ours-k5-crops", "deepmask-same-scales"),
            Claim("from as many windows, full images teach more than crops", "ours-k5-few-windows", "ours-k5-crops"),
            Claim("full images teach more than crops", "ours-k5", "ours-k5-crops"),
            Claim("ours, as the paper trains it, finds more than ~DeepMask", "ours-k5", "deepmask"),
        ),
    ),
    Experiment("table3", TABLE_3, (*_SEARCHES, DEEPMASK, OURS, SHIPPED), _PEERS),
    Experiment("table5", TABLE_5, (*_SEARCHES, replace(DEEPMASK, published="DeepMask"), OURS, SHIPPED), _PEERS),
)
# The paper's trunk on the small data, which no table of the paper has.
VGG16 = Experiment("vgg16", replace(TABLE_3, title="Segment proposals, with VGG-16"), (_VGG16, SHIPPED), ())
