"""``instancefcn figure``: the paper's figures, of any checkpoint, image and proposal file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from instancefcn.apps.images import images_of_annotations, output_stems, refuse_others, refuse_to_overwrite
from instancefcn.apps.options import (
    AsJson,
    CheckpointFile,
    ComparedRegions,
    CrowdsOfOnePart,
    DeviceName,
    LabelsFile,
    OutFolder,
    ResultsFiles,
)
from instancefcn.apps.printing import echo, print_json
from instancefcn.files import write_whole

CHART_BEGINS = {  # as matplotlib writes it
    ".png": rb"\x89PNG.*Software\x00Matplotlib",
    ".svg": rb'<\?xml version="1.0" encoding="utf-8" standalone="no"\?>',
}

figure = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

ChartFile = Annotated[
    Path, typer.Option(metavar="FILE", dir_okay=False, help="File to write, .png or .svg; its folder is made.")
]


def format_of(out: Path) -> Literal["png", "svg"]:
    """The format of a chart by the suffix of its file.

    Raises:
        typer.BadParameter: it has another, or a file is there that is no chart.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".svg"):
        raise typer.BadParameter(f"{out} must end in .png or .svg", param_hint="--out")
    refuse_others({out: CHART_BEGINS[suffix]})
    return "png" if suffix == ".png" else "svg"


@figure.callback()
def _about() -> None:
    """Draw figures: score maps, recall curves, what proposals find and miss, the course of a training.

    [bold]instancefcn figure[/] score-maps cat.jpg [bold]--out[/] cat.png

    [bold]instancefcn figure[/] recall val/proposals.json --annotations val.json [bold]--out[/] recall.svg

    [bold]instancefcn figure[/] proposals val/proposals.json --annotations val.json --images val [bold]--out[/] figures

    [bold]instancefcn figure[/] training runs/mine [bold]--out[/] training.png
    """


@figure.command()
def score_maps(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", exists=True, dir_okay=False, help="A photograph.")],
    out: ChartFile,
    checkpoint: CheckpointFile = None,
    window: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Side of the windows, in pixels of the photograph; the nearest that there is.",
            show_default="that of the best window",
        ),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="How many windows to show, at most.")] = 5,
    device: DeviceName = "auto",
) -> None:
    """Draw the instance-sensitive score maps of a photograph, and masks assembled from them (Figure 5).

    [bold]instancefcn figure score-maps[/] cat.jpg [bold]--out[/] cat.png
    [dim]The maps of the window size that has the best window, and its best windows with their masks.[/]

    [bold]instancefcn figure score-maps[/] cat.jpg --window 60 --checkpoint mine.safetensors [bold]--out[/] cat.png
    [dim]Those of the windows nearest to 60 pixels, of your own network. The sizes that there are get printed.[/]

    Each window takes one tile from each map, and the tiles side by side are its mask: a box in a window's colour shows
    where its tile lies. Windows are left out that show what a better one shows, or score a quarter of the best or less.
    """
    refuse_to_overwrite([path for path in (image, checkpoint) if path is not None], [out])
    file_format = format_of(out)

    from instancefcn.data.images import read_image
    from instancefcn.evaluation.curves import render
    from instancefcn.inference.proposer import Proposer, as_tensor
    from instancefcn.viz.score_maps import choose_size, choose_windows, draw_sheet, window_side

    pixels = read_image(image)
    proposer = Proposer.from_checkpoint(checkpoint, device=device)
    groups = proposer.windows(as_tensor(pixels))
    group = choose_size(groups, window)
    shown = choose_windows(group, pixels.shape[0], pixels.shape[1], proposer.config, windows)
    write_whole(out, render(draw_sheet(pixels, group, shown), file_format))
    echo(f"windows there are, pixels: {', '.join(f'{side:.0f}' for side in sorted(map(window_side, groups)))}")
    echo(f"score maps of windows of {window_side(group):.0f} pixels, {len(shown)} windows: {out}")


@figure.command()
def recall(
    proposals: ResultsFiles,
    annotations: LabelsFile,
    out: ChartFile,
    iou: ComparedRegions = "segm",
    crowds_of_one_part: CrowdsOfOnePart = False,
) -> None:
    """Draw recall against IoU with 10, 100 and 1,000 proposals an image, of several files together (Figures 6, 7).

    [bold]instancefcn figure recall[/] val/proposals.json --annotations val.json [bold]--out[/] recall.png

    [bold]instancefcn figure recall[/] mine.json theirs.json --annotations val.json --iou bbox [bold]--out[/] recall.svg
    [dim]One line for each file in each of three panels, of boxes.[/]

    An instance is found where its best IoU with any of the N best proposals of its image is high enough. Numbers and
    intervals of differences: [bold]instancefcn evaluate[/] --compare.
    """
    file_format = format_of(out)
    refuse_to_overwrite([*proposals, annotations], [out])

    from instancefcn.data.result_files import read_results
    from instancefcn.evaluation.average_recall import recall_per_image
    from instancefcn.evaluation.curves import CURVE_THRESHOLDS, FILE_COLORS, draw_recall_panels, render
    from instancefcn.evaluation.labelled_images import LabelledImages
    from instancefcn.evaluation.names import unique_names
    from instancefcn.evaluation.results import parse_results

    if len(proposals) > len(FILE_COLORS):
        raise typer.BadParameter(f"at most {len(FILE_COLORS)} files have colours of their own, not {len(proposals)}")
    labelled = LabelledImages.read(annotations, iou, results=proposals, crowds_of_one_part=crowds_of_one_part)
    images = labelled.images
    curves = {}
    for name, path in zip(unique_names(proposals), proposals, strict=True):
        labelled.refuse_other_images(path)
        scored = parse_results(read_results(path), images, iou, source=str(path))
        curves[name] = recall_per_image(images, scored, iou).curves(CURVE_THRESHOLDS)
    instances = sum(int((~image.crowd).sum()) for image in images)
    title = f"{'Masks' if iou == 'segm' else 'Boxes'} of {instances:,} instances in {len(images):,} images"
    write_whole(out, render(draw_recall_panels(curves, title), file_format))
    echo(f"recall of {len(proposals)} files: {out}")


@figure.command()
def proposals(
    proposals: ResultsFiles,
    annotations: LabelsFile,
    images: Annotated[
        Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder that the images lie in.")
    ],
    out: OutFolder,
    max_proposals: Annotated[int, typer.Option(min=1, help="Of each image, the best to look at.")] = 1000,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="Draw the first images, by their ids.", show_default="all")
    ] = None,
    crowds_of_one_part: CrowdsOfOnePart = False,
    as_json: AsJson = False,
) -> None:
    """Draw the proposal that fits each labelled object best, and what is missed (Figures 8, 9).

    [bold]instancefcn figure proposals[/] val/proposals.json --annotations val.json --images val [bold]--out[/] figures

    [bold]instancefcn figure proposals[/] mine.json theirs.json --annotations val.json --images val
    --max-proposals 100 --max-images 20 [bold]--out[/] figures
    [dim]Two methods beside one another, the best 100 proposals of each, 20 photographs.[/]

    An object is missed where no proposal has an IoU of 0.5 with it: it is white, with a red outline. Images without
    labelled objects are left out. One PNG an image, named as the image.
    """
    from instancefcn.apps.printing import progress_bar, say
    from instancefcn.data.images import read_image
    from instancefcn.data.result_files import read_results
    from instancefcn.evaluation.curves import render
    from instancefcn.evaluation.labelled_images import LabelledImages
    from instancefcn.evaluation.names import unique_names
    from instancefcn.evaluation.results import parse_results
    from instancefcn.viz.best_proposals import draw_beside, find_best

    files = images_of_annotations(annotations, images)
    targets = [out / f"{stem}.png" for stem in output_stems(files)]
    by_id = {file.image_id: (file, target) for file, target in zip(files, targets, strict=True)}
    measured = LabelledImages.read(annotations, "segm", results=proposals, crowds_of_one_part=crowds_of_one_part)
    for path in proposals:
        measured.refuse_other_images(path)
    ground_truth = measured.images
    results = {
        name: parse_results(read_results(path), ground_truth, source=str(path))
        for name, path in zip(unique_names(proposals), proposals, strict=True)
    }
    labelled = [(index, image) for index, image in enumerate(ground_truth) if not image.crowd.all()][:max_images]
    if not labelled:
        raise ValueError(f"{annotations}: no image has a labelled object, so there is nothing to draw")
    pairs = [by_id[image.image_id] for _, image in labelled]
    written = [target for _, target in pairs]
    refuse_to_overwrite([*proposals, annotations, *(file.path for file, _ in pairs)], written)
    refuse_others(dict.fromkeys(written, CHART_BEGINS[".png"]))

    objects, failures, missed = 0, 0, dict.fromkeys(results, 0)
    with progress_bar() as progress:
        for index, image in progress.track(labelled, description="drawing"):
            file, target = by_id[image.image_id]
            try:
                pixels = read_image(file.path, file.size)
            except (ValueError, OSError) as error:
                failures += 1
                say(progress, f"{file.file_name}: {error}")
                continue
            best = {name: find_best(image, ranked[index].top(max_proposals)) for name, ranked in results.items()}
            write_whole(target, render(draw_beside(pixels, best), "png"))
            objects += int((~image.crowd).sum())
            missed = {name: count + best[name].missed for name, count in missed.items()}
    if as_json:
        files = {name: {"found": objects - count, "missed": count} for name, count in missed.items()}
        print_json({"images": len(labelled) - failures, "unreadable": failures, "objects": objects, "files": files})
    else:
        for name, count in missed.items():
            echo(f"{name}: {objects - count} of {objects} objects found, {count} missed")
        echo(f"{len(labelled) - failures} images: {out}")
    if failures:
        echo(f"{failures} of {len(labelled)} images could not be read", err=True)
        raise typer.Exit(1)


@figure.command()
def training(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, help="Folder that `train` wrote to, or its metrics.jsonl.")
    ],
    out: ChartFile,
) -> None:
    """Draw the losses and the validation of a training, also of one that still runs.

    [bold]instancefcn figure training[/] runs/mine [bold]--out[/] training.png

    [bold]instancefcn figure training[/] runs/mine/metrics.jsonl [bold]--out[/] training.svg

    A ring marks the best validation, whose weights best.safetensors has.
    """
    file_format = format_of(out)

    from instancefcn.evaluation.curves import render
    from instancefcn.viz.training import draw_course, read_course

    course = read_course(run)
    name = (run if run.is_dir() else run.absolute().parent).resolve().name
    title = f"{name}: {course.iterations:,} iterations, {course.seconds / 60:.0f} minutes"
    write_whole(out, render(draw_course(course, title), file_format))
    echo(f"{course.iterations} iterations: {out}")
