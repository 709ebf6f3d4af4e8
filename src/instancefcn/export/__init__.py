"""Labels and proposals written in the formats of labelling tools."""
