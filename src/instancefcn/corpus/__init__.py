"""Very many images: what they lie in, divided into blocks, each proposed on once, by workers on Ray."""
