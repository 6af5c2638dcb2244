"""Judging detectors: how far boxes and scores are from torch's, why, and what it costs in average precision."""
