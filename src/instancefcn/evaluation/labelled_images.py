"""The labelled images of an annotation file, as results are measured by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from instancefcn.data.corpus import images_of_corpus
from instancefcn.data.result_files import IMAGES, read_results
from instancefcn.evaluation.per_image import file_names, names_where_sound
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import GroundTruth, parse_ground_truth
from instancefcn.evaluation.sizes import with_sizes
from instancefcn.file_names import last_part
from instancefcn.files import read_json
from instancefcn.values import shown


@dataclass(frozen=True)
class LabelledImages:
    """What an annotation file labels.

    Attributes:
        annotations: the file.
        results: files of results, whose masks say the sizes that annotations leave out.
        iou: compare its masks (``segm``), or its boxes (``bbox``).
        crowds_of_one_part: a crowd whose mask is one connected part is an instance (``data.crowds``).
        images: instances and crowds of each image.
        file_names: of the images, by id; None where there is none.
        categories: names by id; none where an annotation has no sound one.
    """

    annotations: Path
    results: Sequence[Path]
    iou: IouType
    crowds_of_one_part: bool
    images: Sequence[GroundTruth]
    file_names: Mapping[int, str | None]
    categories: Mapping[int, str]

    @classmethod
    def read(
        cls, annotations: Path, iou: IouType, *, results: Sequence[Path], crowds_of_one_part: bool = False
    ) -> LabelledImages:
        """Read COCO annotations.

        Args:
            results: of the same images, all that will be measured.

        Raises:
            ValueError: a file can't be used, or every instance is a crowd; says which, what, where, and how to mend it.
        """
        coco = with_sizes(read_json(annotations), chain.from_iterable(map(read_results, results)))
        categories = names_where_sound(coco, str(annotations))
        images = parse_ground_truth(
            coco, iou, source=str(annotations), categories=categories, crowds_of_one_part=crowds_of_one_part
        )
        instances = sum(len(image.crowd) for image in images)
        if instances and all(image.crowd.all() for image in images):
            raise ValueError(
                f"{annotations}: nothing to measure by: all {instances} instances are crowds (CVAT writes iscrowd 1 "
                "for every mask): set iscrowd to 0, or count those of one connected part: --crowds-of-one-part"
            )
        return cls(annotations, results, iou, crowds_of_one_part, images, file_names(coco), categories or {})

    def refuse_other_images(self, results: Path) -> None:
        """Stop where a run lists other images under the same ids: in ``images.json`` beside its results, or in tables.

        Raises:
            ValueError: names one of them, and both files.
        """
        for image_id, name, path in _listed(results):
            own = self.file_names.get(image_id)
            if name is not None and own is not None and last_part(name) != last_part(own):
                raise ValueError(
                    f"{results}: image {image_id} is {shown(name)}, by {path}, but {shown(own)} in {self.annotations}: "
                    f"propose with --annotations {self.annotations}, which gives results its ids; if the results are "
                    "not of the run that listed these images, move them away from its list"
                )


def _listed(results: Path) -> Iterator[tuple[int, str | None, Path]]:
    """Id and name of each image that a run lists beside its results, and the file that says so; none of another's."""
    if results.is_dir():
        yield from images_of_corpus(results)
        return
    path = results.parent / IMAGES
    try:
        run = read_json(path) if path.is_file() else {}
        theirs = {} if run.get("annotations") else file_names(run)  # labels of a person are no run's images
    except (ValueError, TypeError, KeyError, AttributeError):  # another's file
        return
    yield from ((image_id, name, path) for image_id, name in theirs.items())
