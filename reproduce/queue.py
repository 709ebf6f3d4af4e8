"""``python -m reproduce.queue``: run the experiments' jobs that this kind of machine has not done yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from instancefcn.apps.cli import errors_in_one_line
from reproduce.__main__ import DATA_ROOT
from reproduce.job_queue import Queue, duration
from reproduce.jobs import PAGE_SIZES, SEEDS, Job, Machine, Page, arguments, jobs
from reproduce.queue_page import estimate, write_queue_page

RUNS, QUEUE_PAGE = Path("reproduce/runs"), Path("reproduce/QUEUE.md")  # from the checkout's root

MachineName = Annotated[
    Machine | None, typer.Option("--machine", help="The jobs' size.", show_default="gpu if there is one")
]
DataRoot = Annotated[Path, typer.Option(file_okay=False, exists=True, help="Folder that holds the data sets.")]
Pages = Annotated[
    list[str] | None, typer.Option("--page", help="Jobs of this page alone. May be given again.", show_default="all")
]
RunsFolder = Annotated[Path, typer.Option("--runs", file_okay=False, help="Folder of the results.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_show_locals=False)


@app.callback()
def _about() -> None:
    """Train and measure what the paper's claims and the next shipped checkpoint need, job by job, beside other work.

    [bold]python -m reproduce.queue start[/]
    [dim]In the background, with one thread, at the lowest priority.[/]

    [bold]python -m reproduce.queue stop[/]
    [dim]Loses two minutes of work at most; start goes on from there.[/]

    [bold]python -m reproduce.queue run --minutes 9 --page sources[/]
    [dim]Here and now, and never longer; the jobs of one page alone.[/]

    reproduce/QUEUE.md has the list, reproduce/runs what is done.
    """


@app.command()
def run(
    machine: MachineName = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after this long.")] = None,
    data_root: DataRoot = DATA_ROOT,
    runs: RunsFolder = RUNS,
    pages: Pages = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load images.")] = 1,
) -> None:
    """Run the next jobs, until none is left or the time is up."""
    queue = make_queue(machine or this_machine(), runs, data_root, pages, threads, workers)
    signal.signal(signal.SIGTERM, _end)
    with errors_in_one_line():
        queue.run(60 * minutes if minutes else float("inf"))


@app.command()
def start(
    machine: MachineName = None,
    data_root: DataRoot = DATA_ROOT,
    runs: RunsFolder = RUNS,
    pages: Pages = None,
) -> None:
    """Run the next jobs in the background, and say which."""
    kind = machine or this_machine()
    queue = make_queue(kind, runs, data_root, pages)
    left, taken = [job for job in queue.jobs if not queue.is_done(job)], queue.running()
    if _process(queue.folder) is None:
        queue.folder.mkdir(parents=True, exist_ok=True)
        options = ["--machine", kind, "--data-root", str(data_root), "--runs", str(runs)]
        options += [word for page in pages or () for word in ("--page", page)]
        with (queue.folder / "queue.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "reproduce.queue", "run", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (queue.folder / "queue.pid").write_text(str(process.pid))
        at = next((job.name for job in left if job not in taken), "nothing")
    else:
        at = ", ".join(job.name for job in taken)
    seconds = sum(estimate(job, kind) or 0.0 for job in left)
    typer.echo(f"at work on {at}; {len(left)} of {len(queue.jobs)} jobs left, {duration(seconds)} or more")
    typer.echo(f"it says what it does in {queue.folder / 'queue.log'}; to stop it: python -m reproduce.queue stop")


@app.command()
def stop(machine: MachineName = None, runs: RunsFolder = RUNS) -> None:
    """Stop what ``start`` began. Its job goes on from where it was last saved, two minutes before at most."""
    folder = runs / (machine or this_machine())
    number = _process(folder)
    if number is None:
        typer.echo("nothing runs")
        return
    os.kill(number, signal.SIGTERM)
    os.kill(number, signal.SIGCONT)  # else one that is paused would never end
    while _process(folder) is not None:
        time.sleep(0.1)
    typer.echo("stopped")


@app.command()
def page(runs: RunsFolder = RUNS) -> None:
    """Write reproduce/QUEUE.md anew."""
    write_queue_page(QUEUE_PAGE, {kind: make_queue(kind, runs) for kind in get_args(Machine)})
    typer.echo(QUEUE_PAGE)


def make_queue(
    machine: Machine,
    runs: Path,
    data_root: Path = DATA_ROOT,
    pages: Sequence[str] | None = None,
    threads: int = 1,
    workers: int = 1,
) -> Queue:
    """The queue of a kind of machine; after each job it writes the page that reads the job, and QUEUE.md.

    Args:
        pages: the jobs of these alone.

    Raises:
        typer.BadParameter: no job is of one of the pages.
    """
    if unknown := set(pages or ()) - set(get_args(Page)):
        raise typer.BadParameter(f"no job is of the page {min(unknown)}: choose {', '.join(get_args(Page))}")
    folder = runs / machine
    reproduce = [sys.executable, "-m", "reproduce"]
    places = ["--out", str(folder), "--data-root", str(data_root), "--workers", str(workers)]

    def write_pages(job: Job) -> None:
        size: list[str] = PAGE_SIZES[machine][job.page].options()
        seeds = SEEDS if job.page != "rates" else 1
        if job.row:  # else the job has written its page
            subprocess.run([*reproduce, job.page, "--finished", "--seeds", str(seeds), *size, *places], check=False)
        subprocess.run([sys.executable, "-m", "reproduce.queue", "page", "--runs", str(runs)], check=False)

    chosen = [job for job in jobs(machine) if pages is None or job.page in pages]
    return Queue(chosen, folder, lambda job: [*reproduce, *arguments(job, machine), *places], threads, write_pages)


def this_machine() -> Machine:
    """The kind of this machine."""
    import torch

    return "gpu" if torch.cuda.is_available() else "two-cores"


def _process(folder: Path) -> int | None:
    """The process that ``start`` began, if it runs."""
    pid_file = folder / "queue.pid"
    if not pid_file.exists():
        return None
    number = int(pid_file.read_text())
    command_line = Path(f"/proc/{number}/cmdline")
    return number if command_line.exists() and b"reproduce.queue" in command_line.read_bytes() else None


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    app(prog_name="python -m reproduce.queue")
