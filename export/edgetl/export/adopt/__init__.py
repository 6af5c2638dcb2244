"""Models from elsewhere: an ONNX file as it is, rewritten as the graph of a task, held against itself."""
