"""Boxes, masks, run-length codes and windows: pure functions on arrays. They import only the package's values."""
