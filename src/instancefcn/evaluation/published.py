"""Results that the paper published (Dai et al., "Instance-sensitive Fully Convolutional Networks", ECCV 2016)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper; a row is a method and its numbers in percent, None where the paper has none.

    A row that ends in "(in the text)" stands in the paper's text on the table.
    """

    number: int
    title: str
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    data: str = "PASCAL VOC 2012 val, SBD annotations"  # what it was measured on
    columns: tuple[str, ...] = ("AR@10", "AR@100", "AR@1000")


TABLE_1 = PublishedTable(
    number=1,
    title="Relative positions k x k",
    rows=(("k = 3", (38.3, 49.2, 52.1)), ("k = 5", (38.9, 49.7, 52.6)), ("k = 7", (38.8, 49.7, 52.7))),
)
TABLE_2 = PublishedTable(
    number=2,
    title="~DeepMask and InstanceFCN, trained on crops and on full images",
    rows=(
        ("~DeepMask, crops", (31.2, 42.9, 47.0)),
        ("InstanceFCN, crops", (37.4, 48.4, 51.4)),
        ("InstanceFCN, full images", (38.9, 49.7, 52.6)),
    ),
)
TABLE_3 = PublishedTable(
    number=3,
    title="Segment proposals",
    rows=(
        ("Selective Search", (7.0, 23.5, 43.3)),
        ("MCG", (18.9, 36.8, 49.5)),
        ("~DeepMask", (31.2, 42.9, 47.0)),
        ("MNC", (33.4, 48.5, 53.8)),
        ("InstanceFCN", (38.9, 49.7, 52.6)),
    ),
)
TABLE_4 = PublishedTable(
    number=4,
    title="Instance semantic segmentation: classifier and proposals",
    columns=("mAP^r@0.5", "mAP^r@0.7"),
    rows=(
        ("SDS + MCG", (49.7, 25.3)),
        ("Hypercolumn + MCG", (60.0, 40.4)),
        ("CFM + MCG", (60.7, 39.6)),
        ("MNC + MNC", (63.5, 41.5)),
        ("MNC + MNC, trained step by step (in the text)", (60.2, None)),
        ("MNC + InstanceFCN, N = 300", (61.5, 43.0)),
    ),
)
TABLE_5 = PublishedTable(
    number=5,
    title="Segment proposals",
    data="MS COCO, first 5,000 images of val2014",
    rows=(
        ("GOP", (2.3, 12.3, 25.3)),
        ("Rigor", (None, 9.4, 25.3)),
        ("Selective Search", (2.5, 9.5, 23.0)),
        ("MCG", (7.7, 18.6, 29.9)),
        ("DeepMask", (12.6, 24.5, 33.1)),
        ("DeepMaskZoom", (12.7, 26.1, 36.6)),
        ("InstanceFCN", (16.6, 31.7, 39.2)),
    ),
)
RECALL_TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_5)
