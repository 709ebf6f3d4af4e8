"""What a training tells at its end: how much it saw, what it learnt, and what to do where that is little."""

from __future__ import annotations

from instancefcn.training.history import History

MIN_ITERATIONS = 50  # of a whole run; with fewer there is a warning
LITTLE = 1.0  # percent, under which next to nothing is found
MORE = "give it more with --minutes or --iterations"
STARTED = "the weights that it started from"
LOOK = "look at the labels with `instancefcn validate`"


def summarize(history: History, iterations: int, seen: int, images: int) -> list[str]:
    """Lines that say what a run did, and warnings, each of which begins with "warning: ".

    Args:
        iterations: of the whole run.
        seen: views of images, over all iterations.
        images: that there are to train on; 0 if that is not known.
    """
    epochs = f", {seen / images:.1f} epochs of {images} images" if images else ""
    lines = [f"trained {iterations} iterations: {seen} views{epochs}"]
    first, last = history.loss_means(iterations)
    if first:
        parts = ", ".join(f"{name} {first[name]:.2f} to {last[name]:.2f}" for name in first)
        lines.append(f"loss: {sum(first.values()):.2f} at first, {sum(last.values()):.2f} at last ({parts})")
    if history.scores:
        before = "" if history.start is None else f"{history.start:.1f} before training, then "
        scores = ", ".join(f"{score:.1f}" for score in history.scores)
        best = history.all_scores[history.best]
        kept = STARTED if history.best_is_start else f"the weights that scored {best:.1f}"
        lines.append(f"validation {history.measure}: {before}{scores}; best.safetensors has {kept}")
    return lines + [f"warning: {text}" for text in shortcomings(history, iterations)]


def shortcomings(history: History, iterations: int) -> list[str]:
    """What is wrong with a run, and what to do about it; nothing where it learnt."""
    found: list[str] = []
    first, last = history.loss_means(iterations)
    if iterations < MIN_ITERATIONS:
        found.append(f"{iterations} iterations are too few to learn from (under {MIN_ITERATIONS}): {MORE}")
    elif sum(last.values()) >= sum(first.values()) and not history.rose:
        found.append(f"the loss did not fall: {MORE}, lower optimization.learning_rate in the recipe, or {LOOK}")
    start = history.start
    if history.scores and start is not None and history.scores[-1] < start - history.standard_error(start):
        found.append(
            f"the network ended worse than it started (validation {history.measure} {history.scores[-1]:.1f}, before "
            f"{start:.1f}), so best.safetensors has {STARTED if history.best_is_start else 'earlier weights'}: "
            f"{MORE}, label more images, or {LOOK}"
        )
    elif history.scores and (best := history.all_scores[history.best]) < LITTLE:
        found.append(f"validation {history.measure} is {best:.1f}: it finds next to nothing; {MORE}, or {LOOK}")
    elif len(history.scores) > (history.start is None) and not history.rose:
        where = "during training" if history.start is None else "above what training started from"
        found.append(f"validation never rose {where}: {MORE}, label more images, or {LOOK}")
    return found
