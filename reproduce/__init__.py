"""The paper's experiments, run from a checkout: ``python -m reproduce --help``. Not part of the installed package."""
