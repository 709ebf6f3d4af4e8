"""A corpus divided into blocks, the same ones in every run: some images of a folder, some row groups, or one shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from pyarrow import fs, parquet

from instancefcn.corpus.places import Place
from instancefcn.data.image_formats import image_extensions
from instancefcn.folders import natural_key

PARQUET, TAR = ".parquet", ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  # shards that no reader can start in the middle of
IDS_OF_SHARD = 1_000_000  # image ids that a .tar has for itself, since nobody counts its members beforehand

Kind = Literal["images", "parquet", "tar"]


class Listed(NamedTuple):
    """An image file of a folder."""

    image_id: int
    file_name: str  # relative to the folder
    path: str
    size: tuple[int, int] | None = None  # (height, width) that annotations state


@dataclass(frozen=True)
class Block:
    """A part of the corpus that one worker proposes on in one go, and whose results are one file."""

    number: int  # from 0
    count: int | None = None  # images in it; None where nobody has counted
    images: Sequence[Listed] = ()  # of a folder
    path: str = ""  # of a file that holds images
    name: str = ""  # of that file, as its images' names begin
    first_id: int = 1
    row_groups: tuple[int, int] = (0, 0)  # of a Parquet file, half-open

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Block:
        values = json.loads(text)
        images = [
            Listed(image_id, file_name, path, size and tuple(size))
            for image_id, file_name, path, size in values.pop("images")
        ]
        return cls(images=images, row_groups=tuple(values.pop("row_groups")), **values)


@dataclass(frozen=True)
class Corpus:
    """Images to propose on.

    Attributes:
        place: the folder, or the one file.
        blocks: all of it, numbered from 0.
        fingerprint: tells these images from others by names, bytes and times of change.
    """

    place: Place
    kind: Kind
    blocks: list[Block] = field(repr=False)
    fingerprint: str

    def __str__(self) -> str:
        images = images_in(self.blocks)
        return f"{f'{len(self.blocks)} shards' if images is None else f'{images} images'} ({self.fingerprint})"


def images_in(blocks: Iterable[Block]) -> int | None:
    """How many images blocks have; None where nobody has counted."""
    counts = [block.count for block in blocks]
    return None if None in counts else sum(count or 0 for count in counts)


def kind_of(place: Place) -> Kind:
    """What images lie in: the file's own kind, or that of the files right in the folder.

    Raises:
        ValueError: there is no such place, or it holds files of several kinds, or compressed shards; names it.
    """
    info = place.info()
    if info.type == fs.FileType.NotFound:
        raise ValueError(f"{place}: no such file or folder")
    names = [place.name] if info.type == fs.FileType.File else [one.base_name for one in place.files()]
    if packed := next((name for name in names if name.lower().endswith(COMPRESSED)), None):
        raise ValueError(f"{place}: {packed} is compressed: unpack it to {TAR}, or take it away")
    kinds: set[Kind] = {kind for name in names if not name.startswith(".") and (kind := _kind_of_name(name))}
    if len(kinds) > 1:
        raise ValueError(f"{place}: holds files of several kinds, {' and '.join(sorted(kinds))}: divide them")
    if info.type == fs.FileType.File and not kinds & {"parquet", "tar"}:
        raise ValueError(f"{place}: neither a folder nor a {PARQUET} or {TAR} file (for one image, `propose`)")
    return kinds.pop() if kinds else "images"


def deeper(place: Place) -> str:
    """What to say where a folder holds no image, but folders below it hold Parquet files or shards."""
    for info in place.files(to_the_bottom=True):
        if (kind := _kind_of_name(info.base_name)) in ("parquet", "tar"):
            return f"; {info.path} lies deeper: give the folder that holds the {kind} files"
    return ""


def corpus_of_images(place: Place, images: Sequence[Listed], stamps: Iterable[tuple[int, int]], count: int) -> Corpus:
    """A corpus of image files.

    Args:
        stamps: bytes and time of change, in nanoseconds, of each.
        count: images of a block.
    """
    digest = hashlib.sha256()
    for image, stamp in zip(images, stamps, strict=True):
        digest.update(repr((image.image_id, image.file_name, image.size, *stamp)).encode(errors="backslashreplace"))
    starts = range(0, len(images), count)
    parts = (images[start : start + count] for start in starts)
    blocks = [Block(number, len(part), part) for number, part in enumerate(parts)]
    return Corpus(place, "images", blocks, digest.hexdigest()[:16])


def images_of_store(place: Place) -> tuple[list[Listed], list[tuple[int, int]]]:
    """The images in a folder of an object store and those below it, numbered from 1, and the stamps of their files.

    In the order of ``propose``: naturally sorted, files before folders, hidden ones left out.
    """
    suffixes, start = image_extensions(), len(place.path.rstrip("/")) + 1
    every = ((info.path[start:].split("/"), info) for info in place.files(to_the_bottom=True))
    found = [
        (parts, info)
        for parts, info in every
        if f".{info.extension.lower()}" in suffixes and not any(part.startswith(".") for part in parts)
    ]

    def key(item: tuple[list[str], Any]) -> list[tuple[bool, Any]]:
        last = len(item[0]) - 1
        return [(index < last, natural_key(part)) for index, part in enumerate(item[0])]

    found.sort(key=key)
    images = [Listed(number, "/".join(parts), info.path) for number, (parts, info) in enumerate(found, start=1)]
    return images, [_stamp(info) for _, info in found]


def corpus_of_files(place: Place, kind: Kind, count: int) -> Corpus:
    """A corpus of Parquet files or shards: ``place`` itself, or all right in it, naturally sorted.

    Args:
        count: rows of a block; row groups stay whole.

    Raises:
        ValueError: a Parquet file can't be read; names it.
    """
    info = place.info()
    infos = [info] if info.type == fs.FileType.File else place.files()
    infos = [one for one in infos if _kind_of_name(one.base_name) == kind and not one.base_name.startswith(".")]
    infos.sort(key=lambda one: natural_key(one.base_name))
    digest, blocks, first_id = hashlib.sha256(), list[Block](), 1
    for index, one in enumerate(infos):
        digest.update(repr((one.base_name, *_stamp(one))).encode(errors="backslashreplace"))
        if kind == "tar":
            blocks.append(Block(index, path=one.path, name=one.base_name, first_id=1 + index * IDS_OF_SHARD))
            continue
        file = Place(place.filesystem, one.path)
        for groups, rows in _joined(_rows_of_groups(file), count):
            blocks.append(
                Block(len(blocks), rows, path=one.path, name=one.base_name, first_id=first_id, row_groups=groups)
            )
            first_id += rows
    return Corpus(place, kind, blocks, digest.hexdigest()[:16])


def _rows_of_groups(file: Place) -> list[int]:
    try:
        with file.filesystem.open_input_file(file.path) as opened:
            metadata = parquet.read_metadata(opened)
            return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    except Exception as error:  # column types that others have registered raise errors of every type
        reason = " ".join(str(error).split())
        raise ValueError(f"{file}: not a Parquet file that can be read: {reason}; take it away, or mend it") from error


def _joined(rows: Sequence[int], count: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Row groups, half-open, that follow each other and have up to ``count`` rows together, or are one; their rows."""
    start = total = 0
    for group, own in enumerate(rows):
        if group > start and total + own > count:
            yield (start, group), total
            start, total = group, 0
        total += own
    if total:
        yield (start, len(rows)), total


def _kind_of_name(name: str) -> Kind | None:
    lower = name.lower()
    if lower.endswith(PARQUET):
        return "parquet"
    if lower.endswith(TAR):
        return "tar"
    return "images" if lower.endswith(tuple(image_extensions())) else None


def _stamp(info: fs.FileInfo) -> tuple[int, int]:
    return info.size or 0, info.mtime_ns or 0
