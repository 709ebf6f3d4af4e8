"""``python -m instancefcn``: the same as the ``instancefcn`` script, as torchrun starts it."""

from instancefcn.apps.cli import main

main()
