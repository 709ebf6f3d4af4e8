"""The images of a run: from files, folders and globs, or from a COCO file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import typer

from instancefcn.apps.printing import echo
from instancefcn.data.result_files import IMAGES
from instancefcn.file_names import path_inside, unique_stems
from instancefcn.files import read_json
from instancefcn.folders import files_below, identity, natural_key

OVERLAYS, LABEL_MAPS = "overlays", "labels"  # folders, among a run's results, of pictures made from its images

BEGINNING = 4096  # bytes of a file by which one of ours is known
NO_FOLDERS = (".jsonl", ".gz", ".parquet", ".xml", ".csv", ".txt", ".zip", ".png", ".tif", ".yaml", ".geojson")


@dataclass(frozen=True)
class ImageFile:
    """An image to read."""

    image_id: int
    file_name: str  # relative to the folder that all of a run's images lie in, with forward slashes; unique in the run
    path: Path
    size: tuple[int, int] | None = None  # (height, width) that annotations state


def find_inputs(
    inputs: Sequence[str], annotations: Path | None, out: Path | None, left_out: Sequence[Path] = ()
) -> list[ImageFile]:
    """Find the images in files, folders (with all below, ``folders.files_below``) and globs, numbered from 1.

    In the order of ``inputs``, and sorted naturally within each (2.jpg before 10.jpg), each image once. Images of
    formats that are not read are counted in a line on stderr, with the reason.

    Args:
        annotations: COCO file whose images are taken instead; the one input is their folder.
        out: folder that results are written to, whose folders of pictures are not searched; of others, pictures that a
            run's ``images.json`` lists are not found.
        left_out: other folders that are not searched.

    Raises:
        typer.BadParameter: an input does not exist, or no image is found in it.
    """
    if annotations is not None:
        if len(inputs) != 1 or not Path(inputs[0]).is_dir():
            raise typer.BadParameter("with --annotations, INPUT is one folder: the one that its images lie in")
        return images_of_annotations(annotations, Path(inputs[0]))

    from instancefcn.data.image_formats import describe_left_out, image_extensions

    suffixes = image_extensions()
    found: dict[Path, None] = {}
    roots: list[Path] = []
    passed: dict[Path, None] = {}  # files of folders that are not taken
    closed = [*left_out] if out is None else [*left_out, out / OVERLAYS, out / LABEL_MAPS]
    for text in inputs:
        path = Path(os.path.abspath(text))  # ".." must go, as it would from a name; a link's own name must stay
        if path.is_dir():
            every, root = files_below(path, closed), path
            drawn = set[Path]().union(*(pictures_of_run(file.parent) for file in every if file.name == IMAGES))
            every = [file for file in every if file not in drawn]
            paths = [file for file in every if file.suffix.lower() in suffixes]
            passed.update(dict.fromkeys(every))
        elif path.exists():
            paths, root = [path], path.parent
        else:
            matches = (Path(os.path.abspath(match)) for match in glob.glob(text, recursive=True))
            paths = sorted((match for match in matches if match.is_file()), key=natural_key)
            root = Path(os.path.commonpath([match.parent for match in paths])) if paths else path
            if not paths and not glob.has_magic(text):
                raise typer.BadParameter(f"{text}: no such file or folder")
        if not paths:
            why = describe_left_out(passed) or f"a folder is searched for {' '.join(sorted(suffixes))}"
            raise typer.BadParameter(f"{text}: no image in it ({why})")
        found.update(dict.fromkeys(paths))
        roots.append(root)
    if line := describe_left_out(passed):
        echo(line, err=True)
    common = Path(os.path.commonpath(roots))
    return [ImageFile(index, path.relative_to(common).as_posix(), path) for index, path in enumerate(found, start=1)]


def images_of_annotations(annotations: Path, folder: Path) -> list[ImageFile]:
    """The images in a folder that a COCO file lists, in its order, with its ids.

    Raises:
        ValueError: the file can't be read or is no COCO file, an id or a name is used twice, or a name leads out of the
            folder.
    """
    from instancefcn.data.coco_reader import CocoReader

    reader = CocoReader(read_json(annotations), str(annotations), strict=True, keys=("images",))
    images = reader.images(folder)
    return [ImageFile(image.image_id, image.file_name, image.path, image.size) for image in images if image.path]


def output_stems(images: Sequence[ImageFile]) -> list[PurePosixPath]:
    """Relative paths without a suffix, one for each image and all different (``file_names.unique_stems``)."""
    return unique_stems([image.file_name for image in images])


def pictures_of_run(folder: Path) -> set[Path]:
    """What ``images.json`` in a folder lists as drawn by its run, and is still there."""
    try:
        return pictures_there(folder, read_json(folder / IMAGES)["pictures"])
    except (ValueError, TypeError, KeyError):  # no run, one without pictures, or another's file
        return set()


def pictures_there(folder: Path, names: Iterable[object]) -> set[Path]:
    """Overlays and label maps that a run's files name, and that are still there; other names are passed over."""
    ours = {(OVERLAYS, ".jpg"), (LABEL_MAPS, ".png"), (LABEL_MAPS, ".tif")}
    found: set[Path] = set()
    for name in names:
        try:
            path = path_inside(folder, name) if isinstance(name, str) else folder
            parts = path.relative_to(folder).parts
        except ValueError:  # of another's file
            continue
        if parts and (parts[0], path.suffix) in ours and path.is_file():
            found.add(path)
    return found


def refuse_to_overwrite(read: Sequence[Path], written: Sequence[Path]) -> None:
    """Stop before a file that is read would be written over, also by another name: a link, or in other letter case.

    Raises:
        typer.BadParameter: one would; names it.
    """
    inputs = {identity(path) for path in read if path.exists()}
    for path in written:
        if os.path.exists(path) and identity(path) in inputs:  # a name may be too long, which fails its image
            raise typer.BadParameter(f"would write over an input, {path}; choose another folder", param_hint="--out")


def refuse_others(files: Mapping[Path, bytes]) -> None:
    """Stop before a file would be replaced that does not begin as one of ours does: it is somebody's.

    Args:
        files: a regular expression for how ours begin, of each path. An empty file is nobody's. A link is replaced,
            and what it leads to stays.

    Raises:
        typer.BadParameter: one is somebody's; names it.
    """
    for path, ours in files.items():
        start = b""
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                start = file.read(BEGINNING)
        if start and not re.match(ours, start, re.DOTALL):
            raise typer.BadParameter(
                f"{path} is there already, and not from a run like this: choose another place, or move it",
                param_hint="--out",
            )


def refuse_file_name(out: Path) -> None:
    """Stop where a folder that is not there yet would be called like a file.

    Raises:
        typer.BadParameter: it would.
    """
    if out.suffix.lower() in NO_FOLDERS and not out.exists():
        raise typer.BadParameter(f"{out} would be a folder: give another name", param_hint="--out")


def refuse_to_replace(files: Iterable[Path]) -> None:
    """Stop before files of a labelling tool would be written over: a person may have corrected them.

    Raises:
        typer.BadParameter: one is there; names it.
    """
    there = [path for path in files if os.path.exists(path)]
    if there:
        more = f" and {len(there) - 1} more files are" if len(there) > 1 else " is"
        raise typer.BadParameter(
            f"{there[0]}{more} there already, and may hold somebody's work: choose another place, or move them",
            param_hint="--out",
        )
