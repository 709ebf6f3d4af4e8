"""``instancefcn validate``: counts, problems and coverage of labelled data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from instancefcn.apps.options import AsJson, CrowdsOfOnePart, RecipeName, SourceSpecs, SplitParts
from instancefcn.apps.printing import echo, print_json

if TYPE_CHECKING:
    from instancefcn.data.validation import Report
    from instancefcn.training.coverage import Coverage

BAR_LENGTH = 40  # characters
MOST_CATEGORIES = 20  # listed


def validate(
    data: SourceSpecs,
    recipe: RecipeName = "lite",
    split_parts: SplitParts = False,
    crowds_of_one_part: CrowdsOfOnePart = False,
    as_json: AsJson = False,
) -> None:
    """Look through labelled images before training: every problem, counts, sizes and coverage.

    [bold]instancefcn validate[/] --data coco:train.json,images
    [dim]What is wrong, with file and annotation id; then what is left, which is what training sees.[/]

    [bold]instancefcn validate[/] --data labels:nuclei --data labelme:cells [bold]--recipe[/] paper
    [dim]Coverage under another recipe: the share of instances of a size that its windows learn.[/]

    [bold]instancefcn validate[/] --data coco:train.json,images [bold]--json[/] > labels.json
    [dim]The same for a program.[/]

    Exit code 1 if there are any problems. Training skips what has one, and leaves its place aside; of what has a note
    the mask is sound.
    """
    from instancefcn.data.open import open_source
    from instancefcn.data.validation import background_note, count_labels
    from instancefcn.training.coverage import coverage
    from instancefcn.training.learnable import check_learnable
    from instancefcn.training.recipe import load_recipe
    from instancefcn.training.sides import hint

    chosen = load_recipe(recipe)
    problems = 0
    tables: list[dict[str, Any]] = []
    for spec in data:
        source = open_source(spec, split_parts=split_parts, crowds_of_one_part=crowds_of_one_part, anew=True)
        counts = count_labels(source)
        listed = [*map(str, source.problems)]
        if counts.instances or (len(data) == 1 and not listed):  # beside other data, images may be background alone
            try:
                check_learnable([source])
            except ValueError as error:
                listed.append(str(error))
        problems += len(listed)
        background = background_note(source)
        notes, covered = [*map(str, source.notes), *([background] if background else [])], coverage(source, chosen)
        advice = hint(source, chosen, covered)
        if as_json:
            about = {"name": source.name, "partial": source.partial, "problems": listed, "notes": notes}
            learnt = {"recipe": recipe, "share": covered.share} | asdict(covered)
            tables.append(about | {"counts": asdict(counts), "coverage": learnt, "advice": advice or None})
            continue
        title = source.name + (", partially labelled" if source.partial else "")
        lines = [*listed, *(f"note: {note}" for note in notes), title, *describe(counts)]
        lines.append(describe_coverage(covered, recipe))
        echo("\n".join([*lines, *([f"  train and propose with {advice}"] if advice else [])]))
    if as_json:
        print_json({"problems": problems, "sources": tables})
    if problems:
        echo(f"{problems} problems; training skips what has one", err=True)
        raise typer.Exit(1)


def describe(report: Report) -> list[str]:
    """Lines that say the counts of a source."""
    lines = [
        f"  {report.images} images, {report.empty_images} of them without instances",
        f"  {report.instances} instances, {report.crowds} of them crowds, {report.ignored} marked as not to be judged",
        "  by category:",
        *bars(dict(Counter(report.instances_per_category).most_common(MOST_CATEGORIES))),
    ]
    if len(report.instances_per_category) > MOST_CATEGORIES:
        lines.append(f"    and {len(report.instances_per_category) - MOST_CATEGORIES} more categories")
    return [*lines, "  by size (square root of the area, in pixels):", *bars(report.size_histogram)]


def describe_coverage(coverage: Coverage, recipe: str) -> str:
    """A line that says which share of the instances training can learn."""
    if not coverage.instances:
        return f"  coverage under the recipe {recipe}: there is no instance to learn"
    return (
        f"  coverage under the recipe {recipe}: {coverage.share:.1%} of {coverage.instances} instances are positive at "
        f"a side that it proposes at; {coverage.tiny} are too small to be judged, "
        f"{coverage.instances - coverage.tiny - coverage.covered} fit no window"
    )


def bars(counts: Mapping[str, int]) -> list[str]:
    """A line for each count, with a bar of proportional length."""
    label_width = max((len(label) for label in counts), default=0)
    count_width = max((len(str(count)) for count in counts.values()), default=0)
    longest = max([1, *counts.values()])
    return [
        f"    {label:>{label_width}} {count:>{count_width}} {'#' * round(BAR_LENGTH * count / longest)}".rstrip()
        for label, count in counts.items()
    ]
