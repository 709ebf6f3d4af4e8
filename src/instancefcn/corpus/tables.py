"""The Parquet files of a block: results, images, errors. A block is done where its file of results is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow

from instancefcn.corpus.places import Place
from instancefcn.data.corpus import ERRORS, IMAGES
from instancefcn.data.result_files import PARQUET, results_schema, write_rows

_NAMED = [("image_id", pyarrow.int64()), ("file_name", pyarrow.string())]
IMAGE_SCHEMA = pyarrow.schema([*_NAMED, ("width", pyarrow.int32()), ("height", pyarrow.int32())])
ERROR_SCHEMA = pyarrow.schema([*_NAMED, ("reason", pyarrow.string())])


@dataclass(frozen=True)
class BlockTables:
    """Where the blocks of a run are written.

    Attributes:
        out: the run's folder.
        stem: the folder of results in it: "proposals" or "objects".
    """

    out: Place
    stem: str

    def done(self) -> set[int]:
        """Numbers of the blocks whose results are there."""
        names = (info.base_name for info in (self.out / self.stem).files())
        return {int(stem) for stem in (name.removesuffix(PARQUET) for name in names) if stem.isdecimal()}

    def write(
        self,
        number: int,
        results: Iterable[dict[str, Any]],
        images: list[Any],
        errors: list[Any],
        about: dict[str, str],
    ) -> int:
        """Write a block, its results last; returns how many there are.

        Args:
            images: rows of the images that are done; complete when ``results`` has ended, as ``errors`` are.
            about: what the file of results says about itself.

        Raises:
            OSError: a file can't be written.
        """
        name = f"{number:06}{PARQUET}"
        with (self.out / self.stem / name).whole() as file:
            count = write_rows(file, results_schema(about), results)
            with (self.out / IMAGES / name).whole() as other:
                write_rows(other, IMAGE_SCHEMA, images)
            self.write_errors(number, errors)
        return count

    def write_errors(self, number: int, errors: list[Any]) -> None:
        """Write what could not be read of a block; nothing where all could be."""
        place = self.out / ERRORS / f"{number:06}{PARQUET}"
        if not errors:
            place.remove()
            return
        with place.whole() as file:
            write_rows(file, ERROR_SCHEMA, errors)

    def errors(self) -> int:
        """How many blocks, of all runs, have errors."""
        return sum(info.base_name.endswith(PARQUET) for info in (self.out / ERRORS).files())

    def remove_temporary(self) -> None:
        """Remove what killed workers left."""
        for name in (self.stem, IMAGES, ERRORS):
            (self.out / name).remove_temporary()

    def make_folders(self) -> None:
        """Make the folders of the files."""
        for name in (self.stem, IMAGES, ERRORS):
            self.out.filesystem.create_dir((self.out / name).path)
