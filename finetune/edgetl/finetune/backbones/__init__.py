"""Architectures: the registry, their stages, their starting weights."""
