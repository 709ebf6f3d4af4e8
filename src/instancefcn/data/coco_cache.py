"""Labels of a large COCO file as they were read last, so that a training does not wait minutes for the same again.

They are taken only if all that they follow from is as it was: the annotations byte by byte, size and time of change of
every image file, and the code that reads. What was wrong is kept with them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from instancefcn.data.coco_entries import CocoImage
from instancefcn.data.image_formats import image_extensions
from instancefcn.data.source import FileSource, Labels, Problem
from instancefcn.files import file_sum, size_and_time
from instancefcn.structures import Instances
from instancefcn.user_cache import keep_written, kept

LARGE = 20_000_000  # bytes of annotations; a smaller file is read in seconds
AT_ONCE = 4096  # masks that are joined to be written
_PACKAGE = Path(__file__).parent.parent


def is_large(annotations: Path) -> bool:
    """Whether reading a file of annotations takes long."""
    try:
        return annotations.stat().st_size >= LARGE
    except OSError:  # it is reported when it is read
        return False


class CocoCache:
    """The place where the labels of one file are kept.

    Args:
        digest: SHA-256 of the file of annotations as it was read; None to read it for that.

    Raises:
        ValueError: the file can't be read; names it.
    """

    def __init__(self, annotations: Path, images_dir: Path, digest: bytes | None = None) -> None:
        self.images_dir = images_dir
        place = "\0".join(os.path.abspath(path) for path in (annotations, images_dir))
        self.name = f"coco-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.npz"
        stated = f"{annotations}\0{images_dir}\0"  # as problems name them
        self.key = hashlib.sha256(os.fsencode(stated) + _code() + (digest or _digest(annotations))).hexdigest()

    def load(self) -> FileSource | None:
        """The labels; None where there are none, or something that they follow from has changed."""
        content = kept(self.name)
        if content is None:
            return None
        with np.load(io.BytesIO(content)) as file:
            arrays = {name: file[name] for name in file.files}
        del content  # hundreds of megabytes
        facts = json.loads(arrays["facts"].tobytes())
        if facts["key"] != self.key or not np.array_equal(arrays["stamps"], self._stamps(facts["files"])):
            return None
        return FileSource(
            {int(category_id): name for category_id, name in facts["categories"]},
            list(self._labels(facts["images"], arrays)),
            [Problem(*one) for one in facts["problems"]],
            notes=[Problem(*one) for one in facts["notes"]],
        )

    def store(self, source: FileSource, stated: Sequence[CocoImage]) -> None:
        """Keep what was read.

        Args:
            stated: the images that were looked for, also those that could not be used.
        """
        every = source.all_labels
        sound = {labels.file_name for labels in every}
        files = [(image.file_name, image.file_name in sound) for image in stated]
        facts = {
            "key": self.key,
            "categories": list(source.categories.items()),
            "images": [[one.image_id, one.file_name, one.height, one.width, one.partial] for one in every],
            "files": files,
            "problems": [[one.file, one.annotation_id, one.reason] for one in source.problems],
            "notes": [[one.file, one.annotation_id, one.reason] for one in source.notes],
        }
        arrays: dict[str, Any] = {
            "facts": np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
            "stamps": self._stamps(files),
            "instances": np.array([len(labels.instances) for labels in every], dtype=np.int64),
            "rejected": np.array([len(labels.rejected) for labels in every], dtype=np.int64),
        }
        for name in ("ids", "category_ids", "crowd", "ignore", "boxes_xyxy"):
            arrays[name] = (
                np.concatenate([getattr(labels.instances, name) for labels in every]) if every else np.zeros(0)
            )
        masks = [rle["counts"] for labels in every for rle in labels.instances.rles]
        regions = [rle["counts"] for labels in every for rle in labels.rejected]
        keep_written(self.name, lambda file: _write(file, arrays, {"masks": masks, "regions": regions}))

    def _labels(self, images: Sequence[Sequence[Any]], arrays: dict[str, np.ndarray]) -> Iterator[Labels]:
        masks, regions = _counts("masks", arrays), _counts("regions", arrays)
        end = 0
        numbers = zip(images, arrays["instances"].tolist(), arrays["rejected"].tolist(), strict=True)
        for (image_id, name, height, width, partial), instances, rejected in numbers:
            own = slice(end, end + instances)
            end += instances
            yield Labels(
                image_id,
                name,
                self.images_dir / name,
                height,
                width,
                Instances(
                    ids=arrays["ids"][own],
                    rles=[{"size": [height, width], "counts": next(masks)} for _ in range(instances)],
                    boxes_xyxy=arrays["boxes_xyxy"][own],
                    category_ids=arrays["category_ids"][own],
                    crowd=arrays["crowd"][own],
                    ignore=arrays["ignore"][own],
                ),
                rejected=[{"size": [height, width], "counts": next(regions)} for _ in range(rejected)],
                partial=partial,
            )

    def _stamps(self, files: Sequence[Sequence[Any]]) -> np.ndarray:
        """Bytes and time of change of each file; of one that could not be used, also its folder's time of change."""
        stamps = np.empty((len(files), 3), dtype=np.int64)
        folder = os.fspath(self.images_dir)
        for index, (name, sound) in enumerate(files):
            path = os.path.join(folder, name)
            stamps[index] = (*size_and_time(path), 0 if sound else size_and_time(os.path.dirname(path))[1])
        return stamps


def _digest(path: Path) -> bytes:
    try:
        return bytes.fromhex(file_sum(path))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error


def _write(file: Any, arrays: dict[str, np.ndarray], counts: dict[str, list[bytes]]) -> None:
    """As ``np.savez``, and run lengths one after another, with how many bytes each has: never joined in memory."""
    arrays = arrays | {f"{name}_sizes": np.array(list(map(len, of)), dtype=np.int64) for name, of in counts.items()}
    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        for name, of in counts.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (int(arrays[f"{name}_sizes"].sum()),)}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for start in range(0, len(of), AT_ONCE):
                    member.write(b"".join(of[start : start + AT_ONCE]))


def _counts(name: str, arrays: dict[str, np.ndarray]) -> Iterator[bytes]:
    content, start = arrays[name].data, 0
    for size in arrays[f"{name}_sizes"].tolist():
        yield bytes(content[start : start + size])
        start += size


def _code() -> bytes:
    """Digest of what reads: our own code, the packages that parse, open images and rasterise, and their formats."""
    versions = (version(name) for name in ("msgspec", "numpy", "pillow", "pycocotools"))
    digest = hashlib.sha256(" ".join([*versions, *sorted(image_extensions())]).encode())
    for path in code_files():
        digest.update(path.read_bytes())
    return digest.digest()


def code_files() -> list[Path]:
    """Our own files that have a part in what is read, and some that have none."""
    return sorted(path for folder in (".", "data", "geometry") for path in (_PACKAGE / folder).glob("*.py"))
