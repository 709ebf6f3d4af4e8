"""How good proposals are: average recall, its report, and the comparison of two files. Knows files, never the model."""
