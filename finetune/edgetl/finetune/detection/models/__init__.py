"""Detectors on the registry's backbones: what they learn by, and what their graphs answer."""
