"""``python -m instancefcn``, as torchrun starts it, and the ``instancefcn`` script."""

import os
import sys


def main() -> None:
    """Import the commands, which takes a second, and run one; Ctrl-C meanwhile ends it without a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout, sys.stderr = (stream or os.fdopen(nowhere, "w") for stream in (sys.stdout, sys.stderr))  # closed ones
    try:
        from instancefcn.apps.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
