"""Files and folders on a disk or in an object store (``s3://``, ``gs://``), through pyarrow's filesystems."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from instancefcn.files import remove_temporary, whole_file

_TEMPORARY = ".tmp"  # ends the name of a file until it is whole


@dataclass(frozen=True)
class Place:
    """A file or a folder. It can be sent to another process.

    Example:
        >>> Place.of("/data/photos").local
        PosixPath('/data/photos')
    """

    filesystem: fs.FileSystem
    path: str  # with forward slashes, as the filesystem names it

    @classmethod
    def of(cls, text: str) -> Place:
        """The place of a path, or of a URI such as ``s3://bucket/photos``.

        Raises:
            ValueError: no filesystem goes by the URI, or it can't be reached; names it.
        """
        if "://" not in text:
            return cls(fs.LocalFileSystem(), Path(text).absolute().as_posix())
        try:
            return cls(*fs.FileSystem.from_uri(text))
        except (ValueError, OSError) as error:
            first = str(error).partition("\n")[0]
            raise ValueError(f"{text}: {first}; give a path, or a URI that starts with s3:// or gs://") from error

    def __str__(self) -> str:
        return self.path if self.local else f"{self.filesystem.type_name}://{self.path}"

    def __truediv__(self, name: str) -> Place:
        return Place(self.filesystem, f"{self.path.rstrip('/')}/{name}")

    @property
    def local(self) -> Path | None:
        """The path on this machine's disk; None in an object store."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def info(self) -> fs.FileInfo:
        """Whether it is a file, a folder or nothing, its size and time of change."""
        return self.filesystem.get_file_info([self.path])[0]

    def files(self, *, to_the_bottom: bool = False) -> list[fs.FileInfo]:
        """The files in the folder, in no order; none where there is no folder."""
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=to_the_bottom)
        return [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]

    def read(self, most: int) -> bytes:
        """The bytes of the file.

        Raises:
            ValueError: there are more than ``most``.
            OSError: it can't be read.
        """
        with self.filesystem.open_input_file(self.path) as file:
            check_size(file.size(), most)
            return file.read()

    @contextmanager
    def whole(self) -> Iterator[Any]:
        """A file to write to, which takes the name of this one when the block ends, and after an error never does.

        Raises:
            OSError: it can't be written.
        """
        if self.local is not None:
            with whole_file(self.local) as file:
                yield file
            return
        folder, _, name = self.path.rpartition("/")
        temporary = f"{folder}/.{name}.{secrets.token_hex(8)}{_TEMPORARY}"
        try:
            with self.filesystem.open_output_stream(temporary) as file:
                yield file
            self.filesystem.move(temporary, self.path)
        except BaseException:
            if self.filesystem.get_file_info([temporary])[0].type == fs.FileType.File:
                self.filesystem.delete_file(temporary)
            raise

    def remove(self) -> None:
        """Remove the file, where there is one."""
        if self.info().type == fs.FileType.File:
            self.filesystem.delete_file(self.path)

    def remove_temporary(self) -> None:
        """Remove what killed writers left in the folder. Nobody else may be writing there."""
        if self.local is not None:
            if self.local.is_dir():
                remove_temporary(self.local)
            return
        for info in self.files():
            if info.base_name.startswith(".") and info.base_name.endswith(_TEMPORARY):
                self.filesystem.delete_file(info.path)


def check_size(size: int, most: int) -> None:
    """Refuse a file of more bytes than any image has."""
    if size > most:
        raise ValueError(f"{size / 1e6:,.0f} MB: more than {most / 1e6:,.0f} MB are taken for no image")
