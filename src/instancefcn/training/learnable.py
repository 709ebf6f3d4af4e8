"""Whether labelled images hold anything to learn, before hours are spent on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instancefcn.data.source import Source


def check_learnable(sources: Sequence[Source]) -> None:
    """Refuse images without an instance to learn from.

    Raises:
        ValueError: there is no source, no image, no instance, or each is a crowd or marked as not to be judged; names
            the sources, the reason and what to do.
    """
    if not sources:
        raise ValueError("there are no sources to train on")
    names = ", ".join(source.name for source in sources)
    if not any(len(source) for source in sources):
        raise ValueError(f"{names}: no image to train on{_problems(sources)}")
    crowd, ignored = (
        np.concatenate([getattr(source.labels(i).instances, mark) for source in sources for i in range(len(source))])
        for mark in ("crowd", "ignore")
    )
    if not len(crowd):
        raise ValueError(
            f"{names}: nothing to learn: no instance is labelled in {sum(map(len, sources))} images{_problems(sources)}"
        )
    if crowd.all():
        raise ValueError(
            f"{names}: nothing to learn: all {len(crowd)} instances are crowds (CVAT writes iscrowd 1 for every mask): "
            "set iscrowd to 0, open CVAT's file as cvat: instead of coco:, or count those of one connected part as "
            "instances: --crowds-of-one-part"
        )
    if (crowd | ignored).all():
        raise ValueError(
            f"{names}: nothing to learn: all {len(crowd)} instances are crowds or marked as not to be judged: take the "
            "mark off those that are one object each"
        )


def _problems(sources: Sequence[Source]) -> str:
    """The first problem, since it may be the reason."""
    problems = [problem for source in sources for problem in source.problems]
    if not problems:
        return ": `instancefcn validate` with the same --data shows what was read"
    return f"; {len(problems)} problems were skipped (`instancefcn validate` lists them), the first: {problems[0]}"
