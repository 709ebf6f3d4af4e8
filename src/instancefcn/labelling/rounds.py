"""The rounds of labelling, training and proposing in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from instancefcn.data.source import Source
from instancefcn.files import read_json, write_whole

FILE = "rounds.json"


@dataclass(frozen=True)
class Round:
    """One training on the labels that there were."""

    number: int  # from 1
    labels: str  # ``labels_sum`` of them
    images: int
    done: bool = False  # trained to the end


class Rounds:
    """All rounds of a folder, in ``rounds.json``; a round trains in ``round-NUMBER``.

    Raises:
        ValueError: the file is not one of ours.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        table = read_json(out / FILE) if (out / FILE).exists() else []
        try:
            self.all = [Round(**entry) for entry in table]
        except TypeError as error:
            raise ValueError(f"{out / FILE}: holds no rounds of `instancefcn label`: {error}") from error

    @property
    def done(self) -> Round | None:
        """The last round that was trained to the end."""
        return next((one for one in reversed(self.all) if one.done), None)

    def folder(self, one: Round) -> Path:
        """Where a round trains."""
        return self.out / f"round-{one.number}"

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint of the last round that is done."""
        return None if self.done is None else self.folder(self.done) / "best.safetensors"

    def begin(self, labels: str, images: int) -> Round | None:
        """The round to train on these labels: the last one, if it was interrupted on the same; else a new one.

        Returns:
            None where the last round is done and was trained on the same labels.
        """
        last = self.all[-1] if self.all else None
        if last is not None and last.labels == labels:
            return None if last.done else last
        new = Round((0 if last is None else last.number) + 1, labels, images)
        self._save([*self.all, new])
        return new

    def finish(self, one: Round) -> None:
        """Note that a round is done."""
        self._save([replace(other, done=True) if other.number == one.number else other for other in self.all])

    def _save(self, rounds: list[Round]) -> None:
        self.all = rounds
        write_whole(self.out / FILE, json.dumps([asdict(one) for one in rounds], indent=1))


def labels_sum(sources: Sequence[Source]) -> str:
    """SHA-256 of the labels of all images: names, masks, and which are crowds or not judged; whatever their order."""
    entries: list[tuple[str, list[str]]] = []
    for source in sources:
        for index in range(len(source)):
            labels = source.labels(index)
            instances = labels.instances
            marks = zip(instances.rles, instances.crowd.tolist(), instances.ignore.tolist(), strict=True)
            entries.append((labels.file_name, sorted(f"{rle['counts'].decode()} {c} {i}" for rle, c, i in marks)))
    return hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()
