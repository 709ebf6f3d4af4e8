"""Boxes, masks, run-length codes and windows: pure functions on arrays. Imports nothing of the package but its values."""
