"""Choosing by measuring: which variant, with which options, this machine runs fastest."""
