"""Selective search as files of masks, which ``instancefcn evaluate`` and ``instancefcn figure`` read as anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree

from instancefcn.data.coco import source_to_coco
from instancefcn.data.source import Source
from instancefcn.files import whole_file, write_whole
from reproduce.datasets import test_images
from reproduce.kept import KeptProposals
from reproduce.peers import opencv
from reproduce.runner import Runner, file_name
from reproduce.selective_search import selective_search

SEARCH_NAME = "selective-search"
_PACKAGE = "selective search needs OpenCV with its contributed modules: pip install 'instancefcn[bench]'"


def write_selective_search(runner: Runner) -> Path:
    """Write ``proposals.json`` and the ``annotations.json`` that it belongs to, for each test set of Tables 3 and 5.

    Masks are kept image by image until all of a test set are there, so that a process that was stopped can go on.

    Returns:
        The folder that has a folder of each test set.

    Raises:
        ValueError: OpenCV is not installed, or not with its contributed modules.
    """
    try:
        opencv()
    except ModuleNotFoundError as error:
        raise ValueError(f"{_PACKAGE} ({error})") from error
    settings = runner.settings
    folder = settings.folder / SEARCH_NAME
    tests = {
        test: images
        for table in ("table3", "table5")
        for test, images in test_images(settings.scale, settings.data_root, table).items()
    }
    for test, images in tests.items():
        runner.report(f"{SEARCH_NAME}: {folder / file_name(test)}")
        write_masks(runner.open_test(images), folder / file_name(test))
    return folder


def write_masks(source: Source, folder: Path) -> None:
    """Write the masks of each image of a source as COCO results, and the source's labels as COCO annotations."""
    annotations, proposals, images = folder / "annotations.json", folder / "proposals.json", folder / "images"
    labels = json.dumps(source_to_coco(source))
    if annotations.exists() and annotations.read_text(encoding="utf-8") != labels:  # of other images
        proposals.unlink(missing_ok=True)
        rmtree(images, ignore_errors=True)
    write_whole(annotations, labels)
    if proposals.exists():
        return
    kept = KeptProposals(selective_search, images)
    with whole_file(proposals) as file:
        separator = "["
        for index in range(len(source)):
            for result in kept(source, index).to_coco(source.labels(index).image_id):
                file.write(f"{separator}\n{json.dumps(result)}".encode())
                separator = ","
        file.write(b"[]\n" if separator == "[" else b"\n]\n")
    rmtree(images, ignore_errors=True)
