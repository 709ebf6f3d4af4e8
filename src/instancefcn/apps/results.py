"""The folder that a run writes to: results go to disk image by image, and into place when the run ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from instancefcn.apps.exports import Exports, Shown
from instancefcn.apps.images import (
    ImageFile,
    pictures_of_run,
    pictures_there,
    refuse_file_name,
    refuse_others,
    refuse_to_overwrite,
)
from instancefcn.apps.printing import echo, progress_bar, say
from instancefcn.apps.run_files import ERRORS, RESULT_FORMS, RunFiles
from instancefcn.apps.tables import COUNTS, OBJECTS
from instancefcn.apps.workers import Begin, Pixels
from instancefcn.data.images import read_image
from instancefcn.data.result_files import IMAGES, JSON, SEGMENTS_STEM, STEMS
from instancefcn.export.open import is_one_file
from instancefcn.files import read_json
from instancefcn.interrupts import Interrupted, Interrupts, as_interrupted, noted_interrupts
from instancefcn.journal import unfinished
from instancefcn.proposals import CATEGORY_ID, CATEGORY_NAME, Proposals
from instancefcn.run_folder import run_file, run_folder
from instancefcn.values import reason_of

ONE_CATEGORY = {CATEGORY_ID: CATEGORY_NAME}
PROPOSALS_STEM, OBJECTS_STEM = STEMS
COCO = "coco"


class ResultsFolder:
    """Writer for the results of a run.

    ``images.json`` also lists the overlays and label maps that the run drew, under "pictures" (``to`` has "labels" for
    the latter). Those that the earlier run lists and this one did not draw are removed, since they contradict the new
    files. A person's own files are not listed, so they stay.

    Args:
        folder: made where there is none; or a file that ends in ``.json``, for a single format of one file in ``to``,
            and then nothing else is written.
        images: of the whole run.
        given: other files that the run reads.
        overlays: also draw the best proposals over each image, into ``overlays/``.
        to: forms of the results (RESULT_FORMS), which take the place of JSON unless "coco" is there; and formats of
            labelling tools that are also written, into a folder of their name, or ``NAME.json``.
        tolerance: pixels by which outlines may shift when they become polygons.
        stem: of the files of results.
        categories: names by id.
        shown: in overlays and label maps.
        settings: all that the results follow from besides the images, as JSON.
        resume: go on where a run with these settings stopped, if one did.

    Raises:
        ValueError: the folder holds results of another kind.
        typer.BadParameter: a file that is read would be written over, or ``folder`` is a file and may not be.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageFile],
        given: Sequence[Path | None],
        *,
        overlays: bool,
        to: Sequence[str] = (),
        tolerance: float = 1.0,
        stem: str = PROPOSALS_STEM,
        categories: Mapping[int, str] = ONE_CATEGORY,
        shown: Shown,
        settings: Mapping[str, Any],
        resume: bool = False,
    ) -> None:
        tools = [form for form in to if form not in RESULT_FORMS]
        self.folder, self.images = folder, images
        self.one_file = folder.suffix == ".json"
        if self.one_file and (len(to) != 1 or len(tools) != 1 or not is_one_file(to[0]) or overlays):
            raise typer.BadParameter(f"{folder} is a file: it takes one --to of one file, and no --overlays")
        refuse_file_name(folder)
        if folder.is_file() and not self.one_file:
            raise typer.BadParameter(f"{folder} is a file: give a folder", param_hint="--out")
        self.files = RunFiles(
            folder,
            stem,
            [form for form in to if form in RESULT_FORMS],
            json=COCO in to,
            tables=stem == OBJECTS_STEM and not self.one_file,
            one_file=self.one_file,
            categories=categories,
            settings={**settings, "--overlays": overlays, "--to": list(to), "--tolerance": tolerance},
        )
        _refuse_other_results(folder, self.files.paths)
        if not self.one_file:
            _refuse_labels(folder / IMAGES)
        self.exports = Exports(
            folder,
            images,
            [form for form in tools if form != COCO or self.one_file],  # in a folder, the results are COCO's
            overlays=overlays,
            categories=categories,
            tolerance=tolerance,
            shown=shown,
        )
        refuse_to_overwrite(
            [*(image.path for image in images), *filter(None, given)],
            [*(self.files.paths and [*self.files.paths, folder / COUNTS, folder / OBJECTS]), *self.exports.paths()],
        )
        if not self.one_file:
            refuse_others(self.files.beginnings())
        self.resume = resume and unfinished(self.files.folder) is not None
        if not self.resume:
            self.exports.refuse_to_replace()
        self.earlier: set[Path] = set()
        self.drawn: set[Path] = set()

    def fill(self, verb: str, begin: Begin, *, most: int | None = None, at_once: int = 1) -> None:
        """Begin with the pixels of each image, and write what comes of it; failures are noted and skipped.

        Args:
            verb: what the progress bar says.
            most: results of an image at most; images that have as many are counted.
            at_once: images that are begun with before the first is waited for.

        Raises:
            Interrupted: by a signal; what was done until then is in the folder, and can be gone on from.
            ValueError: another run writes there, the one to go on from was asked for other things, or no image could
                be read where an earlier run has results, which stay.
            OSError: a file can't be written; names it.
        """
        with (run_file if self.one_file else run_folder)(self.folder), noted_interrupts() as stop:
            self._begin()
            try:
                self._go_through(verb, begin, most, at_once, stop)
                none_is_done = not (self.files.counts["done"] or stop) and self.files.journal.replaces
                if none_is_done:
                    self.files.discard()
                else:
                    self._close(finished=not stop)
            except KeyboardInterrupt as error:  # a second signal: the image that it came in is left out
                self._close(finished=False)
                raise self._interrupted(as_interrupted(error).number) from None
            except BaseException:
                with suppress(OSError):  # the disk is full
                    self._close_after_error()
                raise
            if stop.number is not None:
                raise self._interrupted(stop.number)
            if none_is_done:
                raise ValueError(f"none of {len(self.images)} images can be read: {self.folder} stays as it was")

    def _begin(self) -> None:
        self.earlier = pictures_of_run(self.folder)
        if self.resume and self.files.resume(self.images):
            self.exports.resume(self.files.sums_of_tools())
            self.drawn |= {self.folder / name for name in self.files.pictures()}
            echo(f"going on after {self.files.counts['read']} of {len(self.images)} images", err=True)
            if self.exports.writers:
                self._add_finished()
            return
        if (state := unfinished(self.files.folder)) is not None:
            self.earlier |= pictures_there(self.folder, self.files.pictures())
            read = state.get("counts", {}).get("read", 0)
            echo(f"starting anew: --resume would have gone on after {read} of {len(self.images)} images", err=True)
        self.files.begin()

    def _add_finished(self) -> None:
        """Let files of all images have those that are done, too, which takes a fifth of a second for a large one."""
        by_id = {image.image_id: image for image in self.images}
        with progress_bar() as progress:
            done = progress.track(self.files.finished(), total=self.files.counts["done"], description="taking up")
            for image_id, found in done:
                self.exports.add(by_id[image_id], found, None, keep=True)

    def _go_through(self, verb: str, begin: Begin, most: int | None, at_once: int, stop: Interrupts) -> None:
        def start(image: ImageFile) -> tuple[Pixels, Callable[[], Proposals]]:
            self.exports.check_name(image)
            pixels = read_image(image.path, image.size)
            return pixels, begin(pixels)

        left, written = self.images[self.files.counts["read"] :], None
        # While one image is at work, the next one is read and the last one written. No others wait in memory, unless
        # several are worked on at once.
        with progress_bar() as progress, ThreadPoolExecutor(at_once) as reader, ThreadPoolExecutor(1) as writer:
            task = progress.add_task(verb, total=len(self.images), completed=len(self.images) - len(left))
            ahead = iter(left)
            begun = deque(reader.submit(start, image) for image in islice(ahead, at_once))
            for image in left:
                if stop:
                    break
                now = begun.popleft()
                begun.extend(reader.submit(start, following) for following in islice(ahead, 1))
                try:
                    pixels, answer = now.result()
                    found = answer()
                except (ValueError, OSError, MemoryError) as error:
                    pixels, found = None, reason_of(error, image.path)
                    say(progress, f"{image.file_name}: {found}")
                if written is not None:
                    written.result()
                written = writer.submit(self._write, image, found, pixels, most)
                progress.advance(task)
            if written is not None:
                written.result()

    def _write(self, image: ImageFile, found: Proposals | str, pixels: Pixels | None, most: int | None) -> None:
        """Write what was found in an image, or the reason why it could not be read."""
        drawn: list[Path] = []
        if isinstance(found, str):
            self.files.fail(image, found)
        else:
            drawn = self.exports.add(image, found, pixels)
            self.drawn.update(drawn)
            self.files.add(image, found, full=len(found) == most)
        self.files.commit(image, [path.relative_to(self.folder).as_posix() for path in drawn])

    def _interrupted(self, number: int) -> Interrupted:
        done = f"{self.files.counts['read']} of {len(self.images)} images"
        return Interrupted(
            number, f"interrupted after {done}, which are in {self.folder}: the same command with --resume goes on"
        )

    def _close(self, *, finished: bool) -> None:
        """Put all files in place."""
        self.exports.close()
        if not finished:
            self.files.note_sums_of_tools(self.exports.sums())
        pictures = [path.relative_to(self.folder).as_posix() for path in self.drawn]
        self.files.close(pictures, finished=finished)
        for path in self.earlier - self.drawn:
            path.unlink(missing_ok=True)

    def _close_after_error(self) -> None:
        """Put the images that are done in place, unless results of an earlier run are; these stay."""
        if not self.files.counts["read"]:
            self.files.discard()
        elif self.files.journal.replaces:
            self.files.close([], finished=False, in_place=False)
        else:
            self._close(finished=False)

    def report(self, noun: str) -> None:
        """Say what was written, and what was removed.

        Raises:
            typer.Exit: some images failed.
        """
        counts, files = self.files.counts, ", ".join(map(str, self.files.results or [self.folder]))
        echo(f"{counts['found']} {noun} of {counts['done']} images: {files}")
        if COUNTS in self.files.journal.places:
            echo(f"counted, image by image and object by object: {self.folder / COUNTS}, {OBJECTS}")
        if counts["full"]:
            echo(f"{counts['full']} images have as many as --max-proposals allows; they may have more", err=True)
        for note in self.exports.notes():
            echo(note)
        if left := self.exports.others():
            listed = ", ".join(map(str, left))
            echo(f"{listed}: of an earlier run or yours, and left as they are: they may differ from this one", err=True)
        if removed := len(self.earlier - self.drawn):
            echo(f"removed {removed} pictures of an earlier run, which contradict this one")
        if counts["failed"]:
            where = "" if self.one_file else f": {self.folder / ERRORS}"
            echo(f"{counts['failed']} of {len(self.images)} images failed{where}", err=True)
            raise typer.Exit(1)


def _refuse_labels(path: Path) -> None:
    """Stop where a file that the run would replace holds somebody's annotations: no run writes any."""
    table = None
    with suppress(ValueError, OSError):  # no JSON, so nobody's annotations
        table = read_json(path)
    if isinstance(table, dict) and table.get("annotations"):
        raise ValueError(f"{path} holds annotations, and would be written over: give another --out, or move it")


def _refuse_other_results(folder: Path, paths: Sequence[Path]) -> None:
    """Stop where a folder holds files of results that this run does not write."""
    stems = (*STEMS, SEGMENTS_STEM)
    for other in (folder / f"{stem}{end}" for stem in stems for end in (JSON, *RESULT_FORMS.values())):
        if paths and other not in paths and other.exists():
            raise ValueError(f"{other} would not belong to the new {IMAGES}: give another --out, or remove it")
