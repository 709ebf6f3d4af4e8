"""Labelled images: one loader per format, all yielding the same samples, and what turns them into training images."""
