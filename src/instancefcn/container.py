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
from instancefcn.values import nan_as_none

PICKLES = (b"PK\x03\x04", b"\x80")  # how PyTorch's files begin, and pickles of Python


def write_container(
    path: Path, file_format: str, weights: Mapping[str, Tensor], tables: Table, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and tables so that ``path`` is either the old file or the whole new one.

    The same weights and tables give the same bytes.

    Args:
        file_format: name and version of what is in the file.
        tables: values that JSON can hold, by name; NaN becomes null.
        dtype: of the floating-point weights; others keep theirs.
    """
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in weights.items()
    }
    metadata = {"format": file_format} | {name: json.dumps(nan_as_none(table)) for name, table in tables.items()}
    write_whole(path, _with_sorted_metadata(save(tensors, metadata)))


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
        raise ValueError(f"{path}: not a safetensors file ({_kind(path) or error})") from error
    found = metadata.pop("format", None)
    if found != file_format:
        raise ValueError(f"{path}: its format is {found!r}, not {file_format!r}; `{made_by}` writes such files")
    missing = sorted(set(names) - set(metadata))
    if missing:
        raise ValueError(f"{path}: its metadata is damaged: it has no {', '.join(missing)}")
    try:
        return weights, {name: json.loads(table) for name, table in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its metadata is damaged ({error})") from error


def format_of(path: Path) -> str | None:
    """The format that a file says it has; None where it can't be read as such a file."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None


def check_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights by which nothing would be found, without a word.

    Raises:
        ValueError: some are infinite or NaN, or all are zero; names the file.
    """
    numbers = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    for name, tensor in numbers.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: its weights are damaged: {name} has infinite values or NaN; take an earlier one")
    if not any(bool(tensor.any()) for tensor in numbers.values()):
        raise ValueError(f"{path}: all its weights are zero, so it would find nothing; take another file")


def check_fit(weights: Mapping[str, Tensor], built: Mapping[str, Tensor], path: Path | None = None) -> None:
    """Compare names and shapes of weights with those of a network, which may lie on the device ``meta``.

    Args:
        path: of the file that the weights are from, for the message.

    Raises:
        ValueError: they differ; names the file and some of them.
    """
    missing, other = sorted(set(built) - set(weights)), sorted(set(weights) - set(built))
    shapes = [
        f"{name} is {list(weights[name].shape)}, not {list(built[name].shape)}"
        for name in built
        if name in weights and weights[name].shape != built[name].shape
    ]
    found = [f"{len(missing)} are missing ({', '.join(missing[:3])})"] * bool(missing)
    found += [f"{len(other)} are of no layer ({', '.join(other[:3])})"] * bool(other)
    found += [f"{len(shapes)} have another shape ({', '.join(shapes[:3])})"] * bool(shapes)
    if found:
        where = "" if path is None else f"{path}: "
        raise ValueError(f"{where}weights do not fit the network that the checkpoint names: {'; '.join(found)}")


def _kind(path: Path) -> str:
    """What a file is that is no safetensors file, where it is a pickle."""
    with path.open("rb") as file:
        if not file.read(4).startswith(PICKLES):
            return ""
    return "it is a pickle, as PyTorch's .pt, which can run code when it is opened, so it is not: convert it first"


def _with_sorted_metadata(content: bytes) -> bytes:
    """A safetensors file whose metadata, which the library writes in a random order, are sorted by their names."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[8 + length :]])
