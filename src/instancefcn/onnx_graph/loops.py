"""Loops of a graph: the same nodes once for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnxscript import OpBuilder


def loop(
    op: OpBuilder,
    name: str,
    step: Callable[..., Sequence[ir.Value]],
    rounds: ir.Value,
    state: ir.Value | None = None,
    kind: ir.DataType = ir.DataType.FLOAT,
    gathered: Sequence[tuple[ir.DataType, Sequence[int | str]]] = (),
) -> list[ir.Value]:
    """Run ``step`` for a number of rounds.

    Args:
        name: of the loop, and of all values inside it.
        step: called once, to add the nodes of a round, with a builder of its own, the number of the round as a scalar,
            and the state if there is one; returns the new state if there is one, and what is gathered.
        rounds: int64 [1].
        state: before the first round, of one axis, of type ``kind``.
        gathered: type and shape of each value that every round gives.

    Returns:
        The state after the last round if there is one, and what was gathered, along a new first axis. After no rounds
        the shapes of what was gathered are unknown.
    """
    keep = [] if state is None else [state]

    def body_of(body: OpBuilder, index: ir.Value, going: ir.Value, *before: ir.Value) -> list[ir.Value]:
        return [body.Identity(going), *step(body, index, *before)]

    op.builder.push_module(name)
    body = op.builder.subgraph(
        body_of,
        [
            ir.val(f"{name}_round", ir.DataType.INT64, []),
            ir.val(f"{name}_going", ir.DataType.BOOL, []),
            *(ir.val(f"{name}_before", kind, [f"{name}_length"]) for _ in keep),
        ],
        [
            ir.val(f"{name}_going_on", ir.DataType.BOOL, []),
            *(ir.val(f"{name}_after", kind, [f"{name}_length"]) for _ in keep),
            *(ir.val(f"{name}_gathered_{index}", *one) for index, one in enumerate(gathered)),
        ],
        name=name,
    )
    op.builder.pop_module()
    number = len(keep) + len(gathered)
    values = op.Loop(op.Squeeze(rounds), True, *keep, body=body, _outputs=number)
    return [values] if number == 1 else list(values)
