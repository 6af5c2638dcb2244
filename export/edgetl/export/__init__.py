"""Turns a run into a bundle: one graph, its variants, and the golden answers they are judged by."""
