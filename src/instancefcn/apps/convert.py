"""``instancefcn convert``: labels of any format to that of a labelling tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instancefcn.apps.images import refuse_file_name, refuse_to_replace
from instancefcn.apps.options import CrowdsOfOnePart, Form, SourceSpec, SplitParts, Tolerance
from instancefcn.apps.printing import echo
from instancefcn.files import write_whole
from instancefcn.run_folder import run_file, run_folder

MOST_LISTED = 20  # problems


def convert(
    data: SourceSpec,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER|FILE.json", help="Folder to write to, or the file of a format of one file.")
    ],
    to: Annotated[Form, typer.Option(metavar="FORM", help="Format to write; see below.")] = "coco",
    tolerance: Tolerance = 1.0,
    polygons: Annotated[
        bool, typer.Option("--polygons", help="With --to coco: polygons instead of RLE, where a mask has no holes.")
    ] = False,
    split_parts: SplitParts = False,
    crowds_of_one_part: CrowdsOfOnePart = False,
) -> None:
    """Write labels of any format that can be read in that of a labelling tool, or as COCO annotations.

    [bold]instancefcn convert[/] --data voc:VOCdevkit/VOC2012,val [bold]--to[/] coco [bold]--out[/] voc_val.json
    [dim]COCO annotations, such as evaluating takes; masks as RLE.[/]

    [bold]instancefcn convert[/] --data labels:nuclei/val [bold]--to[/] cvat [bold]--out[/] nuclei-cvat.json
    [dim]For "Upload annotations" of a CVAT task with the same images, as "COCO 1.0".[/]

    [bold]instancefcn convert[/] --data coco:train.json,photos [bold]--to[/] labelme [bold]--out[/] photos
    [dim]A JSON file beside each photograph: open the folder in labelme.[/]

    [bold]instancefcn convert[/] --data labelme:photos [bold]--to[/] yolo [bold]--out[/] yolo --tolerance 0.5

    Images are not copied: tools find them where they are, or want them beside the labels, and the last lines say so;
    those that labelme's files embed are written beside the labels. What is wrong in the labels is left out, and listed.
    """
    from instancefcn.data.embedded import place_embedded, read_embedded
    from instancefcn.data.open import open_source, places_of
    from instancefcn.export.open import is_one_file, open_writer

    if polygons and to != "coco":
        raise typer.BadParameter(f"is for --to coco alone; {to} has its own rule", param_hint="--polygons")
    refuse_file_name(out)
    source = open_source(data, split_parts=split_parts, crowds_of_one_part=crowds_of_one_part)
    every = [source.labels(index) for index in range(len(source))]
    if source.problems:
        left_out = [str(problem) for problem in source.problems[:MOST_LISTED]]
        left_out += ["..."] if len(source.problems) > MOST_LISTED else []
        left_out.append(f"{len(source.problems)} problems left out: see `instancefcn validate --data {data}`")
        echo("\n".join(left_out), err=True)
        if not any(len(labels.instances) for labels in every):
            raise ValueError(f"{data}: nothing sound is left to write; the first problem: {source.problems[0]}")
    if not every:
        raise ValueError(f"{data}: no image is left to write")
    in_file = is_one_file(to) and out.suffix == ".json"
    folder = out.parent if in_file else out
    with run_file(out) if in_file else run_folder(out):
        every, pictures = place_embedded(every, folder / "images" if to in ("labels", "yolo") else folder)
        read = [place for place in places_of(data) if place.exists()]
        names = [labels.file_name for labels in every]
        writer = open_writer(to, out, source.categories, tolerance, polygons=polygons, names=names, read=read)
        refuse_to_replace([*pictures, *writer.paths()])
        for path, embeds in pictures.items():
            write_whole(path, read_embedded(embeds))
        for labels in every:
            writer.add(labels, None if labels.scores is None else labels.scores.tolist())
        writer.close()
    echo(f"{writer.images} images, {writer.objects} annotations: {writer.place.out}")
    if pictures:
        echo(f"{len(pictures)} images that were embedded: {next(iter(pictures)).parent}")
    lost = sum(labels.partial or (bool(labels.unknown) and not writer.holds_unknown) for labels in every)
    if lost:
        told = f"instances or unknown regions of {lost} images are lost: who trains on this takes them for background"
        echo(told, err=True)
    for note in writer.notes():
        echo(note)
