"""Labelling round by round: which images to label next, and whose the label files are."""
