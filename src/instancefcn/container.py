"""Weights and JSON tables in one safetensors file: what checkpoints and classifiers are kept in. No pickle."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from instancefcn.config import Table
from instancefcn.files import write_whole


def write_container(
    path: Path, file_format: str, weights: Mapping[str, Tensor], tables: Table, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and tables so that ``path`` is either the old file or the whole new one.

    Args:
        file_format: name and version of what is in the file.
        tables: values that JSON can hold, by name.
        dtype: of the floating-point weights; others keep theirs.
    """
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in weights.items()
    }
    metadata = {"format": file_format} | {name: json.dumps(table) for name, table in tables.items()}
    write_whole(path, save(tensors, metadata))


def read_container(
    path: Path, file_format: str, made_by: str, names: Collection[str] = ()
) -> tuple[dict[str, Tensor], Table]:
    """Read weights and tables.

    Args:
        made_by: the command that writes such files, for messages.
        names: of the tables that it must have.

    Raises:
        ValueError: no such file, not safetensors, of another format, or a table is no JSON or not there; names the
            file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a .safetensors file that `{made_by}` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    found = metadata.pop("format", None)
    if found != file_format:
        raise ValueError(f"{path}: its format is {found!r}, not {file_format!r}; `{made_by}` writes such files")
    missing = sorted(set(names) - set(metadata))
    if missing:
        raise ValueError(f"{path}: its metadata is damaged: it has no {', '.join(missing)}")
    try:
        return weights, {name: json.loads(table) for name, table in metadata.items()}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: its metadata is damaged ({error})") from error
