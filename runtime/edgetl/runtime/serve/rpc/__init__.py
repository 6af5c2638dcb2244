"""The Open Inference Protocol v2 over gRPC, on the same models, limits and metrics as over REST."""
