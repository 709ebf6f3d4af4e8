"""``python -m instancefcn``, as torchrun starts it, and the ``instancefcn`` script."""

import os
import sys


def main() -> None:
    """Import the commands, which takes a second, and run one; Ctrl-C meanwhile ends it without a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    try:
        from instancefcn.apps.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
