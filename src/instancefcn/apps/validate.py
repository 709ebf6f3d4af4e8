"""``instancefcn validate``: counts, problems and coverage of labelled data."""

from __future__ import annotations

import typer

from instancefcn.apps.options import RecipeName, SourceSpecs


def validate(data: SourceSpecs, recipe: RecipeName = "lite") -> None:
    """Look through labelled images before training: every problem, counts, sizes and coverage.

    [bold]instancefcn validate[/] --data coco:train.json,images
    [dim]What is wrong, with file and annotation id; then what is left, which is what training sees.[/]

    [bold]instancefcn validate[/] --data labels:nuclei --data labelme:cells [bold]--recipe[/] paper
    [dim]Coverage under another recipe: the share of instances of a size that its windows learn.[/]

    Exit code 1 if there are any problems. Training skips what has one.
    """
    from instancefcn.apps.validation_text import describe, describe_coverage
    from instancefcn.data import open_source
    from instancefcn.data import validate as look_through
    from instancefcn.training.coverage import coverage
    from instancefcn.training.recipe import load_recipe

    chosen = load_recipe(recipe)
    problems = 0
    for spec in data:
        source = open_source(spec)
        report = look_through(source)
        problems += len(report.problems)
        lines = [*map(str, report.problems), *describe(report), describe_coverage(coverage(source, chosen), recipe)]
        typer.echo("\n".join(lines))
    if problems:
        typer.echo(f"{problems} problems; training skips what has one", err=True)
        raise typer.Exit(1)
