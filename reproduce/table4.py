"""The paper's Table 4: how much better proposals improve segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from instancefcn.evaluation.published import TABLE_4
from instancefcn.files import write_whole
from reproduce.datasets import Scale, describe, named_images
from reproduce.image_precision import PRECISION_DRAWS, PRECISION_MEASURES
from reproduce.methods import DEEPMASK, OURS, SHIPPED, Claim
from reproduce.naming import MAX_SEGMENTS, MIN_SCORE, NETWORK_SEED, TABLE_4_NAME, Naming, NamingResult, NamingRunner
from reproduce.proposing import shipped_weights
from reproduce.report import DRY, findings_lines, json_text, markdown_table, mean_and_spread
from reproduce.runner import Runner
from reproduce.settings import Settings
from reproduce.verdict import Finding, judge_precision

COCO_AP = "COCO AP"
THE_PAPERS_VARIANT = "11-point"  # as in the code of MNC, by the same authors
COLUMNS = (*PRECISION_MEASURES, COCO_AP)


@dataclass(frozen=True)
class PrecisionRow:
    """A row of Table 4 on one data set."""

    data: str
    naming: Naming
    seeds: tuple[NamingResult, ...]

    def numbers(self) -> list[list[float]]:
        """Numbers of ``COLUMNS`` for each seed."""
        return [[*measured.precision.percent()[0].tolist(), measured.coco_ap] for measured in self.seeds]

    def cells(self) -> list[str]:
        """Cells of its line on the page."""
        minutes = f"{np.mean([measured.seconds for measured in self.seeds]) / 60:.1f}"
        spreads = [mean_and_spread(of_seeds) for of_seeds in zip(*self.numbers(), strict=True)]
        return [self.naming.label, str(len(self.seeds)), minutes, *spreads]


def namings(scale: Scale) -> tuple[Naming, ...]:
    """Rows of Table 4: the main one and its variations, then other proposals, the slowest last."""
    main = Naming(OURS if scale == "paper" else SHIPPED)
    return (
        main,
        replace(main, n=100),
        replace(main, n=1000),
        replace(main, voted=False),
        replace(main, ground_truth=True),
        replace(main, ground_truth=True, voted=False, suppressed=False),
        *(() if main.method == OURS else (Naming(OURS),)),
        Naming(DEEPMASK),
    )


def naming_claims(scale: Scale) -> tuple[Claim, ...]:
    """Claims about the rows of Table 4; the first is the paper's."""
    main, fewer, more, unvoted, *_ = (naming.slug for naming in namings(scale))
    ours, peer = Naming(OURS).slug, Naming(DEEPMASK).slug
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


def reproduce_table_4(
    runner: Runner, rows: Sequence[Naming] | None = None, claims: Sequence[Claim] | None = None
) -> Path:
    """Run what is missing, write ``table4.md`` and ``table4.json`` after every row, and return the page's path.

    Args:
        rows, claims: instead of those of the scale.
    """
    settings, naming_runner = runner.settings, NamingRunner(runner)
    rows = namings(settings.scale) if rows is None else rows
    claims = naming_claims(settings.scale) if claims is None else claims
    page = settings.folder / f"{TABLE_4_NAME}.md"
    made: list[PrecisionRow] = []
    for done, naming in enumerate(rows, start=1):
        for data in named_images(settings.scale, settings.data_root):
            seeds = tuple(naming_runner.measure(naming, data, seed) for seed in range(settings.seeds))
            made.append(PrecisionRow(data, naming, seeds))
        findings, missing = judge_rows(made, claims), [naming.label for naming in rows[done:]]
        write_whole(page, to_markdown(settings, made, findings, missing))
        write_whole(page.with_suffix(".json"), to_json(settings, made, findings, missing))
    return page


def judge_rows(rows: Sequence[PrecisionRow], claims: Sequence[Claim]) -> list[Finding]:
    """Judge the claims whose rows are measured, on each data set."""
    by_row = {(row.data, row.naming.slug): [measured.precision for measured in row.seeds] for row in rows}
    return [
        finding
        for data in dict.fromkeys(row.data for row in rows)
        for claim in claims
        if {(data, claim.first), (data, claim.second)} <= by_row.keys()
        for finding in judge_precision(claim, by_row[data, claim.first], by_row[data, claim.second], data)
    ]


def title(settings: Settings) -> str:
    """Title of the page."""
    return f"Table {TABLE_4.number}: {TABLE_4.title} ({settings.scale} scale)"


def about(settings: Settings) -> list[str]:
    """What a reader must know to judge the numbers."""
    data = named_images(settings.scale, settings.data_root)
    recipe = "`paper`" if settings.scale == "paper" else "`lite`"
    return [
        f"- `{settings.command(TABLE_4_NAME)}`",
        *(
            f"- {name}: classifiers trained on {describe(train)}, measured on {describe(test)}."
            for name, (train, test) in data.items()
        ),
        f"- Classifiers: the recipe {recipe}, with seeds 0 to {settings.seeds - 1}, each trained on the proposals that "
        f"it names. Minutes are of training, without proposing. The networks that propose have seed {NETWORK_SEED}; "
        "how much depends on that seed is not measured.",
        "- Rows that differ only in N, voting or suppression share their classifiers, trained with the recipe's N. "
        "The classifier of the first row names labelled masks. Without suppression and voting, which perfect masks do "
        "not need, they are the ceiling: what it lacks of 100 is the classifier's error.",
        *([f"- `lite` has the weights {shipped_weights()}."] if settings.scale == "mini" else []),
        f"- Up to {MAX_SEGMENTS} segments an image, of score {MIN_SCORE} or more. COCO AP has no interval.",
    ]


def to_markdown(
    settings: Settings, rows: Sequence[PrecisionRow], findings: Sequence[Finding], missing: Sequence[str]
) -> str:
    """The whole page.

    Args:
        missing: labels of the rows that are not measured yet.
    """
    lines = [f"# {title(settings)}", "", *([DRY, ""] if settings.dry else []), *about(settings)]
    lines += [*([f"- **Not made yet: {'; '.join(missing)}.**"] if missing else []), ""]
    header = ["proposals", "seeds", "minutes", *COLUMNS]
    for data in dict.fromkeys(row.data for row in rows):
        lines += [f"## {data}", "", *markdown_table(header, [row.cells() for row in rows if row.data == data]), ""]
    published = [[name, *("-" if n is None else f"{n:.1f}" for n in numbers)] for name, numbers in TABLE_4.rows]
    lines += [f"## The paper, on {TABLE_4.data}", "", *markdown_table(["", *TABLE_4.columns], published), ""]
    shown = [found for found in findings if found.measure.endswith(THE_PAPERS_VARIANT)]
    lines += [
        *(
            "## Differences",
            "",
            "Only the claim on networks trained alike is the paper's. The .json also has the area variant.",
            "",
        ),
        *findings_lines(shown, "points of mAP^r", "measure", PRECISION_DRAWS),
    ]
    return "\n".join(lines)


def to_json(
    settings: Settings, rows: Sequence[PrecisionRow], findings: Sequence[Finding], missing: Sequence[str]
) -> str:
    """The page for programs."""
    table = {
        "title": title(settings),
        "dry_run": settings.dry,
        "about": about(settings),
        "not_made_yet": list(missing),
        "rows": [
            {
                "data": row.data,
                "method": row.naming.label,
                "slug": row.naming.slug,
                "minutes": [measured.seconds / 60 for measured in row.seeds],
                "seeds": [dict(zip(COLUMNS, numbers, strict=True)) for numbers in row.numbers()],
            }
            for row in rows
        ],
        "published": {name: dict(zip(TABLE_4.columns, numbers, strict=True)) for name, numbers in TABLE_4.rows},
        "findings": [asdict(found) for found in findings],
    }
    return json_text(table)
