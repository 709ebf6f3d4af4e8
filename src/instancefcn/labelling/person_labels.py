"""A person's labels of the images in a folder, wherever the labelling tool put them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from instancefcn.data.coco_reader import refuse_results
from instancefcn.data.image_folder import images_below, matched
from instancefcn.data.labelme import load_labelme
from instancefcn.data.open import ONE_FILE, SPECS, open_source
from instancefcn.data.selection import Selection
from instancefcn.data.source import FileSource, Problem, Source
from instancefcn.data.yolo import in_labels
from instancefcn.files import read_json
from instancefcn.folders import refuse_zip, visible_files

BESIDE = ("labelme", "xanylabeling")  # a file for each image, which names it
CVAT_XML, CLASSES = "annotations.xml", "classes.txt"  # files as CVAT calls its own form, and of the names of classes
GEOJSON = ("FeatureCollection", "Feature")  # types of its tables
# Files for each image that are found by their stem: the folder that they may lie in, and their suffixes.
BY_STEM = {
    "labels": ("masks", (".png", ".tif", ".tiff")),
    "yolo": ("labels", (".txt",)),
    "geojson": ("annotations", (".geojson", ".json")),
}


def guess_form(labels: Path, option: str = "--format", images: Path | None = None) -> str | None:
    """The format of a file or a folder of labels, where it is clear; None where there are none.

    Args:
        option: of the command, that says it.
        images: the folder of the images; pictures in another folder that has nothing else are label maps.

    Raises:
        ValueError: it is not clear; says what to give.
    """
    refuse_zip(labels)
    found = _forms(labels)
    if not found and images is not None and not images.resolve().is_relative_to(labels.resolve()):
        found = {"labels"} if visible_files(labels, BY_STEM["labels"][1]) else set()
    if len(found) > 1 or (not found and labels.is_file()):
        raise ValueError(
            f"{labels}: the format is not clear ({' or '.join(sorted(found)) or 'none is known'}): give {option}"
        )
    return found.pop() if found else None


def open_labels(
    form: str,
    labels: Path,
    images: Path,
    view: Path,
    *,
    split_parts: bool = False,
    known: Mapping[Path, Path] | None = None,
) -> Source:
    """Open the labels of a folder of images, which need not lie beside them. There may be none yet.

    Args:
        form: a format of ``export.open.FORMS``.
        labels: a file, or a folder of files.
        images: the folder of images.
        view: a folder of our own, in which links bring images and labels together where the reader wants that.
        split_parts: as ``open_source``.
        known: images of files of which it is known, whatever shares the stem.

    Raises:
        ValueError: as ``open_source``, or a folder holds several files of a format of one file.
    """
    refuse_zip(labels)
    if form in BESIDE:
        return load_labelme(labels, images) if visible_files(labels, [".json"]) else _nothing()
    if form in ONE_FILE:
        files = [labels] if labels.is_file() else _files_of_all(form, labels)
        if len(files) > 1:
            raise ValueError(f"{labels}: holds {len(files)} files for all images: give the one with the labels")
        if form not in SPECS:
            raise ValueError(f"labels of the format {form} can't be read yet: export COCO, and give --format coco")
        return open_source(f"{form}:{files[0]},{images}") if files else _nothing()
    links: dict[Path, Path] = {}
    pairs = {**_pairs(form, labels, images), **(known or {})}
    files_of = Counter(pairs.values())
    for file, image in pairs.items():
        if image is not None:
            place = image.relative_to(images)
            if files_of[image] == 1:  # found by the file's stem, also where that is the image's whole name
                place = place.with_name(file.stem + image.suffix)
            name = PurePosixPath("images", "train" if form == "yolo" else "", place)
            own = in_labels(name) if form == "yolo" else PurePosixPath(BY_STEM[form][0], place)
            links |= {view / name: image, view / own.with_name(file.name): file}
    if not links:
        return _nothing()
    if form == "yolo" and (labels / "data.yaml").is_file():
        links[view / "classes.yaml"] = labels / "data.yaml"
    link(links, view)
    return open_source(f"yolo:{view},train" if form == "yolo" else f"{form}:{view}", split_parts=split_parts)


def lone_files(form: str, labels: Path, images: Path) -> list[Path]:
    """Files of a format that finds images by their stem, for which there is no image, or more than one."""
    pairs = _pairs(form, labels, images) if form in BY_STEM else {}
    return [file for file, image in pairs.items() if image is None]


def labelled_images(source: Source, images: Sequence[Path], form: str) -> Selection:
    """The images of a folder that have labels, as a source.

    A file for an image labels it, also without an object. A file for all images lists also those that nobody has
    looked at, so there an image is labelled if it has an object; predictions are no person's.
    """
    wanted = {path.resolve() for path in images}
    every = [(index, source.labels(index)) for index in range(len(source))]
    chosen = [
        (source, index)
        for index, labels in every
        if labels.path is not None
        and labels.path.resolve() in wanted
        and (form not in ONE_FILE or len(labels.instances))
        and not labels.predicted
    ]
    return Selection(chosen, source.name or form)


def labelled_files(sources: Iterable[Source]) -> set[Path]:
    """The files of the images that sources have labels of, behind all links."""
    every = (source.labels(index) for source in sources for index in range(len(source)))
    return {labels.path.resolve() for labels in every if labels.path is not None}


def link(links: dict[Path, Path], view: Path) -> None:
    """Make a folder hold these links and no others; files that are no links stay."""
    for old in view.rglob("*") if view.is_dir() else ():
        if old.is_symlink():
            old.unlink()
    for path, target in links.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.abspath(target))


def behind_links(problem: Problem, views: Iterable[Path]) -> str:
    """A problem that names the files that links of ours (``link``) lead to, which a person can mend."""
    text = str(problem)
    for view in views:
        links = sorted((path for path in view.rglob("*") if path.is_symlink()), key=lambda path: -len(str(path)))
        for path in links:  # the longest name first, as one may begin another
            target = path.readlink()
            text = text.replace(str(path), str(target) if view.is_absolute() else os.path.relpath(target))
    return text


def _files_of_all(form: str, labels: Path) -> list[Path]:
    """Files of all images, in a folder or else below it, as in a CVAT export, which may have XML instead of JSON."""
    inside = sorted(labels.glob("[!.]*.json")) or visible_files(labels, [".json"])
    return inside or [file for file in visible_files(labels, [".xml"]) if form == "cvat" and file.name == CVAT_XML]


def folders_of_maps(form: str | None, labels: Path, images: Path) -> list[Path]:
    """The folder of label maps, unless the images lie in it, too: its pictures are none to label."""
    if form != "labels":
        return []
    place = _place(form, labels)
    return [] if images.resolve().is_relative_to(place.resolve()) else [place]


def _place(form: str, labels: Path) -> Path:
    """The folder that the files of a format in ``BY_STEM`` lie in."""
    inside = labels / BY_STEM[form][0]
    return inside if form != "yolo" and inside.is_dir() else labels


def _pairs(form: str, labels: Path, images: Path) -> dict[Path, Path | None]:
    """Each label file with the one image beside it, or at its place, or else of its stem anywhere among the images."""
    folder, suffixes = BY_STEM[form]
    place = _place(form, labels)
    there = images_below(images, folders_of_maps(form, labels, images))[0]
    among = place.resolve().is_relative_to(images.resolve())
    below = PurePosixPath(place.resolve().relative_to(images.resolve())) if among else PurePosixPath()
    files: dict[PurePosixPath, list[Path]] = {}
    for file in visible_files(place, suffixes):
        if file.name != CLASSES:
            key = PurePosixPath(file.relative_to(place).with_suffix(""))
            files.setdefault(beside if (beside := below / key) in there else key, []).append(file)
    wanted: dict[PurePosixPath, list[Path]] = {}
    if form == "yolo":  # whose files may lie in several folders "labels"
        inside = {key: own for key, own in files.items() if folder in key.parts[:-1]}
        files = inside or {PurePosixPath(folder) / key: own for key, own in files.items()}
    for key, own in there.items():
        wanted.setdefault(in_labels(key) if form == "yolo" else key, []).extend(own)
        for image in own:  # a file may have its whole name, as ours where images share a stem
            whole = key.with_name(image.name)
            wanted.setdefault(in_labels(whole) if form == "yolo" else whole, []).append(image)
    found = matched(files, wanted)
    only = {key: those[0] if len(those) == 1 else None for key, those in found.items()}
    return {file: only[key] for key, those in files.items() for file in those}


def _nothing() -> FileSource:
    return FileSource({}, [], [])


def _forms(labels: Path) -> set[str]:
    """Formats that a file or a folder may have."""
    if labels.is_file():
        is_json = labels.suffix.lower() == ".json"
        return _form_of_json(labels) if is_json else {"cvat"} if labels.suffix.lower() == ".xml" else set()
    if not labels.is_dir():
        return set()
    found: set[str] = set()
    jsons = visible_files(labels, [".json"])
    if jsons:
        found |= _form_of_json(jsons[0])
    elif _files_of_all("cvat", labels):
        found.add("cvat")
    for below in (False, True):
        for form, (folder, suffixes) in BY_STEM.items():
            place = labels / folder if form == "labels" or (labels / folder).is_dir() else labels
            files = visible_files(place, [suffix for suffix in suffixes if suffix != ".json"])  # looked into above
            if any(file.name != CLASSES and (below or file.parent == place) for file in files):
                found.add(form)
        if found:
            break
    return found


def _form_of_json(path: Path) -> set[str]:
    """The format of a JSON file. CVAT's COCO has the attribute "occluded", and its brush masks are no crowds."""
    table = read_json(path)
    if any(
        isinstance(one, dict) and one.get("type") in GEOJSON for one in (table if isinstance(table, list) else [table])
    ):
        return {"geojson"}
    refuse_results(table, str(path))
    if isinstance(table, list):
        return {"labelstudio"}
    if isinstance(table, dict) and isinstance(table.get("shapes"), list):
        return {"labelme"}
    annotations = table.get("annotations") if isinstance(table, dict) else None
    if not isinstance(annotations, list):
        return set()
    attributes = (entry.get("attributes") for entry in annotations if isinstance(entry, dict))
    return {"cvat" if any(isinstance(marks, dict) and "occluded" in marks for marks in attributes) else "coco"}
