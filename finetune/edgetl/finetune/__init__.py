"""Adapts a pretrained backbone to the user's images and writes a run."""
