"""From an image to ranked masks."""
