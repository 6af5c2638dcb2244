"""Object detection: photos with boxes, detectors on the backbones, their training, scores and report."""
