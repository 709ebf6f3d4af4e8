"""A validation report as lines of text."""

from __future__ import annotations

from collections.abc import Mapping

from instancefcn.data import Report
from instancefcn.training.coverage import Coverage

BAR_LENGTH = 40  # characters
MOST_CATEGORIES = 20  # listed


def describe(report: Report) -> list[str]:
    """Lines of the counts of a source."""
    partial = ", partially labelled" if report.partial else ""
    lines = [
        f"{report.name}{partial}",
        f"  {report.images} images, {report.empty_images} of them without instances",
        f"  {report.instances} instances, {report.crowds} of them crowds, {report.ignored} marked as not to be judged",
        "  by category:",
        *bars(dict(sorted(report.instances_per_category.items(), key=lambda item: -item[1])[:MOST_CATEGORIES])),
    ]
    if len(report.instances_per_category) > MOST_CATEGORIES:
        lines.append(f"    and {len(report.instances_per_category) - MOST_CATEGORIES} more categories")
    return [*lines, "  by size (square root of the area, in pixels):", *bars(report.size_histogram)]


def describe_coverage(coverage: Coverage, recipe: str) -> str:
    """A line that says which share of the instances training can learn."""
    return (
        f"  coverage under the recipe {recipe}: {coverage.share:.1%} of {coverage.instances} instances are positive at "
        f"some scale; {coverage.tiny} are too small to be judged, "
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
