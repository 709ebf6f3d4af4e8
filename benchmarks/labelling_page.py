"""The page of ``benchmarks/labelling.py``: a table and a chart of every run that is there.

    python benchmarks/labelling_page.py [--runs FOLDER] [--page docs/results/labelling.md]

The chart is written beside the page, under its name, as PNG. A note.md in the runs' folder, on what is
particular to them, stands before their tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instancefcn.evaluation.curves import empty_figure, render
from instancefcn.files import read_json, write_whole

# Colours after Okabe and Ito, from nothing to do to all to do.
EDITS = {"accepted": "#009e73", "corrected": "#e69f00", "drawn": "#c9ced6"}
DELETED = "#d55e00"
HIGHEST = 150.0  # percent of the labelled objects, in the chart
NOTE_FILE = "note.md"
HEADER = """# How much drawing proposals save

A simulated labeller (`benchmarks/labelling.py`) starts without labels. In each round the network proposes objects on
the next images. Each labelled object is **accepted** as it was proposed (IoU of 0.8 or more, one to one), **corrected**
(0.5 or more) or **drawn**, and each proposed object that is none is **deleted**. Then the images get their labels, and
a network is trained anew on all that are labelled. Shares are percent of the labelled objects, so accepted, corrected
and drawn add up to 100. On the left of a table they are of the next images, which the labeller works on; on the right,
with F1, of the val split, which nothing is trained on or chosen by.

![Shares by round]({chart})

The chart is of the next images, of the runs with the most rounds; where more is deleted than {highest:.0f} %, the
line is cut.
"""


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run that has a round, by domain, the shipped weights first."""
    runs = [read_json(path) for path in sorted(folder.glob("*/rounds.json"))]
    return sorted(
        (run for run in runs if run["rounds"]),
        key=lambda run: (run["settings"]["domain"], run["settings"]["init"] != "shipped", run["settings"]["init"]),
    )


def way(settings: Mapping[str, Any]) -> str:
    """What tells a run from others of its domain, but for its iterations."""
    more = [] if settings["choose"] == "random" else [f"{settings['choose']} images next"]
    more += [] if settings["seed"] == 0 else [f"seed {settings['seed']}"]
    more += [] if settings["images"] == 10 else [f"{settings['images']} a round"]
    return ", ".join([f"from {Path(settings['init']).stem} weights", *more])


def title(settings: Mapping[str, Any]) -> str:
    """A run's name."""
    iterations = [] if settings["iterations"] is None else [f"{settings['iterations']} iterations"]
    return ", ".join([settings["domain"], way(settings), *iterations])


def command(settings: Mapping[str, Any], rounds: int) -> str:
    """What makes a run."""
    budget = (
        ("minutes", settings["minutes"]) if settings["iterations"] is None else ("iterations", settings["iterations"])
    )
    options = {
        "domain": settings["domain"],
        "init": settings["init"],
        "choose": settings["choose"],
        "seed": settings["seed"],
        "round": settings["images"],
        "rounds": rounds,
        budget[0]: budget[1],
        "recipe": settings["recipe"],
    }
    return "python benchmarks/labelling.py " + " ".join(f"--{name} {value}" for name, value in options.items())


def shares(counts: Mapping[str, Any]) -> dict[str, float] | None:
    """Each edit in percent of the instances; None where there are none."""
    names = (*EDITS, "deleted")
    return {name: 100 * counts[name] / counts["instances"] for name in names} if counts.get("instances") else None


def table(run: Mapping[str, Any]) -> str:
    """A run's rounds as Markdown."""
    edits = (*EDITS, "deleted")
    lines = [
        f"| labelled images | {' | '.join(edits)} | val F1 at 0.5 | at 0.75 | {' | '.join(edits)} |",
        f"|{'---|' * (2 * len(edits) + 3)}",
    ]
    for found in run["rounds"]:
        cells = [str(found["labelled"])]
        for part in ("next", "val"):
            if part == "val":
                cells += [_percent(found["val"].get(f"F1@{at}")) for at in ("0.5", "0.75")]
            own = shares(found[part]) or {}
            cells += [_percent(own.get(name)) for name in edits]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def section(run: Mapping[str, Any]) -> str:
    """A run: its table, and what it was measured by and on."""
    settings, machine, trained = run["settings"], run["machine"], run["rounds"][1:]
    iterations = ", ".join(str(found["iterations"]) for found in trained) or "none"
    seconds = ", ".join(f"{found['seconds']:.0f}" for found in trained) or "none"
    return f"""
## {title(settings)}

{table(run)}

`{command(settings, len(trained))}`: {machine["cpu"]}, {machine["cores"]} cores, {machine["threads"]} threads.
Iteration of the best checkpoint of each training, which proposed: {iterations}. Seconds: {seconds}.
"""


def draw(runs: Sequence[Mapping[str, Any]]) -> bytes:
    """The chart, PNG: a panel for each run, bars of shares for each round that had next images.

    Of the runs that have the most of them: others compare less, and have no panel.
    """
    from matplotlib.lines import Line2D

    numbers = [sum(shares(found["next"]) is not None for found in run["rounds"]) for run in runs]
    runs = [run for run, number in zip(runs, numbers, strict=True) if number == max(numbers)]
    domains = list(dict.fromkeys(run["settings"]["domain"] for run in runs))
    starts = list(dict.fromkeys(way(run["settings"]) for run in runs))
    figure = empty_figure(2.6 * max(len(domains), 2), 2.6 * len(starts) + 0.6)
    handles = [Line2D([], [], color=color, linewidth=6, label=name) for name, color in EDITS.items()]
    handles.append(Line2D([], [], color=DELETED, marker="o", markersize=3, label="deleted"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=9)
    panels = figure.subplots(len(starts), len(domains), sharey=True, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    highest = 100.0
    for run in runs:
        domain, start = run["settings"]["domain"], way(run["settings"])
        axes = panels[starts.index(start)][domains.index(domain)]
        axes.set_axis_on()
        rounds = [(found["labelled"], own) for found in run["rounds"] if (own := shares(found["next"]))]
        labels, places = [str(labelled) for labelled, _ in rounds], range(len(rounds))
        bottom = [0.0] * len(rounds)
        for name, color in EDITS.items():
            heights = [own[name] for _, own in rounds]
            axes.bar(places, heights, bottom=bottom, color=color, width=0.8)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        deleted = [min(own["deleted"], HIGHEST) for _, own in rounds]
        axes.plot(places, deleted, color=DELETED, marker="o", markersize=3, linewidth=1.5, clip_on=False)
        highest = max([highest, *deleted])
        axes.set_xticks(list(places), labels)
        axes.set_xlabel("labelled images")
        axes.set_title("\n".join([domain, *start.split(", ")]), fontsize=9, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylim(0, highest)  # of all, as they share it
    for row in panels:
        row[0].set_ylabel("% of labelled objects")
    return render(figure, "png")


def write_page(runs: Sequence[Mapping[str, Any]], path: Path, note: str = "") -> None:
    """Write the page, and its chart beside it.

    Args:
        note: a text before the tables.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("no run has a round yet: start benchmarks/labelling.py first")
    chart = path.with_suffix(".png")
    write_whole(chart, draw(runs))
    header = HEADER.format(chart=chart.name, highest=HIGHEST) + note
    write_whole(path, header + "".join(section(run) for run in runs))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("benchmarks/runs/labelling"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, default=Path("docs/results/labelling.md"), help="default: %(default)s")
    arguments = parser.parse_args()
    file = arguments.runs / NOTE_FILE
    note = file.read_text(encoding="utf-8") if file.exists() else ""
    write_page(read_runs(arguments.runs), arguments.page, note)
    print(arguments.page)


if __name__ == "__main__":
    main()
