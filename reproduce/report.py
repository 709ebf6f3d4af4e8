"""What all pages share: tables of markdown, differences with verdicts, JSON without NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.compare import CONFIDENCE
from instancefcn.files import write_whole
from instancefcn.values import nan_as_none
from reproduce.settings import Settings
from reproduce.verdict import Finding

DRY = "**DRY RUN: a few steps on a few images, to see that everything is there. The numbers mean nothing.**"


def findings_lines(findings: Sequence[Finding], unit: str, measure: str, draws: int) -> list[str]:
    """Lines of markdown: how to read the differences, then a table of them with their verdicts.

    Args:
        unit: of the differences.
        measure: header of the column that names the compared number.
        draws: of the bootstrap.
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


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean over seeds; with several of them also the standard deviation."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values):.1f}" if len(values) > 1 else "")


def average_recalls(recalls: Sequence[ImageRecall], measures: Sequence[str]) -> list[str]:
    """Percent of some measures, such as those of ``AVERAGES``; of several seeds the mean and the spread."""
    of_seeds = [recall.measures() for recall in recalls]
    return [mean_and_spread([own[measure].percent() for own in of_seeds]) for measure in measures]


def write_page(
    settings: Settings, name: str, title: str, notes: Sequence[str], table: Sequence[str], kept: Mapping[str, Any]
) -> Path:
    """Write ``NAME.md``, a table below its title, its command and notes, and ``NAME.json``; return the first's path.

    Args:
        title: without the scale.
        table: lines of markdown.
        kept: what the JSON holds.
    """
    lines = [
        f"# {title} ({settings.scale} scale)",
        "",
        *([DRY, ""] if settings.dry else []),
        f"- `{settings.command(name)}`",
        *(f"- {note}" for note in notes),
        "",
        *table,
    ]
    page = settings.folder / f"{name}.md"
    write_whole(page, "\n".join(lines) + "\n")
    write_whole(page.with_suffix(".json"), json_text(kept))
    return page


def picture_name(page: str, test: str) -> str:
    """Name of a page's picture of a test set."""
    return f"{page}-{test.split(',')[0].replace(' ', '-')}.png"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def json_text(table: Mapping[str, Any]) -> str:
    """JSON, with null for NaN, which JSON does not have."""
    return json.dumps(nan_as_none(table), indent=1, allow_nan=False) + "\n"
