"""The list of jobs: every job can be made, in this order, and the page says how far it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from instancefcn.files import write_whole
from reproduce import queue_page
from reproduce.experiments import make_row
from reproduce.job_queue import Queue
from reproduce.jobs import PAGE_SIZES, Job, Machine, Page, jobs
from reproduce.methods import OURS
from reproduce.queue import make_queue
from reproduce.queue_page import SECONDS, estimate, write_queue_page
from reproduce.runner import Runner, UnfinishedError
from reproduce.settings import Settings

MACHINES: tuple[Machine, ...] = get_args(Machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_row_is_one_of_its_page(machine: Machine, mini_tree: Path, tmp_path: Path) -> None:
    # Nothing is there, so a row that exists says that it is not finished.
    runner = Runner(Settings("mini", mini_tree, tmp_path / "out", finished=True))
    for job in jobs(machine):
        if job.row:
            with pytest.raises(UnfinishedError):
                make_row(job.page, job.row, runner, job.seed, job.images, job.rate)


@pytest.mark.parametrize("machine", MACHINES)
def test_jobs_come_in_an_order_that_works(machine: Machine) -> None:
    listed = jobs(machine)
    assert max(Counter(job.name for job in listed).values()) == 1
    assert {job.page for job in listed} == set(get_args(Page))
    searched = max(place for place, job in enumerate(listed) if job.page == "rates")
    assert all(place > searched for place, job in enumerate(listed) if PAGE_SIZES[machine][job.page].searched_rates)
    for row in {(job.page, job.row, job.images, job.rate) for job in listed if job.row}:
        seeds = [job.seed for job in listed if (job.page, job.row, job.images, job.rate) == row]
        assert seeds == list(range(len(seeds)))  # pages stop at the first seed that is missing
    assert listed[-1] == Job("table4")  # which wants the networks of Table 2


@pytest.mark.parametrize("machine", MACHINES)
def test_sizes_change_recipes(machine: Machine, tmp_path: Path) -> None:
    for size in PAGE_SIZES[machine].values():
        settings = Settings("mini", tmp_path, tmp_path, iterations=size.steps, changes=size.changes)
        optimization = Runner(settings).recipe(OURS, 0).optimization
        assert optimization.iterations == size.steps
        assert optimization.precision == ("bf16" if machine == "gpu" else "fp32")


def test_estimates_are_steps_and_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SECONDS, "two-cores", {"deepmask": (2.0, 3.0)})
    job = Job("sizes", "deepmask", images=50)
    assert estimate(job, "two-cores") == 4000 * 2.0 + 168 * 3.0
    assert estimate(Job("table2", "deepmask-same-scales"), "two-cores") == 4000 * 2.0 + 143 * 3.0
    # At each of four thresholds of masks, too, on the 129 images of coco-mini val.
    assert estimate(Job("table2", "deepmask"), "two-cores") == 4000 * 2.0 + (143 + 4 * 129) * 3.0
    assert estimate(Job("table2", "ours-k5"), "two-cores") is None
    assert estimate(Job("table4"), "two-cores") == 3 * 3600
    assert estimate(Job("table4"), "gpu") is None


def test_the_page_says_what_is_done_and_what_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_page, "jobs", lambda machine: jobs(machine)[:3])
    queues: dict[Machine, Queue] = {machine: make_queue(machine, tmp_path) for machine in MACHINES}
    first = queues["two-cores"].jobs[0]
    write_whole(queues["two-cores"].record(first), '{"seconds": 600}')
    write_queue_page(tmp_path / "QUEUE.md", queues)
    lines = [line.split(" | ") for line in (tmp_path / "QUEUE.md").read_text().splitlines() if "--row" in line]
    states: list[Any] = [cells[2] for cells in lines]
    assert states == ["done in 10 min", "**next**", "left"]
    assert all("next" not in cells[4] for cells in lines)  # on a GPU another job comes first
