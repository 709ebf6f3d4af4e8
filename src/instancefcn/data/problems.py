"""What is wrong with labelled data, said once: loaders skip it, training counts it, validation lists it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One image or one annotation that a loader rejected.

    ``annotation_id`` is the id (COCO) or the label or index (other formats) in ``file``; None where the whole image, or
    the whole label file, is rejected.
    """

    file: str
    annotation_id: int | None
    reason: str

    @classmethod
    def from_error(cls, file: Path, error: ValueError, annotation_id: int | None = None) -> Problem:
        """What an error says of a file, which its message need not name again."""
        return cls(str(file), annotation_id, str(error).removeprefix(f"{file}: "))

    def __str__(self) -> str:
        where = self.file if self.annotation_id is None else f"{self.file}: annotation {self.annotation_id}"
        return f"{where}: {self.reason}"
