"""Tables and findings of an experiment as markdown and JSON, beside the numbers that the paper printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.compare import CONFIDENCE, DRAWS
from instancefcn.evaluation.matching import MAX_PROPOSALS
from reproduce.verdict import Finding

DRY = "**DRY RUN: a few steps on a few images, to see that everything is there. The numbers mean nothing.**"
COLUMNS = (*(f"AR@{n}" for n in MAX_PROPOSALS), *(f"Hosang AR@{n}" for n in MAX_PROPOSALS))


@dataclass(frozen=True)
class RecallRow:
    """A method on a test set."""

    test: str
    regions: str  # "masks" or "boxes"
    method: str
    recalls: tuple[ImageRecall, ...]  # one for each seed
    mask_parameters: int | None = None  # of the layer that makes masks
    iterations: tuple[int, ...] = ()
    minutes: tuple[float, ...] = ()
    published: tuple[float | None, ...] | None = None

    def numbers(self) -> list[list[float]]:
        """Of each seed, by ``COLUMNS``."""
        metrics = [recall.metrics() for recall in self.recalls]
        return [[own[rules][f"AR@{n}"] for rules in ("coco", "hosang") for n in MAX_PROPOSALS] for own in metrics]


def to_markdown(
    title: str,
    about: Sequence[str],
    rows: Sequence[RecallRow],
    findings: Sequence[Finding],
    published_on: str,
    dry: bool,
) -> str:
    """The whole page."""
    lines = [f"# {title}", "", *([DRY, ""] if dry else []), *about, ""]
    for test, regions in dict.fromkeys((row.test, row.regions) for row in rows):
        lines += [f"## {test}, {regions}", ""]
        header = ["", "parameters of the mask layer", "steps", "minutes", *COLUMNS, f"the paper ({published_on})"]
        body = [_cells(row) for row in rows if (row.test, row.regions) == (test, regions)]
        lines += [*markdown_table(header, body), ""]
    if findings:
        lines += ["## What the paper claims", "", *findings_lines(findings, "points of COCO's AR", "AR", DRAWS)]
    return "\n".join(lines)


def findings_lines(findings: Sequence[Finding], unit: str, measure: str, draws: int) -> list[str]:
    """Differences, and what follows from them.

    Args:
        unit: what differences are in.
        measure: heads the column of the number that is compared.
    """
    return [
        f"Differences in {unit}, with the {CONFIDENCE:.0%} interval of a paired bootstrap over images "
        f"({draws:,} draws), of the means over seeds. Held or not held: the interval, and no seed against it.",
        "",
        *markdown_table(
            ["claim", "on", measure, "difference", "interval", "of each seed", "verdict"],
            [
                [
                    found.claim,
                    found.test,
                    found.measure.rpartition("/")[2],
                    f"{found.difference.difference:+.1f}",
                    f"{found.difference.low:+.1f} to {found.difference.high:+.1f}",
                    " ".join(f"{value:+.1f}" for value in found.of_seeds),
                    found.verdict,
                ]
                for found in findings
            ],
        ),
        "",
    ]


def to_json(title: str, about: Sequence[str], rows: Sequence[RecallRow], findings: Sequence[Finding], dry: bool) -> str:
    """The same for programs; None for what is not a number."""
    table = {
        "title": title,
        "dry_run": dry,
        "about": list(about),
        "rows": [
            {
                "test": row.test,
                "regions": row.regions,
                "method": row.method,
                "mask_parameters": row.mask_parameters,
                "iterations": row.iterations,
                "minutes": row.minutes,
                "seeds": [dict(zip(COLUMNS, numbers, strict=True)) for numbers in row.numbers()],
                "published": row.published,
            }
            for row in rows
        ],
        "findings": [asdict(found) for found in findings],
    }
    return json_text(table)


def _cells(row: RecallRow) -> list[str]:
    several = len(row.recalls) > 1
    return [
        row.method,
        f"{row.mask_parameters:,}" if row.mask_parameters else "-",
        "-" if not row.iterations else f"{np.mean(row.iterations):.0f}" + (f" x {len(row.iterations)}" * several),
        f"{np.mean(row.minutes):.1f}" if row.minutes else "-",
        *(mean_and_spread(of_seeds) for of_seeds in zip(*row.numbers(), strict=True)),
        " ".join("-" if number is None else f"{number:.1f}" for number in row.published) if row.published else "-",
    ]


def mean_and_spread(values: Sequence[float]) -> str:
    """Of all seeds."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values):.1f}" if len(values) > 1 else "")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def json_text(table: Mapping[str, Any]) -> str:
    """JSON, which has no NaN: None in its place."""
    return json.dumps(_without_nan(table), indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
