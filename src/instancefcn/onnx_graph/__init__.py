"""One ONNX graph from an image's pixels to its proposals: what ``instancefcn export`` writes."""
