"""The layers of a verdict: input, numerics and task, each from arrays to reasons, with no engine in sight."""
