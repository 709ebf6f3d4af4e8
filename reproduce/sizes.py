"""AR against the number of training images: "fewer parameters, less overfitting" as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from instancefcn.evaluation.average_recall import ImageRecall
from instancefcn.evaluation.curves import FILE_COLORS, render

# Method, number of training images and seed to what was found.
BySize = Mapping[str, Mapping[int, Sequence[ImageRecall]]]


def draw_sizes(on_test: BySize, on_training: BySize, measure: str, title: str) -> bytes:
    """A PNG: AR of each method over the number of images; dashed, on images that it was trained on.

    Args:
        measure: such as ``coco/AR@100``.
    """
    # Without pyplot, which would pick a backend for the whole process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for results, style in ((on_test, "solid"), (on_training, "dashed")):
        for (method, by_size), color in zip(results.items(), FILE_COLORS, strict=False):
            sizes = sorted(by_size)
            values = [[recall.measures()[measure].percent() for recall in by_size[size]] for size in sizes]
            label = method if style == "solid" else f"{method}, on training images"
            axes.plot(sizes, [np.mean(of_seeds) for of_seeds in values], color=color, linestyle=style, label=label)
            for size, of_seeds in zip(sizes, values, strict=True):
                axes.plot([size] * len(of_seeds), of_seeds, ".", color=color, markersize=5)
    axes.set(xscale="log", xlabel="training images", ylabel=f"{measure.rpartition('/')[2]} (%)", ylim=(0, None))
    ticks = sorted({size for by_size in on_test.values() for size in by_size})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return render(figure, "png")
