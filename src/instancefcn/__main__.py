"""``python -m instancefcn``, as torchrun starts it, and the ``instancefcn`` script."""

import sys


def main() -> None:
    """Import the commands, which takes a second, and run one; Ctrl-C meanwhile ends it without a traceback."""
    try:
        from instancefcn.apps.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
