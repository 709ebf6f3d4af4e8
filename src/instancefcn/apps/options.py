"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

# An empty line between them, as the help page joins what stands on neighbouring lines.
SPEC_HELP = "\n\n".join(
    [
        "A SPEC is one of:",
        "[bold]coco:[/]ANNOTATIONS.json,IMAGES_DIR",
        "[bold]voc:[/]VOC_DIR,SPLIT (SegmentationObject; VOC_DIR holds JPEGImages)",
        "[bold]sbd:[/]DATASET_DIR,SPLIT (DATASET_DIR holds img, inst and cls)",
        "[bold]labels:[/]DIR (images/ and masks/, also in folders below; label maps of 8 or 16 bits, TIFF 32)",
        "[bold]cvat:[/]FILE.json,IMAGES_DIR (COCO 1.0, or CVAT's XML; or DIR, an unpacked export)",
        "[bold]labelstudio:[/]EXPORT.json,IMAGES_DIR (JSON or JSON-MIN; polygons and brushes)",
        "[bold]labelme:[/]DIR (a JSON file beside each image), or DIR,IMAGES_DIR",
        "[bold]xanylabeling:[/]DIR (a JSON file beside each image), or DIR,IMAGES_DIR",
        "[bold]yolo:[/]DIR,SPLIT (segmentation; images/ and labels/; DIR may be its data.yaml)",
        "[bold]geojson:[/]DIR (QuPath's; images/, and a GeoJSON file of the same stem for each)",
        "[bold]corpus:[/]DIR,IMAGES_DIR (what propose-corpus wrote; or DIR, where no pixels are asked for)",
        "With [bold]partial+[/] before it, objects may be unlabelled: not all that no instance covers is background.",
    ]
)

FORM_HELP = "\n\n".join(
    [
        "A FORM is one of:",
        "[bold]coco[/] COCO annotations, masks as RLE: FILE.json (propose and segment write results into a FOLDER)",
        "[bold]cvat[/] COCO 1.0 for CVAT's Upload annotations, polygons, masks where there are holes: FILE.json",
        "[bold]labelstudio[/] tasks for Label Studio's Import, polygons and brush masks: FILE.json",
        "[bold]labelme[/] FOLDER/STEM.json, polygons, masks where there are holes",
        "[bold]xanylabeling[/] FOLDER/STEM.json, polygons with scores, no holes",
        "[bold]yolo[/] FOLDER/labels/STEM.txt and data.yaml for Ultralytics, polygons of one part, no holes",
        "[bold]geojson[/] FOLDER/STEM.geojson for QuPath, polygons with holes and scores",
        "[bold]labels[/] FOLDER/masks/STEM.png, 16 bits: each pixel has the number of its object, or 0",
    ]
)

RESULT_HELP = "\n\n".join(
    [
        "For many results, instead of JSON (both with --to coco besides):",
        "[bold]jsonl[/] FOLDER/proposals.jsonl.gz, a result a line",
        "[bold]parquet[/] FOLDER/proposals.parquet, a result a row (pip install 'instancefcn\\[parquet]')",
        "With --objects their names begin with objects, as that of the JSON does.",
    ]
)


def existing_file(help: str, **settings: Any) -> Any:
    """An option whose value is a file that is there."""
    return typer.Option(exists=True, dir_okay=False, help=help, **settings)


RESULTS: dict[str, Any] = {
    "metavar": "PROPOSALS.json",
    "exists": True,
    "help": "COCO results, of any method; or a folder of Parquet files of them.",
}
ResultsFile = Annotated[Path, typer.Argument(**RESULTS)]
ResultsFiles = Annotated[list[Path], typer.Argument(**RESULTS)]
LabelsFile = Annotated[Path, existing_file("Whose image ids the results use.", metavar="COCO.json")]
ComparedRegions = Annotated[Literal["segm", "bbox"], typer.Option(help="Compare masks, or boxes.")]

SourceSpec = Annotated[str, typer.Option(metavar="SPEC", help="Labelled images; see below.")]
SourceSpecs = Annotated[list[str], typer.Option(metavar="SPEC", help="Labelled images; see below. May be given again.")]
SplitParts = Annotated[
    bool,
    typer.Option(
        "--split-parts", help="Of label maps, each connected part of a value is an object: for foreground masks."
    ),
]
CrowdsOfOnePart = Annotated[
    bool,
    typer.Option(
        "--crowds-of-one-part",
        help="Count crowds whose mask is one connected part as instances: CVAT marks every mask as a crowd.",
    ),
]
RecipeName = Annotated[str, typer.Option(help="lite, paper, or a TOML file.")]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout in place of tables; the rest goes to stderr.")
]

AUTO = "auto"


def times_of_tiles(tiles: str) -> int:
    """N of ``--tiles N``.

    Raises:
        typer.BadParameter: it is no number from 1 on.
    """
    if not tiles.isdecimal() or int(tiles) < 1:
        raise typer.BadParameter(f"must be auto, or a whole number from 1 on, not {tiles!r}", param_hint="--tiles")
    return int(tiles)


Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Images, folders of images (searched to the bottom), globs.")
]
OutFolder = Annotated[Path, typer.Option(file_okay=False, help="Folder to write to; made where there is none.")]
OutFolderOrFile = Annotated[
    Path,
    typer.Option(metavar="FOLDER|FILE.json", help="Folder to write to, or the file of a single format of one file."),
]
CheckpointFile = Annotated[
    Path | None, existing_file("What `instancefcn train` wrote.", show_default="the one that is shipped")
]
AnnotatedImages = Annotated[
    Path | None,
    existing_file("Take this file's images, under its ids; INPUT is the folder that they lie in.", metavar="COCO.json"),
]
Form = Literal["coco", "cvat", "labelstudio", "labelme", "xanylabeling", "yolo", "geojson", "labels"]
ResultForm = Literal["jsonl", "parquet"]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on where the same command stopped, with the same --out; else start as usual."),
]


def _form(name: str) -> str:
    known = get_args(Form) + get_args(ResultForm)
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}")
    return name


def forms(show_default: str) -> Any:
    """The option ``--to`` of a command that writes COCO results besides."""
    return typer.Option(
        "--to",
        metavar="FORM",
        parser=_form,  # typer takes no list of a Literal
        help="Also write this format; see below. May be given again.",
        show_default=show_default,
    )


Tolerance = Annotated[
    float, typer.Option(min=0, metavar="PIXELS", help="How far an outline may shift when it becomes a polygon.")
]
Objects = Annotated[bool, typer.Option("--objects", help="Write objects, each once, instead of ranked candidates.")]
MaxProposals = Annotated[
    int | None, typer.Option(min=1, help="Masks per image, at most.", show_default="100; objects: all")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(
        help="Arithmetic of the proposal network. auto: bf16 where the processor has it and a short test, whose answer "
        "is kept, says that it is faster; masks differ a little from those of fp32."
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        max=256,
        help="Processes that share the images, each with a network of its own (1 GB); they share the processor's "
        "cores. For machines with many.",
    ),
]
DeviceName = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto is cuda where there is one.")]
