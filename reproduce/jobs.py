"""The jobs that decide the paper's claims and the next shipped checkpoint, in the order in which to run them.

A job is one command, ``python -m reproduce PAGE ...``. It trains, proposes and measures, and goes on where it was
stopped. It has a size for two CPU cores, where a process has one thread, and one for a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reproduce.methods import CROPS, DEEPMASK, EXPERIMENTS
from reproduce.rates import FACTORS, SEARCHED
from reproduce.sizes import SIZE_METHODS, SIZES
from reproduce.sources import ROWS as SOURCE_ROWS

Machine = Literal["two-cores", "gpu"]
Page = Literal["rates", "table1", "table2", "sizes", "sources", "vgg16", "table4"]
Training = Literal["ours", "crops", "deepmask", "vgg16", "lite"]

SEEDS = 3
SIZE_SEEDS = 2


@dataclass(frozen=True)
class Size:
    """How much every row of a page is trained."""

    steps: int
    changes: tuple[str, ...] = ()  # of the recipe, as --set takes them
    searched_rates: bool = False

    def options(self) -> list[str]:
        """Options of ``python -m reproduce``."""
        changes = [word for change in self.changes for word in ("--set", change)]
        return ["--iterations", str(self.steps), *changes, *["--searched-rates"] * self.searched_rates]


_LONG = ("optimization.warmup_iterations=100", "optimization.ema_decay=0.995")
_SIXTEEN = ("optimization.batch_size=16", "optimization.precision=bf16")
_TABLES: tuple[Page, ...] = ("table1", "table2", "sizes", "table4")
PAGE_SIZES: dict[Machine, dict[Page, Size]] = {
    "two-cores": {
        "rates": Size(600),
        **dict.fromkeys(_TABLES, Size(4000, _LONG, searched_rates=True)),
        "sources": Size(2000),
        "vgg16": Size(600),
    },
    "gpu": {
        "rates": Size(600, _SIXTEEN),
        **dict.fromkeys(_TABLES, Size(2500, (*_LONG, *_SIXTEEN), searched_rates=True)),
        "sources": Size(3000, ("optimization.batch_size=20", "optimization.precision=bf16")),
        "vgg16": Size(2500, (*_LONG, "optimization.batch_size=8", "optimization.precision=bf16")),
    },
}
# Images that a row of a page is measured on.
MEASURED: dict[Page, int] = {"rates": 99, "table1": 143, "table2": 143, "sizes": 168, "sources": 550, "vgg16": 143}


@dataclass(frozen=True)
class Job:
    """A row of a page with one seed; or a whole page, if it has no row."""

    page: Page  # the experiment whose page reads what the job makes
    row: str = ""
    seed: int = 0
    images: int = 0  # to train on; 0 for all
    rate: float = 1.0  # factor on the learning rate

    @property
    def name(self) -> str:
        """Such as ``sizes-deepmask-n50-seed1``; a file name."""
        if not self.row:
            return self.page
        rate = f"-x{self.rate:g}" if self.page == "rates" else ""
        return f"{self.page}-{self.row}{rate}{f'-n{self.images}' if self.images else ''}-seed{self.seed}"

    def arguments(self) -> list[str]:
        """Arguments of ``python -m reproduce``, without sizes, folders and devices."""
        if not self.row:
            return [self.page, "--seeds", str(SEEDS)]
        images = ["--images", str(self.images)] if self.images else []
        rate = ["--rate", f"{self.rate:g}"] if self.page == "rates" else []
        return [self.page, "--row", self.row, "--seed", str(self.seed), *images, *rate]

    @property
    def training(self) -> Training:
        """What is trained."""
        if self.page in ("sources", "vgg16"):
            return "lite" if self.page == "sources" else "vgg16"
        return "crops" if self.row == CROPS.slug else "deepmask" if self.row.startswith(DEEPMASK.slug) else "ours"


def jobs(machine: Machine) -> list[Job]:
    """All jobs in order.

    The shipped checkpoint comes first on a GPU. On two cores its tries are too small to ship, so they come after the
    first answer to Table 2.
    """
    rows = {
        table.name: [method.slug for method in table.at("mini").methods if method.recipe is not None]
        for table in EXPERIMENTS
    }
    rates = [Job("rates", method.slug, rate=rate) for method in SEARCHED for rate in FACTORS]
    table2 = [[Job("table2", row, seed) for row in rows["table2"]] for seed in range(SEEDS)]
    sizes = [
        [Job("sizes", method.slug, seed, size) for seed in range(SIZE_SEEDS) for method in SIZE_METHODS]
        for size in SIZES
        if size  # all images are a row of Table 2
    ]
    sources = [Job("sources", row) for row in SOURCE_ROWS]
    table1 = [Job("table1", row, seed) for seed in range(SEEDS) for row in rows["table1"] if row not in rows["table2"]]
    first = [*rates, *table2[0], *table2[1], *sizes[0]]
    begun = [*sources, *first] if machine == "gpu" else [*first, *sources]
    return [
        *begun,
        *table2[2],
        *table1,
        *(job for of_size in sizes[1:] for job in of_size),
        Job("vgg16", "vgg16"),
        Job("table4"),
    ]


def arguments(job: Job, machine: Machine) -> list[str]:
    """Arguments of ``python -m reproduce``, without folders and devices."""
    return [*job.arguments(), *PAGE_SIZES[machine][job.page].options()]
