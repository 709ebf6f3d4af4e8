"""Pages on recall: a row for each method and test set, as markdown for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instancefcn.evaluation.average_recall import AVERAGES, ImageRecall
from instancefcn.evaluation.compare import DRAWS
from instancefcn.evaluation.matching import MAX_PROPOSALS
from instancefcn.files import write_whole
from reproduce.report import DRY, average_recalls, findings_lines, json_text, markdown_table
from reproduce.speed import Speed
from reproduce.verdict import Finding

_LIMITS = ", ".join(str(n) for n in MAX_PROPOSALS)
# Headers of columns with a number for each of ``MAX_PROPOSALS``: Hosang's, with which the paper's numbers are compared.
COMPARED, OTHERS = f"AR_hosang@{_LIMITS}", (f"AR@{_LIMITS} (COCO)", f"AR by best IoU@{_LIMITS}")
MEASURED = {
    COMPARED: AVERAGES["Hosang AR, one to one"],
    OTHERS[0]: AVERAGES["COCO AR"],
    OTHERS[1]: AVERAGES["Hosang AR, best IoU"],
}


@dataclass(frozen=True)
class RecallRow:
    """Recall of a method on a test set; of a method that only the paper measured, its numbers alone."""

    test: str
    regions: str  # "masks" or "boxes"
    method: str
    recalls: tuple[ImageRecall, ...] = ()  # one for each seed
    mask_parameters: int | None = None  # of the layer that makes masks
    iterations: tuple[int, ...] = ()
    minutes: tuple[float, ...] = ()
    published: tuple[float | None, ...] | None = None
    speeds: tuple[Speed, ...] = ()  # one for each seed whose time was measured

    def numbers(self) -> list[dict[str, float]]:
        """Percent of each measure in ``MEASURED``, by its key, for each seed."""
        measures = [recall.measures() for recall in self.recalls]
        return [{key: own[key].percent() for keys in MEASURED.values() for key in keys} for own in measures]

    def cells(self) -> list[str]:
        """Cells of its line on the page."""
        steps = f"{np.mean(self.iterations):.0f}" if self.iterations else "-"
        return [
            self.method,
            self._of_seeds(COMPARED),
            " ".join("-" if number is None else f"{number:.1f}" for number in self.published or ()) or "-",
            *(self._of_seeds(column) for column in OTHERS),
            f"{self.mask_parameters:,}" if self.mask_parameters else "-",
            f"{steps} x {len(self.iterations)}" if len(self.iterations) > 1 else steps,
            f"{np.mean(self.minutes):.1f}" if self.minutes else "-",
            f"{np.mean([speed.median() for speed in self.speeds]):.2f}" if self.speeds else "-",
        ]

    def _of_seeds(self, column: str) -> str:
        """A number for each of ``MAX_PROPOSALS``."""
        if not self.recalls:
            return "-"
        return (", " if len(self.recalls) > 1 else " ").join(average_recalls(self.recalls, MEASURED[column]))


@dataclass(frozen=True)
class RecallPage:
    """A page on one experiment."""

    title: str
    about: Sequence[str]  # lines of markdown
    rows: Sequence[RecallRow]
    findings: Sequence[Finding]
    published_on: str  # data set of the paper's numbers
    dry: bool

    def write(self, path: Path) -> None:
        """As markdown, and as JSON beside it."""
        write_whole(path, self.markdown())
        write_whole(path.with_suffix(".json"), self.json())

    def markdown(self) -> str:
        """The page for people."""
        lines = [f"# {self.title}", "", *([DRY, ""] if self.dry else []), *self.about, *_HOW, *self._devices(), ""]
        published = f"the paper ({self.published_on})"
        header = ["", COMPARED, published, *OTHERS, "weights of the mask layer", "steps", "minutes", "seconds an image"]
        for part in dict.fromkeys((row.test, row.regions) for row in self.rows):
            body = [row.cells() for row in self.rows if (row.test, row.regions) == part]
            lines += [f"## {', '.join(part)}", "", *markdown_table(header, body), ""]
        if self.findings:
            lines += ["## What the paper claims", ""]
            lines += findings_lines(self.findings, "points of AR_hosang", "AR", DRAWS)
        return "\n".join(lines)

    def _devices(self) -> list[str]:
        """The line on where seconds were measured."""
        devices = sorted({speed.device for row in self.rows for speed in row.speeds})
        how = "to propose, without reading the file; the median over images, and the mean of it over seeds"
        return [f"- Seconds an image: {how}. On {'; '.join(devices)}."] if devices else []

    def json(self) -> str:
        """The page for programs."""
        table = {
            "title": self.title,
            "dry_run": self.dry,
            "about": list(self.about),
            "rows": [
                {
                    "test": row.test,
                    "regions": row.regions,
                    "method": row.method,
                    "mask_parameters": row.mask_parameters,
                    "iterations": row.iterations,
                    "minutes": row.minutes,
                    "seconds_an_image": [speed.median() for speed in row.speeds],
                    "devices": [speed.device for speed in row.speeds],
                    "seeds": row.numbers(),
                    "published": row.published,
                }
                for row in self.rows
            ],
            "findings": [asdict(found) for found in self.findings],
        }
        return json_text(table)


_HOW = (
    "- In percent, with the best 10, 100 and 1,000 proposals of an image. `AR_hosang`: twice the area under recall "
    "over IoU in [0.5, 1], one proposal to one instance, highest IoU first, as Hosang's public code matches. The "
    "paper's numbers stand beside it, and verdicts go by it. By best IoU: the same area, but a proposal may find "
    "several instances. COCO: mean recall over IoU .5, .55, ... .95, one proposal to one instance, best score first.",
)
