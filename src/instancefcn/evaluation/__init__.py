"""Measures proposals: average recall, average precision, their report. Knows files and arrays, never the model."""
