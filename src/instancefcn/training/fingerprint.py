"""Which data a run is trained and validated on, so that resuming it can say what differs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instancefcn.data.source import Labels, Source
from instancefcn.geometry.rle import Rle
from instancefcn.training.run_files import LAST
from instancefcn.training.state import ANEW, STATE_FILE, TrainingState

MOST_NAMED = 3  # images, for each kind of difference


@dataclass(frozen=True)
class SourceSum:
    """The images of one source, in their order: image i of a run follows from its place."""

    name: str  # as the user gave it; not compared, since a folder may be moved
    partial: bool
    files: list[str]
    sums: list[str]  # of each image's size, file size, masks and marks


@dataclass(frozen=True)
class Fingerprint:
    """The data of a run."""

    training: list[SourceSum]
    validation: list[SourceSum]
    keep_out: bool | None = None  # images of the training data, where none are given to validate on; None: nobody said

    @classmethod
    def of(cls, training: Sequence[Source], validation: Sequence[Source], keep_out: bool | None = None) -> Fingerprint:
        """Read all labels, and of images only those that are no files."""
        return cls([sum_source(source) for source in training], [sum_source(source) for source in validation], keep_out)

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Fingerprint:
        """What ``config.to_table`` gave.

        Raises:
            ValueError: it did not.
        """
        try:
            for one in (*table["training"], *table["validation"]):
                texts = all(isinstance(text, str) for text in (one["name"], *one["files"], *one["sums"]))
                if not texts or not isinstance(one["partial"], bool) or len(one["files"]) != len(one["sums"]):
                    raise ValueError("its list of the data holds values of other types")
            training, validation = ([SourceSum(**one) for one in table[part]] for part in ("training", "validation"))
            return cls(training, validation, table.get("keep_out"))
        except (TypeError, KeyError) as error:
            raise ValueError("its list of the data has other keys") from error


def sum_source(source: Source) -> SourceSum:
    """Names and sums of all images."""
    files = [source.labels(index).file_name for index in range(len(source))]
    return SourceSum(source.name, source.partial, files, [_sum(source, index) for index in range(len(source))])


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """What differs between the data of a run and those that it is to go on with, a text for each source."""
    found: list[str] = []
    for option in ("data", "val"):
        part = "training" if option == "data" else "validation"
        old, new = getattr(before, part), getattr(now, part)
        for one, other in zip(old, new, strict=False):
            if changes := _changes(one, other):
                was = "" if one.name == other.name else f" (then {one.name})"
                found.append(f"--{option} {other.name}{was}: {'; '.join(changes)}")
        found += [f"--{option} {one.name} is missing" for one in old[len(new) :]]
        found += [f"--{option} {one.name} is new" for one in new[len(old) :]]
    return found


def compare_data(out: Path, state: TrainingState, now: Fingerprint, may_differ: bool) -> str:
    """Compare the data with those that a run was trained on.

    Returns:
        A warning, where they differ and may, or where an older state does not say what they were; else nothing.

    Raises:
        ValueError: they differ, and may not, images are kept out and were not, or the reverse, or the state is damaged.
    """
    if state.data is None:
        return f"warning: {out / STATE_FILE} is of an older version and does not say on which data: they may be others"
    try:
        before = Fingerprint.from_table(state.data)
    except ValueError as error:
        raise ValueError(f"{out / STATE_FILE}: not a training state ({error}): {ANEW}") from error
    if before.keep_out is not None and before.keep_out != now.keep_out:
        kept = "kept images out to validate on" if before.keep_out else "trained on all images"
        raise ValueError(f"the run in {out} {kept}, and this one would not: go on as it was begun, or {ANEW}")
    found = differences(before, now)
    if not found:
        return ""
    what = f"the run in {out} was trained on other data: {'. '.join(found)}"
    if not may_differ:
        raise ValueError(
            f"{what}. Give it the same data; or go on with these, which is no longer as if it had not stopped, with "
            f"--changed-data; or train anew from it with --init {out / LAST}, another --out, and --val: "
            "of images that would be kept out some were trained on"
        )
    return f"warning: {what}. It goes on with these"


def _changes(before: SourceSum, now: SourceSum) -> list[str]:
    if before.partial != now.partial:
        return [f"its objects were {'not ' if now.partial else ''}taken to be partially labelled (partial+)"]
    if (before.files, before.sums) == (now.files, now.sums):
        return []
    old, new = (dict(zip(one.files, one.sums, strict=True)) for one in (before, now))
    kinds = {
        "gone": [name for name in old if name not in new],
        "new": [name for name in new if name not in old],
        "changed, in their labels or pixels": [name for name in old if name in new and old[name] != new[name]],
    }
    changes = [f"{_counted(names)} {what}" for what, names in kinds.items() if names]
    return changes or ["its images come in another order, or repeatedly"]


def _counted(names: Sequence[str]) -> str:
    listed = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({listed})"


def _sum(source: Source, index: int) -> str:
    labels = source.labels(index)
    instances = labels.with_rejected()
    digest = hashlib.sha256(f"{labels.height} {labels.width} {_file_size(labels)} {_text(labels.void)}".encode())
    if labels.partial:
        digest.update(b" partial")
    if labels.path is None:
        digest.update(source.image(index).tobytes())
    marks = zip(instances.rles, instances.crowd.tolist(), instances.ignore.tolist(), strict=True)
    for rle, crowd, ignore in marks:
        digest.update(f" {crowd:d} {ignore:d} {_text(rle)}".encode())
    return digest.hexdigest()[:16]


def _file_size(labels: Labels) -> int:
    """Bytes of the image's file; -1 where it is gone or there is none."""
    try:
        return -1 if labels.path is None else labels.path.stat().st_size
    except OSError:
        return -1


def _text(rle: Rle | None) -> str:
    return "" if rle is None else rle["counts"].decode()
