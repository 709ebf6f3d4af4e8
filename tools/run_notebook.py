"""Run the notebooks of docs/notebooks cell by cell, and write into them what they show: text, and figures as JPEG.

python tools/run_notebook.py
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"
MOST_BYTES = 150_000  # of a figure


def run(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Run the code cells in one namespace, as Jupyter does, and return the outputs of each."""
    os.environ["MPLBACKEND"] = "agg"
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [outputs_of("".join(cell["source"]), names, count) for count, cell in enumerate(cells, 1)]


def outputs_of(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run one cell: its last line's value, if it is an expression with one, and the figures that it drew."""
    import matplotlib.pyplot as plt

    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {count}", "exec"), names)
    value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names) if last else None
    outputs = []
    if value is not None and not plt.get_fignums():  # a cell that draws shows its figure
        shown = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append({"output_type": "execute_result", "data": shown, "metadata": {}, "execution_count": count})
    for number in plt.get_fignums():
        file = io.BytesIO()
        plt.figure(number).savefig(file, format="jpeg", dpi=80, pil_kwargs={"quality": 80})
        assert file.tell() <= MOST_BYTES, f"a figure of cell {count} has {file.tell()} bytes"
        picture = {"image/jpeg": base64.b64encode(file.getvalue()).decode()}
        outputs.append({"output_type": "display_data", "data": picture, "metadata": {}})
    plt.close("all")
    return outputs


def main() -> None:
    """Run all of them, and write their outputs."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for count, (cell, outputs) in enumerate(zip(cells, run(notebook), strict=True), 1):
            cell |= {"outputs": outputs, "execution_count": count}
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
