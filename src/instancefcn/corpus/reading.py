"""The images of a block, one after the other, from whatever holds them. Of files of others, nothing is unpickled."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from pyarrow import fs, parquet, types

from instancefcn.corpus.blocks import IDS_OF_SHARD, Block, Kind
from instancefcn.corpus.places import Place, check_size
from instancefcn.data.image_formats import image_extensions

LARGEST = 1 << 30  # bytes of an image's file: more than 100 megapixels of 16 bits take
ROWS_AT_ONCE = 8  # of a Parquet file, since each is an image
BYTES = "bytes"  # of a struct column, as Hugging Face's data sets have it


class DamagedError(ValueError):
    """A file of images can't be read from here on; those before are sound."""


@dataclass(frozen=True)
class Entry:
    """An image that has not been read yet."""

    image_id: int
    file_name: str
    size: tuple[int, int] | None  # (height, width) that annotations state
    content: Callable[[], bytes]  # may raise a ValueError or an OSError, of this image alone


@dataclass(frozen=True)
class Reader:
    """What reads the images of blocks. It can be sent to another process.

    Attributes:
        filesystem: that their files lie in.
        key_column: of Parquet files: names of images, as text or whole numbers.
        image_column: of Parquet files: the bytes of image files, or a struct with a field "bytes".
    """

    filesystem: fs.FileSystem
    kind: Kind
    key_column: str
    image_column: str

    def entries(self, block: Block) -> Iterator[Entry]:
        """The images of a block.

        Raises:
            DamagedError: what holds them is damaged, or is not of its form.
            OSError: it can't be read now.
        """
        if self.kind == "images":
            for image in block.images:
                place = Place(self.filesystem, image.path)
                yield Entry(image.image_id, printable_name(image.file_name), image.size, partial(place.read, LARGEST))
        elif self.kind == "parquet":
            yield from self._rows(block)
        else:
            yield from self._members(block)

    def check(self, block: Block) -> None:
        """Look whether a block's file has what is asked for, where that can be told at once.

        Raises:
            ValueError: it has not; names it.
        """
        if self.kind != "parquet":
            return
        try:
            with self.filesystem.open_input_file(block.path) as file:
                self._check_columns(parquet.read_schema(file))
        except Exception as error:
            raise ValueError(f"{block.path}: {error}") from error

    def _rows(self, block: Block) -> Iterator[Entry]:
        try:
            with self.filesystem.open_input_file(block.path) as file:
                table = parquet.ParquetFile(file, pre_buffer=False)
                self._check_columns(table.schema_arrow)
                columns = [self.key_column, self.image_column]
                groups = list(range(*block.row_groups))
                image_id = block.first_id
                for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=columns, use_threads=False):
                    keys, images = batch.column(self.key_column), batch.column(self.image_column)
                    if types.is_struct(images.type):
                        images = images.field(BYTES)
                    for key, image in zip(keys, images, strict=True):
                        name = str(key.as_py()) if key.is_valid else f"{block.name}, image {image_id}"
                        yield Entry(image_id, printable_name(name), None, partial(_bytes_of, image))
                        image_id += 1
        except (DamagedError, OSError):
            raise
        except Exception as error:  # column types that others have registered raise errors of every type
            raise DamagedError(" ".join(str(error).split())) from error

    def _check_columns(self, schema: Any) -> None:
        for option, column in (("--key-column", self.key_column), ("--image-column", self.image_column)):
            if column not in schema.names:
                raise DamagedError(f"has no column {column!r}, but {', '.join(schema.names)}: give {option}")
        key, image = schema.field(self.key_column).type, schema.field(self.image_column).type
        if not (types.is_string(key) or types.is_large_string(key) or types.is_integer(key)):
            raise DamagedError(
                f"column {self.key_column!r} is {key}, neither text nor whole numbers: give --key-column"
            )
        if types.is_struct(image) and image.get_field_index(BYTES) >= 0:
            image = image.field(BYTES).type
        if not (types.is_binary(image) or types.is_large_binary(image)):
            raise DamagedError(f"column {self.image_column!r} is {image}, not the bytes of files: give --image-column")

    def _members(self, block: Block) -> Iterator[Entry]:
        suffixes, image_id = image_extensions(), block.first_id
        whole = self.filesystem.get_file_info([block.path])[0].size or 0
        with self.filesystem.open_input_stream(block.path) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|") as shard:
                    for member in shard:
                        if shard.offset > -(-whole // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE:  # where the next one is
                            raise DamagedError(f"ends in the middle of {member.name!r:.100}")  # hours to pass over
                        path = PurePosixPath(member.name)
                        if not member.isreg() or path.name.startswith(".") or path.suffix.lower() not in suffixes:
                            continue
                        if image_id == block.first_id + IDS_OF_SHARD:
                            raise DamagedError(f"has more than {IDS_OF_SHARD:,} images: divide it")
                        content = _member_bytes(shard, member)
                        yield Entry(image_id, printable_name(f"{block.name}/{member.name}"), None, content)
                        image_id += 1
            except (DamagedError, OSError):
                raise
            except Exception as error:  # headers of every kind of damage
                raise DamagedError(f"not a sound .tar: {error}") from error


def printable_name(name: str) -> str:
    """A name that UTF-8 can hold: bytes that are none are shown as codes."""
    return name.encode(errors="backslashreplace").decode()


def _bytes_of(value: Any) -> bytes:
    if not value.is_valid:
        raise ValueError("there are no bytes, but null")
    buffer = value.as_buffer()
    check_size(buffer.size, LARGEST)
    return buffer.to_pybytes()


def _member_bytes(shard: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    """The bytes of a member, read now, as a stream does not go back; those of too large a one are passed over."""
    if member.size > LARGEST:
        return partial(check_size, member.size, LARGEST)  # pyright: ignore[reportReturnType]  # it raises
    opened = shard.extractfile(member)
    content = opened.read() if opened is not None else b""
    return lambda: content
