"""Boxes, masks, run-length codes and windows: pure functions on arrays, which import no other room."""
