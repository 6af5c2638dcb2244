"""Serve bundles: the Open Inference Protocol v2 over REST and gRPC, `POST /predict` for images, a page to try them."""
