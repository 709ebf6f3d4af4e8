"""Corpora of a few images, in whatever they may lie in, and a network that proposes on them in no time."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import torch
from pyarrow import fs, parquet

from instancefcn.corpus.places import Place
from instancefcn.inference.checkpoint import Checkpoint, save_checkpoint
from instancefcn.model.build import build_network
from tiny import TINY


def write_checkpoint(path: Path) -> Path:
    """A network of random weights, which finds a mask or two. Its trunk is lite's, which is built without timm: each
    worker imports what its checkpoint needs."""
    torch.manual_seed(0)
    config = replace(TINY.network, backbone="tf_efficientnet_lite0")
    weights = build_network(config).state_dict()
    save_checkpoint(Checkpoint(config, TINY.inference, weights, {}), path)
    return path


def write_shard(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            shard.addfile(about, io.BytesIO(content))
    return path


def write_table(path: Path, columns: Mapping[str, Any], rows_of_group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(dict(columns)), path, row_group_size=rows_of_group)
    return path


def store(folder: Path) -> Place:
    """A folder as an object store shows it: nothing of it is on "this machine's disk", and other processes see it."""
    folder.mkdir(parents=True, exist_ok=True)
    return Place(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), "bucket")
