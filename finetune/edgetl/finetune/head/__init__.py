"""The linear head on frozen features."""
